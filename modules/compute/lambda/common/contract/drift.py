"""Drift: what differs from the contract, an entry each in the drift log for the people who own the data.

The log is a DynamoDB table, one item for each topic and entry, which says when it was first seen, when last,
and on how many days (UTC); it expires ``KEPT_DAYS`` after the last one. A run meets what it comes across: a
column that is new is met once, a column that the contract does not name by every run. So the log is exact to
the day: a run asks what is there, and writes what is new, what says something else, and what was not met yet
on that day. ``last_seen`` is the first time on the last day.

Entries that are new are put, others are updated: the alarm ``schema-drift`` counts the puts.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

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


def days_of(item: Mapping[str, Any]) -> int:
    """On how many days an entry was met, by its item; one where it does not say: damaged, or of before."""
    days = str(item.get("days", {}).get("N", "1"))
    return int(days) if days.isdecimal() else 1


def record(client: "DynamoDBClient", table: str, entries: Iterable[DriftEntry]) -> int:
    """Write down that a run met these entries; returns how many the log did not have yet.

    Asks for those between the first and the last of a topic's, in one query, and writes one by one what has
    changed: a run that meets nothing new writes nothing. Done again, or by two at once, it is done once.
    """
    topics: dict[str, dict[str, DriftEntry]] = {}
    for entry in entries:
        topics.setdefault(entry.topic, {})[entry.entry] = entry
    now, new = outside.now(), 0
    for topic, met in topics.items():
        known = _known(client, table, topic, met, now)
        for name, entry in met.items():
            if name not in known:
                new += _put(client, table, entry, now)
            elif _is_older(known[name], entry, now):
                _update(client, table, entry, known[name], now)
    return new


def _known(
    client: "DynamoDBClient", table: str, topic: str, names: Collection[str], now: datetime
) -> dict[str, dict[str, Any]]:
    """Items of entries, those that have not expired; DynamoDB may take days to remove them.

    May be what was there a moment ago, which costs half: what is written holds by its condition.
    """
    pages = client.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="topic = :topic AND #entry BETWEEN :first AND :last",
        ExpressionAttributeNames={"#entry": "entry"},
        ExpressionAttributeValues={
            ":topic": {"S": topic},
            ":first": {"S": min(names)},
            ":last": {"S": max(names)},
        },
    )
    items: Iterator[dict[str, Any]] = (dict(item) for page in pages for item in page["Items"])
    return {item["entry"]["S"]: item for item in items if not _has_expired(item, now)}


def _has_expired(item: Mapping[str, Any], now: datetime) -> bool:
    expires_at = str(item.get("expires_at", {}).get("N", ""))
    return expires_at.isdecimal() and int(expires_at) <= int(now.timestamp())


def _is_older(item: Mapping[str, Any], entry: DriftEntry, now: datetime) -> bool:
    """Whether the log does not say of an entry what is known of it now."""
    return item.get("detail") != {"S": entry.detail} or _was_met_before(item, now)


def _was_met_before(item: Mapping[str, Any], now: datetime) -> bool:
    """Whether an entry was met last on a day that is over; also where its item does not say when."""
    try:
        return datetime.fromisoformat(item["last_seen"]["S"]).date() < now.date()
    except (KeyError, ValueError):
        return True


def _put(client: "DynamoDBClient", table: str, entry: DriftEntry, now: datetime) -> bool:
    """Add an entry; False where another run has just done so."""
    item: dict[str, Any] = {
        "topic": {"S": entry.topic},
        "entry": {"S": entry.entry},
        "run_id": {"S": entry.run_id},
        "first_seen": {"S": _text(now)},
        "days": {"N": "1"},
        **_said_of(entry, now),
    }
    return _written(
        lambda: client.put_item(
            TableName=table,
            Item=item,
            ConditionExpression="attribute_not_exists(#entry) OR #expires_at <= :now",
            ExpressionAttributeNames={"#entry": "entry", "#expires_at": "expires_at"},
            ExpressionAttributeValues={":now": {"N": str(int(now.timestamp()))}},
        )
    )


def _update(
    client: "DynamoDBClient", table: str, entry: DriftEntry, before: Mapping[str, Any], now: datetime
) -> None:
    """Bring an entry up to date, unless another run has done so since ``before`` was read, or it is gone.

    What no item lacks that is whole is kept, and given where one is damaged.
    """
    once: dict[str, Any] = {"run_id": {"S": entry.run_id}, "first_seen": {"S": _text(now)}}
    always = {**_said_of(entry, now), "days": {"N": str(days_of(before) + _was_met_before(before, now))}}
    sets = [f"#{name} = if_not_exists(#{name}, :{name})" for name in once]
    sets += [f"#{name} = :{name}" for name in always]
    values = {f":{name}": value for name, value in {**once, **always}.items()}
    same = "attribute_not_exists(#last_seen)"
    if "last_seen" in before:
        same, values[":before"] = "#last_seen = :before", before["last_seen"]
    _written(
        lambda: client.update_item(
            TableName=table,
            Key={"topic": {"S": entry.topic}, "entry": {"S": entry.entry}},
            # Versions before counted runs there.
            UpdateExpression=f"SET {', '.join(sets)} REMOVE #runs",
            ConditionExpression=f"attribute_exists(#entry) AND {same}",
            ExpressionAttributeNames={f"#{name}": name for name in (*once, *always, "entry", "runs")},
            ExpressionAttributeValues=values,
        )
    )


def _said_of(entry: DriftEntry, now: datetime) -> dict[str, Any]:
    """The attributes that every write gives."""
    return {
        "kind": {"S": entry.kind},
        "subject": {"S": entry.subject},
        "detail": {"S": entry.detail},
        "last_seen": {"S": _text(now)},
        "last_run_id": {"S": entry.run_id},
        "expires_at": {"N": str(int(now.timestamp()) + KEPT_DAYS * 86_400)},
    }


def _written(write: Callable[[], object]) -> bool:
    """Whether a write's condition held."""
    try:
        write()
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return False
    return True


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
