"""The breaker's record: one item of the checkpoints table, changed under a version.

Whoever changes the breaker first writes the new state here and then brings the event source mapping into
line. ``enforced`` says that this was done; while it is false anyone who comes by does it. So a crash between
the two, or two that decide at once, end with the mapping as the newest record says.

What cannot be read of a damaged record is made up for (``Record.mended``): a damaged item neither stops the
breaker nor switches the mapping.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from common.intake.breaker.mapping import TRIAL, Found, Pace
from common.intake.breaker.rules import LONGEST_COOL_DOWN, Breaker, Phase

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient
    from types_boto3_dynamodb.type_defs import AttributeValueTypeDef

ITEM: Final = "breaker#source"
# Further ahead than clocks differ: a phase that began then would never end.
_AHEAD: Final = timedelta(days=1)
_WENT_ON: Final = " (went on from a record with damaged"


@dataclass(frozen=True)
class Record:
    """The breaker as written down.

    ``normal``: the mapping's own pace, kept from before it is slowed down until it was seen to be back. None:
    whatever the mapping has is its own. ``damaged``: attributes that could not be read, and stand at their
    defaults here. ``seen``: the version as DynamoDB has it, which the next one replaces; None without.
    """

    breaker: Breaker = field(default_factory=Breaker)
    version: int = 0
    enforced: bool = True
    normal: Pace | None = None
    damaged: frozenset[str] = frozenset()
    seen: "AttributeValueTypeDef | None" = None

    def changed(self, breaker: Breaker, normal: Pace | None) -> "Record":
        """The next version, still to be enforced."""
        return Record(breaker, self.version + 1, enforced=False, normal=normal, seen=self.seen)

    def mended(self, found: Found, now: datetime) -> "Record":
        """The record with what is safe in the place of what cannot be read; ``damaged`` goes on naming it.

        The phase is the one that the mapping is in, so that nothing is switched on a guess; one that began in
        the future begins now. A hold that cannot be read is none: a breaker that is open will try, a little,
        and one that stayed open for nobody would keep messages until they expire. A pace that cannot be read
        is the mapping's present one (the doctor says so where that is the slow one of a trial).
        """
        damaged = self.damaged | ({"since"} if self.breaker.since > now + _AHEAD else frozenset())
        if not damaged:
            return self
        breaker = self.breaker
        if "phase" in damaged:
            breaker = replace(breaker, phase=_phase_of(found))
        if damaged & {"phase", "since"}:
            breaker = replace(breaker, since=now)
        if breaker.phase is Phase.OPEN and not breaker.held:
            breaker = replace(breaker, openings=max(breaker.openings, 1))
        mended = replace(self, breaker=breaker, damaged=damaged)
        if "version" in damaged:
            # Beyond any that a breaker counts to: no turn from before the damage takes it for its own.
            mended = replace(mended, version=int(now.timestamp()))
        return replace(mended, breaker=mended.saying_so(breaker))

    def saying_so(self, breaker: Breaker) -> Breaker:
        """``breaker``, whose reason says what of this record was made up for: what it became was a guess too.

        A breaker that tried too early since its openings were lost does not look as if it knew.
        """
        if not self.damaged:
            return breaker
        reason = breaker.reason.partition(_WENT_ON)[0]  # what was damaged before is history
        return replace(breaker, reason=f"{reason}{_WENT_ON} {_listed(self.damaged)})")

    def damage(self, table: str) -> str:
        """One sentence about what cannot be read; empty where everything can."""
        if not self.damaged:
            return ""
        return (
            f"item {ITEM} of {table}: expected phase, since, openings, held, reason, version and enforced as "
            f"the circuit breaker writes them, found damaged {_listed(self.damaged)}; the breaker goes on "
            "from what the mapping does and writes the item anew with its next look, within a minute: give "
            "an order to hold it again (`lean-ops breaker`)"
        )


class RecordStore:
    """Reads and conditionally writes the record in the DynamoDB table ``table``."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str) -> None:
        self._dynamodb: Final = dynamodb
        self._table: Final = table

    def load(self) -> Record:
        """The record as it is now; a closed breaker where there is none yet. See ``Record.damaged``."""
        item = self._dynamodb.get_item(
            TableName=self._table, Key={"checkpoint_id": {"S": ITEM}}, ConsistentRead=True
        ).get("Item")
        return Record() if item is None else _read(item)

    def save(self, record: Record) -> bool:
        """Write ``record`` if its version is the next one; False when somebody else wrote that first."""
        breaker = record.breaker
        item: dict[str, Any] = {
            "checkpoint_id": {"S": ITEM},
            "version": {"N": str(record.version)},
            "phase": {"S": breaker.phase.value},
            "since": {"S": breaker.since.isoformat()},
            "openings": {"N": str(breaker.openings)},
            "held": {"BOOL": breaker.held},
            "reason": {"S": breaker.reason},
            "enforced": {"BOOL": record.enforced},
        }
        if record.normal is not None:
            item["normal"] = {"M": {name: {"N": str(n)} for name, n in record.normal.as_json().items()}}
        if record.seen is None:
            condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(version)"}
        else:
            condition = {
                "ConditionExpression": "version = :before",
                "ExpressionAttributeValues": {":before": record.seen},
            }
        try:
            self._dynamodb.put_item(TableName=self._table, Item=item, **condition)
        except ClientError as error:
            return _lost(error)
        return True

    def confirm(self, record: Record) -> bool:
        """Write down that the mapping is as ``record`` says; False when there is a newer record.

        A breaker that never changed has no item (version 0), and gets none by being confirmed.
        """
        if record.version == 0:
            return self.load().version == 0
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key={"checkpoint_id": {"S": ITEM}},
                UpdateExpression="SET enforced = :true",
                ConditionExpression="version = :version",
                ExpressionAttributeValues={
                    ":true": {"BOOL": True},
                    ":version": {"N": str(record.version)},
                },
            )
        except ClientError as error:
            return _lost(error)
        return True


def _lost(error: ClientError) -> bool:
    """False where somebody else was faster; any other error rises."""
    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
        raise error
    return False


def _read(item: Mapping[str, Any]) -> Record:
    damaged: set[str] = set()

    def value(name: str, read: Callable[[Any], Any], default: Any) -> Any:
        try:
            return read(item[name])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            damaged.add(name)
            return default

    safe = Breaker(openings=1, reason="unknown")
    breaker = Breaker(
        value("phase", lambda stored: Phase(stored["S"]), safe.phase),
        value("since", _moment, safe.since),
        value("openings", _count, safe.openings),
        held=value("held", lambda stored: bool(stored["BOOL"]), safe.held),
        reason=value("reason", lambda stored: str(stored["S"]), safe.reason),
    )
    version = value("version", _count, 0)
    enforced = value("enforced", lambda stored: bool(stored["BOOL"]), False)  # noqa: FBT003 - a default
    normal = value("normal", _pace, None) if "normal" in item else None
    return Record(breaker, version, enforced, normal, frozenset(damaged), item.get("version"))


def _moment(stored: Mapping[str, str]) -> datetime:
    moment = datetime.fromisoformat(stored["S"])
    if moment.tzinfo is None:
        raise ValueError("a time without its offset")
    moment + LONGEST_COOL_DOWN  # OverflowError at the end of time
    return moment


def _count(stored: Mapping[str, str]) -> int:
    count = int(stored["N"])
    if not 0 <= count < 1 << 62:
        raise ValueError("no count")
    return count


def _pace(stored: Mapping[str, Any]) -> Pace:
    numbers = {one.name: _count(stored["M"][one.name]) for one in fields(Pace)}
    pace = Pace(**numbers)
    if not pace.possible:
        raise ValueError("no pace that Lambda takes")
    return pace


def _phase_of(found: Found) -> Phase:
    """The phase that a mapping looks like."""
    if not found.taking:
        return Phase.OPEN
    return Phase.HALF_OPEN if found.pace == TRIAL else Phase.CLOSED


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
