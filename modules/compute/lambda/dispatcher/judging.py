"""What the dispatcher sees of a topic, what it remembers of it, and what follows: values and no calls.

What a run decides by are the pointers of RAW and Curated, whether there is a Semantic table, and the
checkpoints; together they are the topic's *sight*. A topic is **at rest** in a sight in which a run that
ended well has begun: that run found nothing to do there, or changed the sight. So a topic is started until
nothing changes any more, whatever changed it (a delivery, a compaction, a rollback, a checkpoint that was
reset), and an idle one is not started.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final, Self

from common.lake.pointers import never_committed

BACK_OFF_S: Final = 15 * 60
LONGEST_BACK_OFF_S: Final = 4 * 3_600
_MOST_DOUBLINGS: Final = 10


class Ending(StrEnum):
    """How a run ended, as far as its topic is concerned."""

    RUNS = "runs"
    """It has not."""
    WELL = "well"
    """Everything that it found was done."""
    NOTHING = "nothing"
    """It was kept from working: another run had the lease, or it was stopped."""
    UNKNOWN = "unknown"
    """There is no such run: it was never started, or is forgotten."""
    FAILED = "failed"


@dataclass(frozen=True)
class Sight:
    """A topic as it is. ``digest`` stands for all that a run decides by; empty: there is nothing to read.

    ``holder``: the execution that has its lease, or had it last.
    """

    topic: str
    digest: str
    holder: str
    on_hold: bool
    paused: bool

    @classmethod
    def of(
        cls,
        topic: str,
        pointers: Mapping[str, str],
        items: Mapping[str, Mapping[str, Any]],
        *,
        paused: bool,
    ) -> Self:
        """What a look at all tables and items says of ``topic``."""
        raw, curated = pointers.get(f"raw_{topic}", ""), pointers.get(f"curated_{topic}", "")
        lease = items.get(f"{topic}#lease", {})
        checkpoints = [
            _text(items.get(f"{topic}#{layer}", {}), name)
            for layer in ("curated", "semantic")
            for name in ("source_token", "source_position")
        ]
        decided_by = [raw, curated, str(f"semantic_{topic}" in pointers), *checkpoints]
        nothing = all(not pointer or never_committed(pointer) for pointer in (raw, curated))
        digest = hashlib.sha256("\n".join(decided_by).encode()).hexdigest()[:20]
        return cls(
            topic, "" if nothing else digest, _text(lease, "execution_arn"), "on_hold" in lease, paused
        )


@dataclass(frozen=True)
class Memory:
    """What is remembered of a topic: an item, ``<topic>#dispatch``.

    ``starts``: how many runs were started; ``began``: the sight in which the last one was, ``execution`` its
    ARN; ``settled``: whether its ending is known. ``rest``: the sight that the topic is at rest in.
    ``failures``: runs that failed, one after the other; ``not_before``: when the next may be, in seconds
    since 1970; ``holder``: who had had the lease when the last one failed. ``started_at``: of the last one,
    likewise in seconds.
    """

    starts: int = 0
    began: str = ""
    execution: str = ""
    settled: bool = True
    rest: str = ""
    failures: int = 0
    not_before: int = 0
    holder: str = ""
    started_at: int = 0

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        """What an item says; what cannot be read of it counts as forgotten."""
        return cls(
            starts=_number(item, "starts"),
            began=_text(item, "began"),
            execution=_text(item, "execution"),
            settled=not _text(item, "execution") or item.get("settled") == {"BOOL": True},
            rest=_text(item, "rest"),
            failures=_number(item, "failures"),
            not_before=_number(item, "not_before"),
            holder=_text(item, "holder"),
            started_at=_number(item, "started_at"),
        )

    @property
    def turn(self) -> tuple[int, int]:
        """What topics are sorted by where there is not room for all: who has waited longest comes first."""
        return self.started_at, self.starts

    def as_item(self) -> dict[str, Any]:
        """The attributes of the item, beside its key."""
        item: dict[str, Any] = {}
        for name, value in asdict(self).items():
            match value:
                case bool():
                    item[name] = {"BOOL": value}
                case int():
                    item[name] = {"N": str(value)}
                case _:
                    item[name] = {"S": value}
        return item

    def settle(self, ending: Ending, sight: Sight, now: int) -> Self:
        """After the last run was looked at. A run that failed is repeated later and later."""
        if ending is Ending.RUNS:
            return self
        if ending is Ending.WELL:
            return replace(self, settled=True, rest=self.began, failures=0, not_before=0)
        if ending in (Ending.NOTHING, Ending.UNKNOWN):
            return replace(self, settled=True)
        doublings = min(self.failures, _MOST_DOUBLINGS)
        return replace(
            self,
            settled=True,
            failures=self.failures + 1,
            not_before=now + min(LONGEST_BACK_OFF_S, BACK_OFF_S * 2**doublings),
            holder=sight.holder,
        )

    def started(self, execution: str, sight: Sight, now: int) -> Self:
        """With a run that is about to be started."""
        return replace(
            self,
            starts=self.starts + 1,
            began=sight.digest,
            execution=execution,
            settled=False,
            started_at=now,
        )

    def last_name(self, topic: str) -> str:
        """Name of the last run."""
        return f"{topic}-{self.starts}-{self.began}"

    def next_name(self, sight: Sight) -> str:
        """Name of the next run: the same for all who see and remember the same."""
        return f"{sight.topic}-{self.starts + 1}-{sight.digest}"


class Verdict(StrEnum):
    """What is to be done for a topic."""

    START = "start"
    RESTS = "resting"
    PAUSED = "paused"
    ON_HOLD = "on hold"
    BACKS_OFF = "backing off"
    WORKS = "working"


def judge(sight: Sight, memory: Memory, now: int) -> Verdict:
    """Whether to start a run, by what is seen and remembered.

    Back-off ends early when somebody else has run the topic meanwhile (``lean-ops run``): another execution
    has had the lease since.
    """
    if not memory.settled:
        return Verdict.WORKS
    if not sight.digest or sight.digest == memory.rest:
        return Verdict.RESTS
    if sight.paused:
        return Verdict.PAUSED
    if sight.on_hold:
        return Verdict.ON_HOLD
    if memory.failures and now < memory.not_before and sight.holder == memory.holder:
        return Verdict.BACKS_OFF
    return Verdict.START


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    return value["S"] if isinstance(value, dict) and isinstance(value.get("S"), str) else ""


def _number(item: Mapping[str, Any], name: str) -> int:
    value = item.get(name)
    text = value.get("N", "") if isinstance(value, dict) else ""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else 0
