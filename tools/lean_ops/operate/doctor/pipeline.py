"""Checks of what flows: do runs end well, does what was accepted arrive, is most of it refused?"""

from collections.abc import Iterator
from typing import Final

from common.layers import quality as measured
from common.runtime.errors import TableMissing
from common.runtime.items import read_items
from lean_ops.accounts import observation
from lean_ops.accounts.arrival import in_raw
from lean_ops.accounts.ledger import Ledger
from lean_ops.environment.lake import TableUnreadable, open_whole
from lean_ops.environment.target import Target
from lean_ops.operate import leases, pipeline, run_report
from lean_ops.operate.doctor.findings import Finding, Severity
from lean_ops.operate.doctor.lake import MANIFESTS

_MEND: Final = "mend it, then `lean-ops run --topic {topic}`; docs/runbook.md, section pipeline-failed"
_FAILED: Final = frozenset({"FAILED", "TIMED_OUT"})
# A share of refused rows from which on it is no longer a matter of single rows.
_MOST: Final = 0.5
# Beyond its buffering interval: longer than a delivery takes.
_PATIENCE_S: Final = 60
# Executions that are looked at for the last one of every topic.
_EXECUTIONS: Final = 50


def runs(target: Target) -> Iterator[Finding]:
    """The last run of every topic did its work, also one that ended before it had the topic's lease."""
    newest = _newest_ended(target)
    for topic in target.topics:
        lease = leases.read(target, topic)
        last = newest.get(topic)
        if last is not None and last.arn != lease.holder and last.status in _FAILED:
            yield Finding(
                f"topic {topic}",
                f"its last run ended {last.status} before it had the lease: {last.error}: {last.cause}",
                _MEND.format(topic=topic),
            )
            continue
        if lease.status not in {*_FAILED, "ABORTED"}:
            continue
        ended = pipeline.outcome(target, lease.holder)
        when = f"{lease.ended:%Y-%m-%d %H:%M}" if lease.ended else "an unknown time"
        if lease.status == "ABORTED":
            yield Finding(
                f"topic {topic}",
                f"its last run was stopped at {when}: {ended.cause or 'no reason given'}",
                f"`lean-ops run --topic {topic}` takes it up again",
                Severity.NOTE,
            )
            continue
        yield Finding(
            f"topic {topic}",
            f"its last run ended {lease.status} at {when}: {ended.error}: {ended.cause}",
            _MEND.format(topic=topic),
        )


def _newest_ended(target: Target) -> dict[str, pipeline.Outcome]:
    """The execution of every topic that was begun last of those that have ended; as far as was looked at."""
    client = target.client("stepfunctions")
    listed = client.list_executions(stateMachineArn=target.state_machine_arn, maxResults=_EXECUTIONS)
    newest: dict[str, pipeline.Outcome] = {}
    for execution in sorted(listed["executions"], key=lambda one: one["startDate"], reverse=True):
        if execution["status"] == "RUNNING":
            continue
        found = pipeline.outcome(target, execution["executionArn"])
        newest.setdefault(found.topic, found)
        if newest.keys() >= set(target.topics):
            break
    return newest


def place(target: Target) -> Iterator[Finding]:
    """The disk of a local stack has room for what it accepts."""
    if wrong := target.disk_shortage():
        yield Finding("disk", wrong, "free some; then `lean-ops send --resume` and `lean-ops run` go on")


def delivery(target: Target) -> Iterator[Finding]:
    """What the queue accepted is in RAW, or on its way there."""
    waiting = observation.in_flight(target)
    if waiting:
        yield Finding(
            target.source_queue,
            f"{waiting:,} messages are on their way",
            "look again in a minute; if it does not fall, docs/runbook.md, section queue-age",
            Severity.NOTE,
        )
    backlogs = target.delivery_backlogs()
    if backlogs is None:
        return  # the alarms delivery-stalled and records-missing judge that there
    for name, backlog in backlogs.items():
        if backlog.failure:
            yield Finding(
                name,
                f"expected its records delivered, found {backlog.bytes:,} bytes that wait: {backlog.failure}",
                "mend what it says; the records are kept in its journal and tried again",
            )
        elif backlog.overdue_s > _PATIENCE_S:
            yield Finding(
                name,
                f"expected its records delivered once it had buffered them, found {backlog.bytes:,} "
                f"bytes that wait {backlog.overdue_s:,.0f} s longer",
                "see firehose.log in the stack's folder; `lean-ops down` and `lean-ops up` start it anew, "
                "which loses nothing",
            )
        elif backlog.bytes:
            yield Finding(
                name,
                f"{backlog.bytes:,} bytes of accepted records are on their way to RAW",
                "look again in a minute, or `lean-ops send --wait` waits until they are there",
                Severity.NOTE,
            )
    moving = waiting or any(backlog.bytes for backlog in backlogs.values())
    if target.ledger_folder is not None and not moving:
        yield from _lost(target, Ledger(target.ledger_folder))


def refused(target: Target) -> Iterator[Finding]:
    """No contract refuses most of the rows of its topic."""
    catalog = target.catalog()
    for topic in target.topics:
        try:
            semantic = open_whole(catalog, target.settings.table("semantic", topic), newest=MANIFESTS)
            quarantine = open_whole(catalog, target.settings.table("quarantine", topic), newest=MANIFESTS)
        except (TableMissing, TableUnreadable):
            continue  # another check says so
        last = run_report.last_run(semantic, quarantine)
        rows, rules = run_report.refused_by(quarantine, last) if last else (0, {})
        good = run_report.merged_by(semantic, last).rows_read if last else 0
        if not rows or run_report.still_refused(quarantine, semantic, last) == 0:
            continue
        named = ", ".join(f"{rule} {count:,}" for rule, count in rules.items())
        severity = Severity.PROBLEM if rows / (rows + good) >= _MOST else Severity.NOTE
        look = f'lean-ops query "SELECT reasons, row_json FROM quarantine_{topic} LIMIT 5"'  # noqa: S608 - to be read by people
        yield Finding(
            f"contract of {topic}",
            f"the last run that reached Semantic refused {rows:,} of {rows + good:,} rows, by rule: {named}",
            f"look: `{look}`; mend the contract or the readings, then `lean-ops replay quarantine --topic "
            f"{topic}`",
            severity,
        )


def quality(target: Target) -> Iterator[Finding]:
    """Rules of contracts about all rows together hold, as they were measured last."""
    keys = {topic: measured.item_of(topic) for topic in target.topics}
    items = read_items(target.client("dynamodb"), target.checkpoints_table, keys.values())
    for topic, key in keys.items():
        found = measured.Measurement.of(items.get(key, {}))
        for one in found.rules if found else ():
            if one.holds:
                continue
            what = f"found {one.found}" if one.found else f"found nobody who measured it: {one.why}"
            rings = one.broken and one.severity != "warning"
            yield Finding(
                f"contract of {topic}",
                f"rule {one.name!r}: expected that {one.expected}, {what}",
                f"`lean-ops contract test --topic {topic}` measures it now; mend readings or contract",
                Severity.PROBLEM if rings else Severity.NOTE,
            )


def _lost(target: Target, ledger: Ledger) -> Iterator[Finding]:
    """Good messages that were sent from here and are nowhere any more."""
    missing = sent = 0
    for run in ledger.runs():
        for topic, ids in ledger.sent_ids(run).items():
            if topic in target.topics:
                sent += len(ids)
                missing += len(ids - in_raw(target, topic, ids))
    if missing:
        yield Finding(
            "ledger",
            f"{missing:,} of {sent:,} different good messages were accepted and are not in RAW or on the way",
            "if they are no dead letters (`lean-ops dlq show`) and no failed deliveries (`lean-ops replay "
            "delivery`), the stack has lost them: send them again with `lean-ops send --resume` (and --file "
            "with its options for readings of a file)",
        )
