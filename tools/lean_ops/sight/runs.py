"""Runs: which ended how, and the path of one of them through the state machine, with times and sentences."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from lean_ops.environment.target import Target
from lean_ops.operate import pipeline, run_report
from lean_ops.operate.pipeline import BUSY, Outcome
from lean_ops.sight.parts import Publish, sentence

SHOWN: Final = 20
_VISITS: Final = 120
# What a run did is read from the summaries of its tables: of the newest ones.
_TOLD: Final = 8


@dataclass(frozen=True)
class Step:
    """One visit of a state. ``after_s``: since the run began; ``seconds``: None where it did not end."""

    state: str
    after_s: float
    seconds: float | None


@dataclass(frozen=True)
class Run:
    """One run. ``sentences`` say what it did; ``trouble``: why that, or its path, cannot be said."""

    id: str
    began: datetime
    outcome: Outcome
    steps: tuple[Step, ...] = ()
    left_out: int = 0
    sentences: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.outcome.status == "RUNNING"

    @property
    def failed(self) -> bool:
        """Whether it ended without having done its work."""
        return not self.running and not self.outcome.succeeded

    @property
    def seconds(self) -> float:
        """From its begin to the last that is known of it."""
        ends = (step.after_s + (step.seconds or 0) for step in self.steps)
        return max(self.outcome.seconds, *ends, 0.001)


@dataclass(frozen=True)
class Runs:
    """The last runs, the newest first; their paths are read one after the other."""

    runs: tuple[Run, ...]
    more: bool


class RunsReader:
    """Reads the last runs, and remembers those that have ended."""

    def __init__(self) -> None:
        self._ended: Final[dict[str, Run]] = {}

    def __call__(self, target: Target, publish: Publish) -> Runs:
        """The last runs of all topics."""
        listed = pipeline.recent(target, SHOWN + 1)
        found: list[Run] = []
        for number, (arn, began) in enumerate(listed[:SHOWN]):
            found.append(self._run(target, arn, began, told=number < _TOLD))
            publish(Runs(tuple(found), len(listed) > SHOWN))
        kept = {arn for arn, _ in listed}
        for arn in self._ended.keys() - kept:
            del self._ended[arn]
        return Runs(tuple(found), len(listed) > SHOWN)

    def _run(self, target: Target, arn: str, began: datetime, *, told: bool) -> Run:
        if arn in self._ended:
            return self._ended[arn]
        outcome = pipeline.outcome(target, arn)
        run = Run(arn.rpartition(":")[2], began, outcome)
        try:
            visits = pipeline.visits(target, arn)
            steps = tuple(
                Step(
                    visit.name, (visit.entered - began).total_seconds(), visit.seconds if visit.left else None
                )
                for visit in sorted(visits, key=lambda visit: visit.entered)
            )
            run = Run(run.id, began, outcome, steps[:_VISITS], max(0, len(steps) - _VISITS))
            if outcome.succeeded and steps[-1:] and steps[-1].state != BUSY:
                run = replace(run, sentences=_sentences(target, outcome.topic, arn) if told else ())
        except Exception as error:  # one run hides no other
            return replace(run, trouble=sentence(target, error))
        if not run.running:
            self._ended[arn] = run
        return run


def _sentences(target: Target, topic: str, arn: str) -> tuple[str, ...]:
    """What the run did; what is on its way now is no matter of the run."""
    done = run_report.report(target, topic, arn)
    return tuple(replace(done, in_queue=0, buffered_bytes=None).sentences())
