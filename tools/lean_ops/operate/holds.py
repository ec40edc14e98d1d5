"""Holds: who keeps the pipeline away from a topic, since when and why (docs/adr/0012).

A topic is on hold while anybody holds it. The item that carries its lease has a string set ``on_hold``, the
holders, and beside it one attribute a holder that says more. DynamoDB removes a set with its last member, so
that the function that gives out the lease asks one question: is there ``on_hold``?

    person      an ARN; ``lean-ops pause`` places the hold, ``lean-ops resume`` lifts it
    operation   at most one at a time works on a topic (rollback, checkpoints set or reset); its hold goes
                when it ends

An operation that was killed cannot lift its hold, and one that failed half-way must not: another would
begin on what it left. Its repetition, the same work on the same topic, takes the hold over as soon as the
process is known to be gone: at once on the same machine, otherwise when it has given no sign of life for
``SILENCE_S`` seconds, measured by the clock of the one who waits. Nobody else takes it;
``lean-ops resume --operation ID`` gives the work up.

A rebuild works in a place of its own, under the same rules: two at once would fill one table.

What is damaged holds as well, whatever can be read of it: it is named, and lifted as any other hold is. An
operation whose id cannot be read is ``UNREADABLE``; it is judged by its silence.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args

from botocore.exceptions import BotoCoreError, ClientError

from common.runtime import outside
from common.runtime.errors import InvalidInput, TransientError
from lean_ops.environment import audit
from lean_ops.environment.target import Target
from lean_ops.operate import workers
from lean_ops.operate.workers import Worker

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient
    from types_boto3_dynamodb.type_defs import AttributeValueTypeDef

BEAT_S: Final = 5.0
SILENCE_S: Final = 30.0
Kind = Literal["lease", "rebuild-curated", "rebuild-semantic"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_OPERATION: Final = "operation"
_ATTRIBUTE: Final = "hold "  # "hold <holder>" says more about a holder
_GATE: Final = "on_hold"
UNREADABLE: Final = "unreadable"
_ROUNDS: Final = 10
# Nobody has the place of a holder: an attribute without its member in the set is what damage has left.
_FREE: Final = "attribute_not_exists(#hold) OR attribute_not_exists(on_hold) OR NOT contains(on_hold, :name)"
_BY_ID: Final = "#hold.operation_id = :id"
T = TypeVar("T")


class HoldLost(TransientError):  # noqa: N818 - the hold is lost; "error" would say less
    """The hold of an operation was taken over or lifted while it worked; it must not go on."""


@dataclass(frozen=True)
class Hold:
    """One holder's hold. ``by``: ARN of the person, or of the person whose operation it is.

    The rest is empty for a person. ``work`` says what the operation does, to what; by it its repetition is
    known. ``beat`` counts its signs of life. ``damage``: what of it cannot be read. ``seen``: the attribute
    as DynamoDB has it, None without one; what is damaged is lifted by it, as nothing else is sure.
    """

    by: str
    since: str
    reason: str
    operation_id: str = ""
    work: str = ""
    worker: Worker | None = None
    beat: int = 0
    damage: str = ""
    seen: "AttributeValueTypeDef | None" = field(default=None, repr=False, compare=False)

    @property
    def holder(self) -> str:
        """The member of the set."""
        return _OPERATION if self.operation_id else self.by

    def describe(self) -> str:
        """One phrase that says who holds and why."""
        damaged = f" (its record is damaged: {self.damage})" if self.damage else ""
        if not self.operation_id:
            return f"on hold since {self.since} by {self.by}: {self.reason}{damaged}"
        over = "was killed, or failed half-way"
        state = f"is at work, {over}" if self.worker is None else over
        if self.worker is not None and not self.worker.gone:
            state = f"is at work on {self.worker.machine.partition('/')[0]}"
        return (
            f"on hold since {self.since}: operation {self.operation_id} ({self.work}, by {self.by}) {state}: "
            f"{self.reason}{damaged}"
        )

    def way_out(self, topic: str) -> str:
        """One phrase that says how the hold ends."""
        if not self.operation_id:
            return f"`lean-ops resume --topic {topic}` lifts your own hold, with --everybody that of others"
        return (
            "wait for it; if it is over, the same command again takes its hold over, and "
            f"`lean-ops resume --topic {topic} --operation {self.operation_id}` gives it up"
        )


@dataclass(frozen=True)
class Place:
    """An item of the checkpoints table that can be held. ``name``: what is held, for messages."""

    target: Target
    topic: str
    kind: Kind = "lease"

    @property
    def name(self) -> str:
        """What is held."""
        return f"topic {self.topic}" if self.kind == "lease" else f"{self.kind} of topic {self.topic}"

    def holds(self) -> tuple[Hold, ...]:
        """Everybody's hold, the oldest first."""
        return holds_of(self.item())

    def item(self) -> Mapping[str, Any]:
        """The item as DynamoDB has it; empty where there is none."""
        found = self.target.client("dynamodb").get_item(
            TableName=self.target.checkpoints_table, Key=self._key(), ConsistentRead=True
        )
        return found.get("Item", {})

    def pause(self, reason: str) -> tuple[Hold, bool]:
        """Place the caller's hold; gives it, and False where it was there before (it stays as it was)."""
        mine = Hold(self.target.caller, _now(), reason)
        self._bring_up_to_date()
        if self._put(mine, _FREE):
            return mine, True
        return next((hold for hold in self.holds() if hold.holder == mine.holder), mine), False

    def resume(self, *, everybody: bool = False) -> tuple[tuple[Hold, ...], tuple[Hold, ...]]:
        """Lift the caller's hold, or that of every person; gives those lifted and those that are left."""
        self._bring_up_to_date()
        caller = self.target.caller
        before = self.holds()
        persons = [hold for hold in before if not hold.operation_id and (everybody or hold.by == caller)]
        for hold in persons:
            self._lift(hold)
        left = self.holds()
        return tuple(hold for hold in persons if hold not in left), left

    def give_up(self, operation_id: str) -> bool:
        """Lift the hold of an operation that is known to be gone; False where it holds nothing (any more).

        Waits for ``SILENCE_S`` seconds for a sign of life of a process on another machine. Raises
        InvalidInput for an operation that works.
        """
        watch, held = _Watch(), False
        while (found := self._operation()) is not None and found.operation_id == operation_id:
            held = True
            if watch.gone(found):
                self._lift(found)
            elif watch.beating(found):
                raise InvalidInput(
                    f"{self.name}: expected operation {operation_id} ({found.work}) to have been killed, "
                    "found it at work; wait for it, or end its process first"
                )
            else:
                outside.sleep(self.target.look_s)
        return held

    @contextmanager
    def worked_on(self, entry: audit.Entry, work: str, *, wait_s: float) -> Iterator["Held"]:
        """Hold the place for an operation while it works; one at a time.

        Raises InvalidInput where another operation still holds it after ``wait_s`` seconds. The hold goes
        when the work ends, and when it fails before it has changed anything. Otherwise it stays, for the
        repetition: behind a process that was killed, behind one that failed half-way, and behind a
        repetition that failed, however early, as it does not know what the one before it has left.
        """
        held, before = self._claim(entry, work, wait_s)
        held.half_done = bool(before)
        try:
            if before:
                audit.taken_up(self.target, before, by=entry.operation_id)
            with held.beating():
                yield held
        except BaseException as error:  # an interrupt leaves as much half done
            if held.stays_after(error):
                error.add_note(held.left_behind("what it was doing is half done"))
            else:
                try:
                    held.lift()
                except (BotoCoreError, ClientError) as unlifted:  # the work's own error matters more
                    error.add_note(held.left_behind(f"its hold could not be lifted ({unlifted})"))
            raise
        try:
            held.lift()
        except (BotoCoreError, ClientError) as error:
            error.add_note(held.left_behind("it is done, but its hold could not be lifted"))
            raise

    def _claim(self, entry: audit.Entry, work: str, wait_s: float) -> "tuple[Held, str]":
        """Place the hold; gives it, and the id of the operation whose hold was taken over, if any."""
        self._bring_up_to_date()
        mine = Hold(entry.who, _now(), entry.reason, entry.operation_id, work, workers.this_process())
        deadline = outside.monotonic() + wait_s
        watch = _Watch()
        before = ""
        while not self._put(mine, _FREE):
            found = self._operation()
            if found is None:
                self._bring_up_to_date()
                continue  # it has just ended
            if found.operation_id == mine.operation_id:
                break  # placed by a request whose answer was lost
            if watch.gone(found) and found.work == work:
                before = found.operation_id
                # With its signs of life, so that one which was given meanwhile counts.
                if found.seen is not None and self._put(mine, "#hold = :seen", {":seen": found.seen}):
                    break
            elif watch.gone(found) or outside.monotonic() >= deadline:
                raise InvalidInput(
                    f"{self.name}: expected no other operation at work, found it {found.describe()}; "
                    f"{found.way_out(self.topic)}"
                )
            else:
                outside.sleep(self.target.look_s)
        else:
            before = ""  # whoever held it has ended since, or was given up
        return Held(self, mine, self.target.client("dynamodb")), before

    def _operation(self) -> Hold | None:
        return next((hold for hold in self.holds() if hold.operation_id), None)

    def _put(
        self, hold: Hold, condition: str, seen: "Mapping[str, AttributeValueTypeDef] | None" = None
    ) -> bool:
        return _changed(
            self.target.client("dynamodb"),
            TableName=self.target.checkpoints_table,
            Key=self._key(),
            UpdateExpression="ADD on_hold :holder SET #hold = :hold",
            ConditionExpression=condition,
            ExpressionAttributeNames={"#hold": _ATTRIBUTE + hold.holder},
            ExpressionAttributeValues={
                ":holder": {"SS": [hold.holder]},
                ":hold": _written(hold),
                **({":name": {"S": hold.holder}} if condition == _FREE else {}),
                **(seen or {}),
            },
        )

    def _lift(self, hold: Hold) -> bool:
        """Lift a hold that was read, unless its holder has placed another since."""
        if hold.operation_id and not hold.damage:
            return self._remove(_OPERATION, _BY_ID, {":id": {"S": hold.operation_id}})
        if hold.seen is None:
            return self._remove(hold.holder, "attribute_not_exists(#hold)")
        if not hold.damage:
            return self._remove(hold.holder, "attribute_exists(#hold)")
        return self._remove(hold.holder, "#hold = :seen", {":seen": hold.seen})

    def _remove(
        self, holder: str, condition: str, seen: "Mapping[str, AttributeValueTypeDef] | None" = None
    ) -> bool:
        return _changed(
            self.target.client("dynamodb"),
            TableName=self.target.checkpoints_table,
            Key=self._key(),
            UpdateExpression="DELETE on_hold :holder REMOVE #hold",
            ConditionExpression=condition,
            ExpressionAttributeNames={"#hold": _ATTRIBUTE + holder},
            ExpressionAttributeValues={":holder": {"SS": [holder]}, **(seen or {})},
        )

    def _bring_up_to_date(self) -> None:
        """Make a set of holders of what is none.

        That is the hold of an earlier release, one flag for everybody, which is given to the person who
        placed it; and a damaged one, which is nobody's.
        """
        for _ in range(_ROUNDS):
            item = self.item()
            if _GATE not in item or "SS" in item[_GATE]:
                return
            (hold,) = holds_of(item)
            if _changed(
                self.target.client("dynamodb"),
                TableName=self.target.checkpoints_table,
                Key=self._key(),
                UpdateExpression="SET on_hold = :holders, #hold = :hold REMOVE held_by, held_since",
                ConditionExpression="on_hold = :seen",
                ExpressionAttributeNames={"#hold": _ATTRIBUTE + hold.holder},
                ExpressionAttributeValues={
                    ":holders": {"SS": [hold.holder]},
                    ":hold": _written(hold),
                    ":seen": item[_GATE],
                },
            ):
                return
        raise HoldLost(f"{self.name}: expected its hold to stay as it was read, found others changing it")

    def _key(self) -> "dict[str, AttributeValueTypeDef]":
        return {"checkpoint_id": {"S": f"{self.topic}#{self.kind}"}}


class Held:
    """The hold of the operation that works. ``half_done``: something of its work may have been changed."""

    def __init__(self, place: Place, hold: Hold, dynamodb: "DynamoDBClient") -> None:
        self._place: Final = place
        self._hold: Final = hold
        self._dynamodb: Final = dynamodb
        self.half_done = False

    def changing(self) -> None:
        """To be called before something is changed; raises HoldLost when the hold is another's."""
        self.check()
        self.half_done = True

    def stays_after(self, error: BaseException) -> bool:
        """Whether the hold stays for a repetition when the work ends in ``error``."""
        return self.half_done and not isinstance(error, HoldLost)

    def left_behind(self, why: str) -> str:
        """The sentence on a hold that stays behind its operation."""
        return (
            f"{self._place.name} stays on hold by operation {self._hold.operation_id}, as {why}: run the "
            f"same command again, or give it up by `lean-ops resume --topic {self._place.topic} "
            f"--operation {self._hold.operation_id}`"
        )

    def lift(self) -> None:
        """The work is done, or nothing of it was begun."""
        self._place._remove(_OPERATION, _BY_ID, {":id": {"S": self._hold.operation_id}})

    def check(self) -> None:
        """Raises HoldLost when the hold is another's by now."""
        if not self._beat():
            raise HoldLost(
                f"{self._place.name}: expected operation {self._hold.operation_id} to hold it, found the "
                "hold taken over or given up while this process was silent; look at `lean-ops checkpoints`, "
                "then run the command again if it is still wanted"
            )

    def leave_to_person(self) -> None:
        """Place the hold of the person who runs the operation, which stays when the operation ends."""
        self._place.pause(f"{self._hold.work}: {self._hold.reason}")

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Give signs of life meanwhile."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(BEAT_S):
                try:
                    if not self._beat():
                        return  # ``check`` says so before it matters
                except (BotoCoreError, ClientError):
                    continue  # a sign that was not given: silence is what others judge by

        thread = threading.Thread(target=beat, daemon=True, name="signs-of-life")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _beat(self) -> bool:
        return _changed(
            self._dynamodb,
            TableName=self._place.target.checkpoints_table,
            Key=self._place._key(),
            UpdateExpression="SET #hold.beat = #hold.beat + :one",
            ConditionExpression="#hold.operation_id = :id",
            ExpressionAttributeNames={"#hold": _ATTRIBUTE + _OPERATION},
            ExpressionAttributeValues={":one": {"N": "1"}, ":id": {"S": self._hold.operation_id}},
        )


class _Watch:
    """Looks at an operation's signs of life, by the clock of the one who looks."""

    def __init__(self) -> None:
        self._last: tuple[str, int] = ("", 0)
        self._since = outside.monotonic()
        self._beating = ""

    def gone(self, hold: Hold) -> bool:
        """Whether the process is known to be gone, or has been silent for long enough."""
        now = outside.monotonic()
        if (hold.operation_id, hold.beat) != self._last:
            if hold.operation_id == self._last[0]:
                self._beating = hold.operation_id
            self._last, self._since = (hold.operation_id, hold.beat), now
        return (hold.worker is not None and hold.worker.gone) or now - self._since >= SILENCE_S

    def beating(self, hold: Hold) -> bool:
        """Whether it has given a sign of life while it was looked at."""
        return self._beating == hold.operation_id


def places(target: Target, topic: str) -> list[Place]:
    """All that can be held of a topic."""
    return [Place(target, topic, kind) for kind in KINDS]


def holds_of(item: Mapping[str, Any]) -> tuple[Hold, ...]:
    """The holds that an item carries, the oldest first; also the one flag of an earlier release."""
    gate = item.get(_GATE)
    if gate is None:
        return ()
    if "SS" not in gate:
        by, since = (str(item.get(name, {}).get("S", "unknown")) for name in ("held_by", "held_since"))
        damage = "" if "S" in gate else f"{_GATE} is no set of holders"
        return (Hold(by or "unknown", since, str(gate.get("S", "unknown")), damage=damage),)
    found = [_read(holder, item.get(_ATTRIBUTE + holder)) for holder in gate["SS"]]
    return tuple(sorted(found, key=lambda hold: hold.since))


def _read(holder: str, seen: "AttributeValueTypeDef | None") -> Hold:
    """What an attribute says of ``holder``; what cannot be read of it is named in ``damage``."""
    written: Mapping[str, Any] = (seen or {}).get("M", {})
    damaged = []

    def value(name: str, read: Callable[[Any], T], default: T) -> T:
        try:
            return read(written[name])
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            damaged.append(name)
            return default

    by = value("by", _text, "unknown" if holder == _OPERATION else holder)
    if holder not in (_OPERATION, by):
        damaged.append("by")
        by = holder  # the member of the set is the holder
    hold = Hold(by, value("since", _text, "unknown"), value("reason", _text, "unknown"), seen=seen)
    if holder == _OPERATION:
        hold = replace(
            hold,
            operation_id=value("operation_id", _text, UNREADABLE),
            work=value("work", _text, UNREADABLE),
            worker=value("worker", lambda stored: Worker.parse(stored["S"]), None),
            beat=value("beat", lambda stored: int(stored["N"]), 0),
        )
    return replace(hold, damage=", ".join(damaged))


def _text(stored: Mapping[str, Any]) -> str:
    if not isinstance(stored["S"], str) or not stored["S"]:
        raise ValueError("no text")
    return stored["S"]


def _written(hold: Hold) -> "AttributeValueTypeDef":
    texts = {"by": hold.by, "since": hold.since, "reason": hold.reason}
    if hold.worker is None:
        return {"M": {name: {"S": value} for name, value in texts.items()}}
    texts |= {
        "operation_id": hold.operation_id,
        "work": hold.work,
        "worker": json.dumps(asdict(hold.worker)),
    }
    return {"M": {**{name: {"S": value} for name, value in texts.items()}, "beat": {"N": str(hold.beat)}}}


def _changed(dynamodb: "DynamoDBClient", **update: Any) -> bool:
    """Make a conditional update; False where its condition does not hold."""
    try:
        dynamodb.update_item(**update)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return False
    return True


def _now() -> str:
    return outside.now().isoformat(timespec="seconds")
