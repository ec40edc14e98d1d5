"""Drift: what differs from the contract, an entry each in the drift log for the people who own the data.

The log is a DynamoDB table, one item for each topic and entry, which says when it was first and last seen and
how many runs met it; it expires ``KEPT_DAYS`` after the last one. A run meets what it comes across: a column
that is new is met once, a column that the contract does not name by every run.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from common.contract.masking import shape
from common.payload.rescued import Rescued, Why
from common.runtime import outside

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient

KEPT_DAYS: Final = 400
_WITHOUT_COLUMN: Final = {
    Why.OTHER_PATH: "another path of the payload has this name too and owns the column: in _rescued",
    Why.COLUMN_LIMIT: "Curated has as many columns as it may have: further leaves are in _rescued",
    Why.RESERVED_NAME: "the name is that of an envelope, lineage or partition field: in _rescued",
    Why.UNUSABLE_NAME: "the name is empty, begins with _ or is too long: in _rescued",
    Why.NESTED_TOO_DEEP: "objects are nested deeper than columns go: in _rescued, as they were written",
}


@dataclass(frozen=True)
class DriftEntry:
    """One finding about a topic. ``kind`` and ``subject`` together say what is noticed once."""

    topic: str
    kind: str
    subject: str
    detail: str
    run_id: str

    @property
    def entry(self) -> str:
        """Sort key of the log: ``<kind>#<subject>``."""
        return f"{self.kind}#{self.subject}"


def new_column(topic: str, column: str, run_id: str, sample: str | None = None) -> DriftEntry:
    """A payload leaf that Curated had no column for; the column is added. ``sample``: a text of it.

    The entry says what the text looks like, and nothing of what it says.
    """
    seen = f", with values such as {shape(sample)}" if sample else ""
    detail = f"column added to Curated{seen}; {_promotion(topic, column)}"
    return DriftEntry(topic, "new-column", column, detail, run_id)


def rescued(topic: str, finding: Rescued, run_id: str) -> DriftEntry:
    """Leaves that have no column of their own and are in ``_rescued``; one entry a reason, not one a leaf."""
    subject = f"{finding.why}:{finding.column}" if finding.column else finding.why
    return DriftEntry(topic, "rescued", subject, _WITHOUT_COLUMN[finding.why], run_id)


def uncontracted_column(topic: str, column: str, run_id: str) -> DriftEntry:
    """A column of Curated that the contract does not mention; it is not in Semantic."""
    detail = f"in Curated, not in the contract: not in Semantic; {_promotion(topic, column)}"
    return DriftEntry(topic, "uncontracted-column", column, detail, run_id)


def replaced_column(topic: str, column: str, version: str, run_id: str) -> DriftEntry:
    """A column of Semantic that a contract's version gives a type which its old one cannot widen to."""
    detail = "new type: null in rows published before, until `lean-ops rebuild --layer semantic`"
    return DriftEntry(topic, "replaced-column", f"{column}@{version}", detail, run_id)


def renamed_column(topic: str, column: str, before: str, run_id: str) -> DriftEntry:
    """A payload column of Curated that somebody renamed; its path gets a column of the old name again."""
    detail = (
        f"was {before}: its payload field is written to {before} again; rename it back, or rebuild Curated"
    )
    return DriftEntry(topic, "renamed-column", column, detail, run_id)


def missing_contract(topic: str, run_id: str) -> DriftEntry:
    """A topic without a contract; its data stops at Curated."""
    detail = f"no contract: the topic stops at Curated; `lean-ops contract init --topic {topic}` proposes one"
    return DriftEntry(topic, "missing-contract", topic, detail, run_id)


def _promotion(topic: str, column: str) -> str:
    """The change of the contract that takes a column in."""
    return f"`lean-ops contract promote {column} --topic {topic}` adds a property"


@dataclass(frozen=True)
class Logged:
    """An entry as the log has it."""

    entry: DriftEntry
    first_seen: datetime


def entries(client: "DynamoDBClient", table: str, topic: str, since: datetime) -> Iterator[Logged]:
    """The entries of a topic that were first seen at ``since`` or later; damaged ones are left out."""
    pages = client.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="topic = :topic",
        ExpressionAttributeValues={":topic": {"S": topic}},
    )
    for item in (item for page in pages for item in page["Items"]):
        try:
            names = ("topic", "kind", "subject", "detail", "run_id")
            entry = DriftEntry(*(str(item[name]["S"]) for name in names))
            first_seen = datetime.fromisoformat(item["first_seen"]["S"])
        except (KeyError, ValueError):
            continue
        if first_seen.tzinfo is not None and first_seen >= since:
            yield Logged(entry, first_seen)


def record(client: "DynamoDBClient", table: str, entries: Iterable[DriftEntry]) -> int:
    """Write down that a run met these entries; returns how many the log did not have yet."""
    return sum(_record_one(client, table, entry) for entry in entries)


def _record_one(client: "DynamoDBClient", table: str, entry: DriftEntry) -> bool:
    """Whether the entry is new. A run that is repeated is counted once."""
    now = int(outside.now().timestamp())
    once = ("kind", "subject", "run_id", "first_seen")
    values = {
        "kind": entry.kind,
        "subject": entry.subject,
        "run_id": entry.run_id,
        "first_seen": _text(now),
        "detail": entry.detail,
        "last_seen": _text(now),
        "last_run_id": entry.run_id,
    }
    sets = [
        f"#{name} = {f'if_not_exists(#{name}, :{name})' if name in once else f':{name}'}" for name in values
    ]
    try:
        before = client.update_item(
            TableName=table,
            Key={"topic": {"S": entry.topic}, "entry": {"S": entry.entry}},
            UpdateExpression=f"SET {', '.join(sets)}, expires_at = :expires_at ADD #runs :one",
            ConditionExpression="attribute_not_exists(#last_run_id) OR #last_run_id <> :last_run_id",
            ExpressionAttributeNames={f"#{name}": name for name in (*values, "runs")},
            ExpressionAttributeValues={
                **{f":{name}": {"S": value} for name, value in values.items()},
                ":expires_at": {"N": str(now + KEPT_DAYS * 86_400)},
                ":one": {"N": "1"},
            },
            ReturnValues="ALL_OLD",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return False
    return not before.get("Attributes")


def _text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
