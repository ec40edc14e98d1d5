"""Which engine runs a job: a function, or Spark where the backlog outgrows one (docs/adr/0029).

What is left to read is told by the summaries of snapshots, which the table's metadata holds: no manifest is
read for it. It is an upper bound: of a snapshot that was read in part it counts all.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from common.lake.checkpoints import MERGE_SEQ, SourceCheckpoint
from common.lake.history import lineage, said_by
from common.runtime.errors import InvalidInput
from common.runtime.settings import CheckpointsSettings

Engine = Literal["lambda", "spark"]
ENGINES: Final = ("auto", "lambda", "spark")
ON: Final = "on"
_ADDED: Final = ("added-records", "added-files-size")
_TOTAL: Final = ("total-records", "total-files-size")


@dataclass(frozen=True)
class Backlog:
    """What a layer has not read: rows, and bytes of the files that they are in."""

    rows: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, snapshots: Iterable[Snapshot], names: tuple[str, str] = _ADDED) -> "Backlog":
        """What these snapshots added."""
        said = [[int(said_by(snapshot).get(name, 0)) for name in names] for snapshot in snapshots]
        return cls(*map(sum, zip(*said, strict=True))) if said else cls()


def unread(raw: Table, since: SourceCheckpoint | None) -> Backlog:
    """What Curated has not read of RAW; all of it where the checkpoint is not in its history."""
    newer: list[Snapshot] = []
    for snapshot in lineage(raw):
        if since is not None and snapshot.snapshot_id == since.snapshot_id:
            if not since.full_scan:
                return Backlog.of([*newer, *([snapshot] if since.files else [])])
            break
        newer.append(snapshot)
    return _all(raw)


def unpublished(curated: Table, since: SourceCheckpoint | None) -> Backlog:
    """What Semantic has not read of Curated; all of it where it has read nothing."""
    if since is None:
        return _all(curated)
    merges = [s for s in lineage(curated) if int(said_by(s).get(MERGE_SEQ, 0)) > since.sequence]
    return Backlog.of(merges)


def may_be_spark(asked: str, settings: CheckpointsSettings) -> bool:
    """Whether the size of a backlog decides, and with it what a contract says of it."""
    return asked == "auto" and settings.spark == ON


def choose(
    asked: str, backlog: Backlog, settings: CheckpointsSettings, from_rows: int | None = None
) -> Engine:
    """The engine for a backlog, or the one that is ``asked`` for (``auto``: by the backlog).

    ``from_rows``: what the topic's contract says, in place of both thresholds of the environment.
    Raises InvalidInput for one that is not known, or Spark where the environment has none.
    """
    if asked not in ENGINES:
        raise InvalidInput(
            f"engine: expected one of {', '.join(ENGINES)}, found {asked!r}; start it again so"
        )
    if settings.spark != ON:
        if asked == "spark":
            raise InvalidInput(
                "engine: expected an environment with Spark, found none in this one; set spark = true and "
                "apply it (`lean-ops up --with-spark` locally), or run it on functions"
            )
        return "lambda"
    if asked == "auto":
        if from_rows is not None:
            return "spark" if backlog.rows >= from_rows else "lambda"
        large = backlog.rows >= settings.spark_from_rows or backlog.bytes >= settings.spark_from_bytes
        return "spark" if large else "lambda"
    return "spark" if asked == "spark" else "lambda"


def _all(table: Table) -> Backlog:
    current = table.current_snapshot()
    return Backlog.of([current], _TOTAL) if current is not None else Backlog()
