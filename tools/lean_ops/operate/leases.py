"""The lease of a topic as operators see it, and how they keep the pipeline away from a topic.

    with leases.exclusively(target, "events", entry, "rollback of curated to 17", wait_s=60) as held:
        ...                                # no run of the topic is in progress, and none begins
        held.changing()                    # and the hold is still this operation's
        ...                                # from here on, a failure leaves the hold to the repetition

While somebody holds the topic (``lean_ops.operate.holds``), every run ends in ``AnotherRunActive``. An
execution that was aborted or timed out may have left its function running; such a function could still
commit, so it counts as in progress until no function can be alive any more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from common.layers.lease import described, same_machine
from common.runtime import outside
from common.runtime.errors import InvalidInput
from lean_ops.environment import audit
from lean_ops.environment.repository import function_catalogue
from lean_ops.environment.target import Target
from lean_ops.operate import jobs
from lean_ops.operate.holds import Held, Hold, Place, holds_of
from lean_ops.operate.pipeline import topic_of

# States of an execution that may leave an invocation of a job behind.
_LEAVES_FUNCTION_RUNNING: Final = frozenset({"ABORTED", "TIMED_OUT"})
_FORGOTTEN: Final = "FORGOTTEN"  # Step Functions forgets executions 90 days after they ended


@dataclass(frozen=True)
class Lease:
    """Who works on a topic. ``holder``: ARN of the execution that had the lease last, empty before any.

    ``status``: Step Functions' word for it; ``ended``: when it ended. ``holds``: who keeps runs away from the
    topic, the oldest first. ``damage``: one sentence about a holder that cannot be read, or empty.
    """

    topic: str
    holder: str = ""
    status: str = ""
    ended: datetime | None = None
    holds: tuple[Hold, ...] = ()
    damage: str = ""

    @property
    def hold(self) -> str:
        """Who keeps runs away and why, in one phrase; empty when nobody does."""
        return "; ".join(hold.describe() for hold in self.holds)

    @property
    def way_out(self) -> str:
        """How the holds end, in one phrase."""
        return "; ".join(hold.way_out(self.topic) for hold in self.holds)

    def in_progress(self, now: datetime, function_lifetime: timedelta) -> bool:
        """Whether the holder, or a function that it left behind, may still commit; jobs: ``jobs.at_work``."""
        if self.status == "RUNNING":
            return True
        left_behind = self.status in _LEAVES_FUNCTION_RUNNING and self.ended is not None
        return left_behind and self.ended is not None and now - self.ended < function_lifetime


def read(target: Target, topic: str) -> Lease:
    """The lease of ``topic``; where its holder cannot be read, of an execution that runs for it, if any."""
    item = Place(target, topic).item()
    holder, damage = str(item.get("execution_arn", {}).get("S", "")), ""
    if "execution_arn" in item and not same_machine(holder, f"{_executions(target)}:"):
        damage = (
            f"item {topic}#lease of {target.checkpoints_table}: expected execution_arn to name an execution "
            f"of {target.state_machine}, found something else; the next run of the topic writes it anew"
        )
        holder = _running(target, topic)
    status, ended = _execution(target, holder) if holder else ("", None)
    return Lease(topic, holder, status, ended, holds_of(item), damage)


def stop(target: Target, topic: str, reason: str) -> str:
    """Stop the execution that works on ``topic``; gives its ARN, empty where none runs.

    A function that it called runs on to its end and may still commit, which is harmless to the next run.
    """
    lease = read(target, topic)
    if lease.status != "RUNNING":
        return ""
    target.client("stepfunctions").stop_execution(
        executionArn=lease.holder, error="StoppedByOperator", cause=reason
    )
    return lease.holder


@contextmanager
def exclusively(
    target: Target, topic: str, entry: audit.Entry, work: str, *, wait_s: float, keep_hold: bool = False
) -> Iterator[Held]:
    """Keep the pipeline and other operations away from ``topic`` meanwhile, with no run in progress.

    ``work`` says what the operation does, and to what: a repetition of the same takes up what was killed.
    ``keep_hold``: leave the topic on hold, in the name of the person, when all went well. What is decided by
    is to be looked up inside. Raises InvalidInput when an operation or a run is still at work after
    ``wait_s`` seconds.
    """
    with Place(target, topic).worked_on(entry, work, wait_s=wait_s) as held:
        _await_quiet(target, topic, wait_s)
        held.check()
        yield held
        if keep_hold:
            held.leave_to_person()


def function_lifetime() -> timedelta:
    """How long a function may outlive the execution that called it: the longest timeout of all."""
    return timedelta(seconds=max(entry.timeout_s for entry in function_catalogue()))


def _await_quiet(target: Target, topic: str, wait_s: float) -> None:
    deadline = outside.monotonic() + wait_s
    lifetime = function_lifetime()
    while (lease := read(target, topic)).in_progress(outside.now(), lifetime) or jobs.at_work(target, topic):
        if outside.monotonic() >= deadline:
            raise InvalidInput(
                f"topic {topic}: expected no run in progress, found execution {lease.holder} {lease.status}"
                + (
                    f" since {lease.ended:%H:%M:%S}, whose function or job may still run"
                    if lease.ended
                    else ""
                )
                + "; try again when it is over, or wait for it with --wait SECONDS"
            )
        outside.sleep(target.look_s)


def _executions(target: Target) -> str:
    """ARN of an execution of the pipeline without the execution's name."""
    return target.state_machine_arn.replace(":stateMachine:", ":execution:")


def _running(target: Target, topic: str) -> str:
    """ARN of an execution that works on ``topic`` now; empty where none does."""
    client = target.client("stepfunctions")
    listed = client.list_executions(stateMachineArn=target.state_machine_arn, statusFilter="RUNNING")
    for execution in listed["executions"]:
        arn = execution["executionArn"]
        if (found := described(client, arn)) and topic_of(found.get("input")) == topic:
            return arn
    return ""


def _execution(target: Target, arn: str) -> tuple[str, datetime | None]:
    found = described(target.client("stepfunctions"), arn)
    return (found["status"], found.get("stopDate")) if found else (_FORGOTTEN, None)
