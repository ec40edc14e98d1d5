"""Rules about all rows of Semantic, measured: what a contract's ``quality`` says, and what is there.

All rules of a contract are measured in one pass over the columns that they name; the number of rows alone is
known from metadata. A pass has a budget of rows: a table that is larger is not measured, and it is said that
it is not. What is measured stands in one item of the checkpoints table until it is measured again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table

from common.contract.quality import QualityRule, typed
from common.lake.reading import read_rows
from common.runtime.errors import ContractError

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient

MOST_ROWS: Final = 5_000_000
"""So many rows at most are read after a commit; a column of numbers takes about a second for each million."""
NOT_VALID: Final = pa.scalar(False)  # noqa: FBT003 - a scalar is made of its value
HOLDER: Final = "quality rules"
"""Who holds a topic back of which a critical rule is broken; `lean-ops resume --everybody` lifts it."""


class Measured(msgspec.Struct, frozen=True):
    """One rule. ``found``: the number, as text, empty where nobody measured it, for the reason ``why``."""

    name: str
    severity: str
    expected: str
    found: str
    holds: bool
    why: str = ""

    @property
    def broken(self) -> bool:
        """Whether it was measured and does not hold."""
        return bool(self.found) and not self.holds


class Measurement(msgspec.Struct, frozen=True):
    """All rules of a topic at one snapshot of Semantic. ``rows`` and ``bytes``: read for it, decoded."""

    snapshot_id: str
    at: float
    version: str
    rows: int
    bytes: int
    rules: tuple[Measured, ...]

    @property
    def moment(self) -> datetime:
        """When it was measured."""
        return datetime.fromtimestamp(self.at, UTC)

    def is_of(self, snapshot_id: str, version: str) -> bool:
        """Whether it was measured of this snapshot, by this version of the contract."""
        return (self.snapshot_id, self.version) == (snapshot_id, version)

    def as_log(self) -> dict[str, Any]:
        """What of it a log says: numbers and names."""
        return {
            "rows_read": self.rows,
            "bytes_read": self.bytes,
            "rules": {one.name: one.found or one.why for one in self.rules},
            "broken": [one.name for one in self.rules if one.broken],
        }

    def broken(self, *severities: str) -> list[Measured]:
        """The rules of these severities that do not hold."""
        return [one for one in self.rules if one.broken and one.severity in severities]

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self | None:
        """What an item says; None where there is none, or it is damaged: then it is measured again."""
        try:
            return msgspec.json.decode(item["measured"]["S"], type=cls)
        except (KeyError, TypeError, msgspec.MsgspecError):
            return None


def item_of(topic: str) -> str:
    """Id of the item that has what was measured last."""
    return f"{topic}#quality"


def keep(dynamodb: "DynamoDBClient", table: str, topic: str, measurement: Measurement) -> None:
    """Remember what was measured."""
    dynamodb.update_item(
        TableName=table,
        Key={"checkpoint_id": {"S": item_of(topic)}},
        UpdateExpression="SET measured = :measured",
        ExpressionAttributeValues={":measured": {"S": msgspec.json.encode(measurement).decode()}},
    )


def hold_back(
    dynamodb: "DynamoDBClient", table: str, topic: str, broken: Sequence[Measured], now: datetime
) -> None:
    """Keep runs away from the topic, as a person's hold does, until somebody resumes it."""
    reason = "critical rules are broken: " + "; ".join(
        f"{one.name}: expected that {one.expected}, found {one.found}" for one in broken
    )
    hold: Any = {
        "by": {"S": HOLDER},
        "since": {"S": now.isoformat(timespec="seconds")},
        "reason": {"S": reason[:1000]},
    }
    dynamodb.update_item(
        TableName=table,
        Key={"checkpoint_id": {"S": f"{topic}#lease"}},
        UpdateExpression="ADD on_hold :holder SET #hold = :hold",
        ExpressionAttributeNames={"#hold": f"hold {HOLDER}"},
        ExpressionAttributeValues={":holder": {"SS": [HOLDER]}, ":hold": {"M": hold}},
    )


def measure(
    table: Table,
    rules: Sequence[QualityRule],
    *,
    version: str,
    now: datetime,
    most_rows: int | None = MOST_ROWS,
    go_on: Callable[[], bool] = lambda: True,
) -> Measurement:
    """Measure the rules on the current rows of ``table``, but for those in SQL.

    ``most_rows``: of a larger table nothing is read (None: it is read, however large). ``go_on`` is asked
    before each batch; when it says no, what is not measured is said. Changes nothing.
    """
    rows = row_count(table)
    counters = {rule.name: _Counter(rule, table) for rule in rules if rule.metric not in ("rowCount", "sql")}
    columns = sorted({column for one in counters.values() for column in one.columns})
    read_rows_, read_bytes, why = 0, 0, ""
    if most_rows is not None and rows > most_rows and columns:
        why = f"expected at most {most_rows:,} rows, found {rows:,}; `lean-ops contract test` measures them"
    elif columns and rows:
        for batch in read_rows(table, "", columns):
            if not go_on():
                why = (
                    "expected time to read all rows, found none left; `lean-ops contract test` measures them"
                )
                break
            read_rows_ += batch.num_rows
            read_bytes += batch.nbytes
            for counter in counters.values():
                counter.add(batch)
    snapshot = table.current_snapshot()
    return Measurement(
        str(snapshot.snapshot_id) if snapshot else "",
        now.timestamp(),
        version,
        read_rows_,
        read_bytes,
        tuple(_judged(rule, rows, counters.get(rule.name), why) for rule in rules if rule.metric != "sql"),
    )


def row_count(table: Table) -> int:
    """Rows of the current snapshot, from its summary."""
    snapshot = table.current_snapshot()
    said = snapshot.summary.additional_properties if snapshot and snapshot.summary else {}
    return int(said.get("total-records", 0)) - int(said.get("total-position-deletes", 0))


def judged(rule: QualityRule, number: Decimal) -> Measured:
    """The rule, held against the number that was measured."""
    shown = f"{number:f}" if number == number.to_integral_value() else f"{number:.4f}"
    return Measured(rule.name, rule.severity, rule.expected, shown, rule.bound.holds(number))


def unmeasured(rule: QualityRule, why: str) -> Measured:
    """The rule, which nobody could measure."""
    return Measured(rule.name, rule.severity, rule.expected, "", holds=False, why=why)


def _judged(rule: QualityRule, rows: int, counter: "_Counter | None", why: str) -> Measured:
    if counter is None:
        return judged(rule, Decimal(rows))
    if counter.missing:
        return unmeasured(
            rule, f"expected column {counter.missing} in the table, found none yet; a run adds it"
        )
    if why:
        return unmeasured(rule, why)
    counted = Decimal(counter.counted())
    if not rule.percent:
        return judged(rule, counted)
    return judged(rule, 100 * counted / counter.rows if counter.rows else Decimal(0))


@dataclass
class _Counter:
    """Counts for one rule, batch by batch."""

    rule: QualityRule
    table: Table
    rows: int = 0
    found: int = 0
    seen: list[pa.Table] = field(default_factory=list)
    missing: str = ""
    values: "pa.Array[Any]" = field(default_factory=lambda: pa.array([], pa.string()))

    def __post_init__(self) -> None:
        schema = self.table.schema()
        names = set(schema.column_names)
        self.missing = next((column for column in self.rule.columns if column not in names), "")
        if not self.missing and self.rule.values:
            kind: Any = schema.find_type(self.rule.columns[0])
            try:
                self.values = typed(self.rule.values, kind)
            except ContractError:  # the column has not got the contract's type yet
                self.missing = self.rule.columns[0]

    @property
    def columns(self) -> Iterable[str]:
        return () if self.missing else self.rule.columns

    def add(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows
        if self.missing:
            return
        if self.rule.metric == "duplicateValues":
            self.seen.append(pa.Table.from_batches([batch]).select(list(self.rule.columns)))
            return
        column: Any = batch.column(self.rule.columns[0])
        if self.rule.metric == "nullValues":
            self.found += column.null_count
        elif self.rule.metric == "missingValues":
            self.found += _count(pc.is_in(column, value_set=self.values))
            self.found += column.null_count if None in self.rule.values else 0
        else:
            valid = (
                pc.match_substring_regex(column, self.rule.pattern)
                if self.rule.pattern is not None
                else pc.is_in(column, value_set=self.values)
            )
            # A null is missing, and nothing is wrong with it.
            self.found += _count(pc.and_not(pc.is_valid(column), pc.fill_null(valid, NOT_VALID)))

    def counted(self) -> int:
        if self.rule.metric != "duplicateValues":
            return self.found
        if not self.seen:
            return 0
        rows = pa.concat_tables(self.seen).drop_null()
        groups = rows.group_by(list(self.rule.columns)).aggregate([([], "count_all")])
        # Rows beyond the first of each value: so many too many.
        return rows.num_rows - groups.num_rows


def _count(mask: Any) -> int:
    return int(pc.sum(mask).as_py() or 0)
