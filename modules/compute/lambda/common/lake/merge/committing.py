"""Committing what was planned, and planning again when the commit was lost.

A commit succeeds on the snapshot it was planned on or not at all, so a plan may be made as often as it takes.
What is known about a commit decides what happens next:

- another writer was first: its files are removed, and it is planned again on the new state;
- the answer was lost: the table says whether it happened, as every attempt knows its snapshot id;
- it can never succeed (a permission, a malformed request): the error goes to the caller.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.table import Table

from common.lake.files import NOTHING
from common.lake.merge.passing import may_pass
from common.lake.merge.snapshot import SnapshotCommit
from common.lake.merge.streams import remove_files
from common.runtime.errors import CommitConflict, CommitUnknown
from common.runtime.retrying import RetryPolicy

logger = logging.getLogger(__name__)

RETRY = RetryPolicy(attempts=6, base_s=0.2, longest_s=5.0)

T = TypeVar("T")


@dataclass(frozen=True)
class Planned(Generic[T]):
    """A result and the commit that makes it true; no commit where nothing changes. ``written``: its files."""

    result: T
    commit: SnapshotCommit | None = None
    written: Sequence[str] = ()


def commit_until_done(catalog: Catalog, table: Table, plan: Callable[[Table, int], Planned[T]]) -> T:
    """Plan on the table's state and commit, again on every new state, until one commit is known to be in.

    ``plan(table, number)`` makes the ``number``-th plan. An attempt whose outcome is unknown may still land
    after the next one was planned; then the next one fails, as both were planned on the same snapshot. So
    all attempts are looked for after every failure. Raises CommitConflict or CommitUnknown at the end.
    """
    name = ".".join(table.name())
    attempts: dict[int, T] = {}
    lost = NOTHING
    for number in range(1, RETRY.attempts + 1):
        planned = plan(table, number)
        if planned.commit is None:
            return planned.result
        attempts[planned.commit.snapshot_id] = planned.result
        planned.commit.lost = lost
        error = _try_commit(catalog, planned.commit)
        if error is None:
            return planned.result
        lost = planned.commit.traffic
        table = _reload(catalog, table, error)  # whose files count from nothing
        for snapshot_id, result in attempts.items():
            if table.metadata.snapshot_by_id(snapshot_id) is not None:
                return result
        if _lost_race(error):
            del attempts[planned.commit.snapshot_id]
            remove_files(table.io, [*planned.written, *planned.commit.written])
        logger.info("commit to %s: attempt %d of %d was lost: %s", name, number, RETRY.attempts, error)
        RETRY.wait(number - 1)
    kind = CommitUnknown if attempts else CommitConflict
    raise kind(
        f"table {name}: expected to commit within {RETRY.attempts} attempts, found other writers first or "
        f"the catalog failing every time (last: {error}); run it again when they are done"
    ) from error


def _try_commit(catalog: Catalog, commit: SnapshotCommit) -> Exception | None:
    """The error of a commit that another attempt may follow; what can never pass is raised."""
    try:
        commit.commit(catalog, commit.stage())
    except Exception as error:
        if _lost_race(error) or may_pass(error):
            return error
        raise
    return None


def _lost_race(error: Exception) -> bool:
    """Whether the catalog said that the table is no longer as planned, so that nothing was committed."""
    return isinstance(error, CommitFailedException | ValidationException)


def _reload(catalog: Catalog, table: Table, after: Exception) -> Table:
    try:
        return catalog.load_table(table.name())
    except Exception as error:
        if not may_pass(error):
            raise
        raise CommitUnknown(
            f"table {'.'.join(table.name())}: expected to see whether the commit happened, found the catalog "
            f"failing ({error}); run it again, it repeats nothing that was committed"
        ) from after
