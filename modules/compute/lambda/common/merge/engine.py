"""plan → locate → decide → write → commit: one atomic merge into one table.

Everything is planned on one snapshot, and the commit succeeds on that snapshot or not at all. When another
writer was first, the whole merge is planned again on the new state.
"""

import logging
import random
import time
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, ValidationException

from common.checkpoints import SourceCheckpoint
from common.deduplication import MergeRule
from common.errors import CommitConflict, CommitUnknown
from common.merge.attempt import Attempt, Request
from common.merge.decide import History
from common.merge.outcome import MergeOutcome
from common.merge.passing import may_pass
from common.merge.snapshot import SnapshotCommit
from common.merge.source import stage, unknown_columns
from common.merge.streams import concurrency, remove_files
from common.merge.target import Target

logger = logging.getLogger(__name__)

ATTEMPTS = 6
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 5.0


def merge(
    catalog: Catalog,
    identifier: str,
    source: pa.RecordBatchReader,
    *,
    rule: MergeRule,
    checkpoint: SourceCheckpoint | None,
    run_id: str,
    evolve: bool,
    memory_budget_mb: int,
    history: History | None = None,
    extra_summary: Mapping[str, str] | None = None,
) -> MergeOutcome:
    """Merge the rows of ``source`` into table ``identifier`` in one commit, or in none when nothing changes.

    ``source``: the table's columns (missing ones are null) plus, with ``evolve``, new text columns.
    ``checkpoint``: what of the source this commit consumes; it travels in the snapshot summary with
    ``run_id`` and ``extra_summary``. ``history``: see ``common.merge.decide.History``; without it, ties
    between messages are decided by what batch and table know. ``memory_budget_mb``: a larger source goes to
    disk.

    Raises TableMissing, TableMismatch and InvalidInput before anything is written; CommitConflict when other
    writers kept winning, CommitUnknown when the catalog did not say how the commit ended. Either way the
    table is whole, and running the same merge again is safe.
    """
    target = Target.open(catalog, identifier, rule)
    unknown_columns(source.schema, target, evolve=evolve)
    with (
        stage(source, target, rule, memory_budget_mb) as staged,
        ThreadPoolExecutor(concurrency(target.table.location()), thread_name_prefix="merge") as pool,
    ):
        request = Request(staged, rule, run_id, evolve, history, checkpoint, extra_summary or {})
        return _attempt_until_done(catalog, identifier, request, target, pool)


def _attempt_until_done(
    catalog: Catalog, identifier: str, request: Request, target: Target, pool: Executor
) -> MergeOutcome:
    """Plan and commit, again on every new state of the table, until the commit is known to have happened.

    An attempt whose outcome is unknown may still land after the next one was planned; then the next one
    fails, as both were planned on the same snapshot. So all attempts are looked for after every failure.
    """
    attempts: dict[int, MergeOutcome] = {}
    lost: Exception | None = None
    unknown = False
    for number in range(1, ATTEMPTS + 1):
        attempt = Attempt(target, request, pool)
        change = attempt.run()
        if change is None:
            return replace(attempt.outcome, attempts=number)
        commit = SnapshotCommit(target.table, attempt.live, change)
        attempts[commit.snapshot_id] = replace(
            attempt.outcome, snapshot_id=commit.snapshot_id, attempts=number
        )
        try:
            commit.commit(catalog, commit.stage())
            return attempts[commit.snapshot_id]
        except Exception as error:
            if not _lost_race(error) and not may_pass(error):
                raise
            lost, unknown = error, unknown or not _lost_race(error)
        target = _reload(catalog, identifier, request.rule, lost)
        for snapshot_id, outcome in attempts.items():
            if target.table.metadata.snapshot_by_id(snapshot_id) is not None:
                return outcome
        if _lost_race(lost):
            remove_files(target.table.io, [*attempt.written, *commit.written])
        logger.info("merge into %s: attempt %d lost the commit: %s", identifier, number, lost)
        time.sleep(_wait(number))
    kind = CommitUnknown if unknown else CommitConflict
    raise kind(
        f"merge into {identifier}: expected to commit within {ATTEMPTS} attempts, found other writers first "
        f"or the catalog failing every time (last: {lost}); run the merge again when they are done"
    ) from lost


def _lost_race(error: Exception) -> bool:
    """Whether the catalog said that the table is no longer as planned, so nothing was committed."""
    return isinstance(error, CommitFailedException | ValidationException)


def _reload(catalog: Catalog, identifier: str, rule: MergeRule, after: Exception) -> Target:
    try:
        return Target.open(catalog, identifier, rule)
    except Exception as error:
        if not may_pass(error):
            raise
        raise CommitUnknown(
            f"merge into {identifier}: expected to see whether the commit happened, found the catalog "
            f"failing ({error}); run the merge again, it repeats nothing that was committed"
        ) from after


def _wait(number: int) -> float:
    """Seconds before the next attempt: exponential, with full jitter so that writers drift apart."""
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (number - 1))
    return random.uniform(0, longest)  # noqa: S311 - spreads load, guards nothing
