"""Queries in the workgroup of an environment: Athena runs them, and says what it scanned.

    done = run(target, "SELECT count(*) FROM curated_events", timeout_s=300)
    done.fetched.columns, done.scanned_bytes

The workgroup (modules/readers) decides where results are, for how long, and how much a query may scan.
Sources: API reference of Amazon Athena, StartQueryExecution, GetQueryExecution, GetQueryResults.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from botocore.exceptions import ClientError

from common.runtime import outside
from common.runtime.errors import InvalidInput, ServiceRefused
from lean_ops.environment.fetched import Fetched
from lean_ops.environment.target import Target

_ENDED: Final = ("SUCCEEDED", "FAILED", "CANCELLED")
_FIRST_LOOK_S: Final = 0.25
_LAST_LOOK_S: Final = 5.0
# Less is billed as this much (Athena's pricing page).
_LEAST_BILLED: Final = 10_000_000


@dataclass(frozen=True)
class Done:
    """A query that has ended well. ``engine_ms``: milliseconds that Athena worked on it."""

    fetched: Fetched
    scanned_bytes: int
    engine_ms: int

    @property
    def billed_bytes(self) -> int:
        """Bytes that the query is billed as."""
        return max(self.scanned_bytes, _LEAST_BILLED)


def run(target: Target, sql: str, timeout_s: float) -> Done:
    """Run one statement to its end.

    Raises InvalidInput with what Athena says of the statement, for one that scans more than the workgroup
    allows and for one that takes longer than ``timeout_s``; ServiceRefused without the workgroup or the
    right to use it. Whatever stops the waiting, Ctrl-C included, stops the query in Athena: what it has
    scanned by then is billed.
    """
    client = target.client("athena")
    try:
        started = client.start_query_execution(
            QueryString=sql,
            QueryExecutionContext={"Catalog": "AwsDataCatalog", "Database": target.database},
            WorkGroup=target.workgroup,
        )
    except ClientError as error:
        raise _refused(target, error) from error
    execution: str = started["QueryExecutionId"]
    try:
        ended = _ended(client, execution, timeout_s)
    except BaseException:
        client.stop_query_execution(QueryExecutionId=execution)
        raise
    statistics = ended.get("Statistics", {})
    scanned = int(statistics.get("DataScannedInBytes", 0))
    if ended["Status"]["State"] != "SUCCEEDED":
        why = ended["Status"].get("StateChangeReason") or ended["Status"]["State"]
        raise InvalidInput(
            f"query: expected a statement that Athena can run within the limits of {target.workgroup}, "
            f"found: {why} ({scanned:,} bytes scanned)"
        )
    columns, rows = _results(client, execution)
    return Done(Fetched(columns, rows), scanned, int(statistics.get("EngineExecutionTimeInMillis", 0)))


def _ended(client: Any, execution: str, timeout_s: float) -> dict[str, Any]:
    """The execution when it has ended."""
    deadline, pause = outside.monotonic() + timeout_s, _FIRST_LOOK_S
    while True:
        found: dict[str, Any] = client.get_query_execution(QueryExecutionId=execution)["QueryExecution"]
        if found["Status"]["State"] in _ENDED:
            return found
        if outside.monotonic() + pause > deadline:
            raise InvalidInput(
                f"query: expected rows within {timeout_s:g} s, found it {found['Status']['State'].lower()}; "
                "it was stopped: ask for fewer, or give it longer with --timeout"
            )
        outside.sleep(pause)
        pause = min(pause * 2, _LAST_LOOK_S)


def _results(client: Any, execution: str) -> tuple[list[str], list[tuple[object, ...]]]:
    columns: list[str] = []
    readers: list[Callable[[str], object]] = []
    rows: list[tuple[object, ...]] = []
    for page in client.get_paginator("get_query_results").paginate(QueryExecutionId=execution):
        found = list(page["ResultSet"]["Rows"])
        if not columns:
            described = page["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]
            columns = list(_distinct([column["Name"] for column in described]))
            readers = [_READERS.get(column["Type"], str) for column in described]
            found = found[1:]  # of a SELECT the first row is the names
        rows += (
            tuple(
                None if (text := cell.get("VarCharValue")) is None else read(text)
                for cell, read in zip(row["Data"], readers, strict=True)
            )
            for row in found
        )
    return columns, rows


def _distinct(names: list[str]) -> Iterator[str]:
    """``names`` with a number after each one that was there before."""
    seen: set[str] = set()
    for name in names:
        number, free = 0, name
        while free in seen:
            number += 1
            free = f"{name}_{number}"
        seen.add(free)
        yield free


def _moment(text: str) -> datetime:
    """``2026-01-01 00:00:00.000000 UTC``, or without the zone where the type has none."""
    if text.endswith(" UTC"):
        return datetime.fromisoformat(text.removesuffix(" UTC")).replace(tzinfo=UTC)
    return datetime.fromisoformat(text)


_READERS: Final[dict[str, Callable[[str], object]]] = {
    "boolean": lambda text: text == "true",
    "tinyint": int,
    "smallint": int,
    "integer": int,
    "bigint": int,
    "float": float,
    "double": float,
    "decimal": Decimal,
    "date": date.fromisoformat,
    "timestamp": _moment,
    "timestamp with time zone": _moment,
}


def _refused(target: Target, error: ClientError) -> Exception:
    code, said = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if code == "InvalidRequestException" and "workgroup" not in said.lower():
        return InvalidInput(f"query: expected a statement that Athena takes, found: {said}")
    return ServiceRefused(
        f"Athena: expected to query in the workgroup {target.workgroup}, found {code}: {said}; "
        "attach the policy that `terraform output athena_reader_policy` prints to who asks, or apply the "
        "environment again where the workgroup is missing"
    )
