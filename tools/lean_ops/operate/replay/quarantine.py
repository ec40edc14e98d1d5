"""Quarantine: rows that broke the contract are judged again, under the contract as it is now.

The work is done by the function ``semantic`` (its module ``rejudging`` says how, docs/adr/0008 why), one
period of Quarantine a call. A call commits whole or not at all, and what it accepted is settled: a replay
that was interrupted is simply run again.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from common.lake.specifications import open_table
from common.runtime.errors import InvalidInput, TransientError
from lean_ops.environment.target import Target
from lean_ops.operate.replay.selection import Selection, Tally, Waiting


@dataclass
class Judged:
    """What waits in Quarantine, and what became of it. ``counts``: those of ``rejudging.Verdicts``, summed.

    ``tally``: what waited, by the rules that it broke then; ``still``: what is refused, by those that it
    breaks now.
    """

    tally: Tally = field(default_factory=Tally)
    counts: Counter[str] = field(default_factory=Counter)
    still: Counter[str] = field(default_factory=Counter)


_COUNTS = ("waiting", "accepted", "changed", "refused", "settled", "superseded")


def periods(target: Target, topic: str, selection: Selection) -> list[str]:
    """The periods in which Quarantine of ``topic`` may hold something selected; reads metadata alone.

    Raises TableMissing for a topic without a contract, which has no Quarantine.
    """
    table = open_table(target.catalog(), target.settings.table("quarantine", topic))
    bounds = [
        f"ingestion_ts {comparison} '{moment.isoformat()}'"
        for comparison, moment in ((">=", selection.since), ("<", selection.until))
        if moment is not None
    ]
    scan = table.scan(row_filter=" and ".join(bounds)) if bounds else table.scan()
    return sorted({str(task.file.partition[0]) for task in scan.plan_files()})


def judge(
    target: Target,
    topic: str,
    period: str,
    selection: Selection,
    judged: Judged,
    *,
    operation_id: str,
    dry_run: bool,
) -> None:
    """Have the selected rows of one period judged again, or only counted, and add the outcome to ``judged``.

    Raises InvalidInput where the function refused for good (a contract that cannot be read, say), and
    TransientError otherwise.
    """
    appeal = {
        "period": period,
        "reasons": sorted(selection.reasons),
        "since": selection.since.isoformat() if selection.since else None,
        "until": selection.until.isoformat() if selection.until else None,
        "ids": sorted(selection.ids),
        "dry_run": dry_run,
        "samples": judged.tally.samples_each,
    }
    answer = _invoke(target, {"topic": topic, "run_id": operation_id, "quarantine": appeal})
    judged.counts.update({name: answer[name] for name in _COUNTS})
    judged.still.update(answer["still"])
    tally = judged.tally
    for reason, count in answer["reasons"].items():
        tally.counts[reason, topic] += count
    if answer["oldest"]:
        oldest, newest = (datetime.fromisoformat(answer[name]) for name in ("oldest", "newest"))
        tally.oldest = min(tally.oldest or oldest, oldest)
        tally.newest = max(tally.newest or newest, newest)
    room = tally.samples_each - len(tally.samples)
    tally.samples += [_sample(sample, topic) for sample in answer["samples"][: max(room, 0)]]


def _sample(sample: dict[str, Any], topic: str) -> Waiting:
    return Waiting(
        reason=" ".join(sample["reasons"]),
        topic=topic,
        at=datetime.fromisoformat(sample["ingestion_ts"]),
        ids=(sample["message_id"], sample["idempotency_key"]),
    )


# Classes of errors that another try does not mend (common.runtime.errors).
_PERMANENT = frozenset({"ContractError", "InvalidInput", "MissingSetting", "TableMismatch", "TableMissing"})


def _invoke(target: Target, event: dict[str, Any]) -> dict[str, Any]:
    name = target.live("semantic")
    answer = target.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
    result: dict[str, Any] = json.loads(answer["Payload"].read())
    if "FunctionError" not in answer:
        return result
    kind, message = str(result.get("errorType")), str(result.get("errorMessage"))
    if kind in _PERMANENT:
        raise InvalidInput(
            f"function {name}: expected to judge quarantined rows again, found {kind}: {message}"
        )
    raise TransientError(
        f"function {name}: expected to judge quarantined rows again, found {kind}: {message}; what it had "
        "accepted is settled: run the same command again"
    )
