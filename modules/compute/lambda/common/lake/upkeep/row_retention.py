"""Row retention: data files whose rows are all past leave in one commit that writes no data (docs/adr/0023).

A row is as old as its ``publish_time``. Tables are partitioned by the day of it, so that a day which is past
goes as a whole; where they are not (a topic of low volume, Quarantine), a file goes when its youngest row is
past. Statistics say how young that is, and nothing is read but metadata. The delete files of what goes go
along, the checkpoint of the last merge is carried on, and the table is closed up to there (``closing``).

A commit succeeds on the snapshot it was planned on or not at all; so does a merge beside it, which is then
planned again, on a table without these files that is closed up to there.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from pyiceberg.catalog import Catalog
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation
from pyiceberg.transforms import DayTransform
from pyiceberg.types import TimestamptzType

from common.lake.checkpoints import RUN_ID
from common.lake.closing import CLOSED_BEFORE, PUBLISHED, closed_before
from common.lake.history import carried_on
from common.lake.merge.committing import Planned, commit_until_done
from common.lake.merge.livefiles import LiveFile, live_files
from common.lake.merge.snapshot import Change, SnapshotCommit
from common.lake.merge.streams import concurrency
from common.lake.specifications import open_table

_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True)
class RowRetention:
    """Which rows of a table are past: those published before the last ``days`` days before ``now``'s, in UTC.

    ``read_upto``: files of later sequence numbers stay although they are past, since some reader has not
    read them yet; None: nobody is waited for.
    """

    days: int
    now: datetime
    read_upto: int | None = None

    @property
    def before(self) -> datetime:
        """Rows published before it are past: the beginning of a day."""
        return self.today - self.days * _DAY

    @property
    def today(self) -> datetime:
        """The beginning of the day."""
        return datetime.combine(self.now.astimezone(UTC).date(), time(tzinfo=UTC))


@dataclass(frozen=True)
class Past:
    """What of a table is past: whole data files. ``bytes`` and ``rows`` as their metadata say.

    ``held_back_rows``: are past too, and stay until they have been read. ``next_at_s``: when more will be
    past by the day alone, in seconds since 1970; 0 where no row is left to be.
    """

    partitions: int = 0
    files: int = 0
    rows: int = 0
    bytes: int = 0
    held_back_rows: int = 0
    next_at_s: int = 0


def foresee_past(table: Table, retention: RowRetention) -> Past:
    """What ``drop_past`` would drop; reads manifests and nothing else."""
    with ThreadPoolExecutor(concurrency(table.location())) as pool:
        return _past(table, live_files(table, pool).files, retention)[0]


def drop_past(catalog: Catalog, identifier: str, retention: RowRetention, *, run_id: str) -> Past:
    """Drop what is past, in one commit, or none where nothing is.

    Raises TableMissing, TableMismatch, and CommitConflict or CommitUnknown where other writers kept winning:
    then nothing was dropped, and the next upkeep does it.
    """

    def plan(table: Table, _number: int) -> Planned[Past]:
        with ThreadPoolExecutor(concurrency(table.location())) as pool:
            live = live_files(table, pool)
        found, files = _past(table, live.files, retention)
        if not files:
            return Planned(found)
        removed = frozenset(file.path for file in files)
        # What is closed stays closed, also where the retention is longer by now.
        closed = max(filter(None, (closed_before(table), retention.before)))
        change = Change(
            operation=Operation.DELETE,
            added=(),
            removed=removed | (live.delete_paths - live.needed_deletes(removed)),
            properties={CLOSED_BEFORE: closed.isoformat()},
            summary={**carried_on(table), RUN_ID: run_id, CLOSED_BEFORE: closed.isoformat()},
        )
        return Planned(found, SnapshotCommit(table, live, change))

    return commit_until_done(catalog, open_table(catalog, identifier), plan)


def _past(table: Table, files: Iterable[LiveFile], retention: RowRetention) -> tuple[Past, list[LiveFile]]:
    going: list[LiveFile] = []
    held = 0
    left: list[datetime] = []
    for file in files:
        end = _end(table, file.file)
        if end is None:
            continue
        if end > retention.before:
            left.append(end + retention.days * _DAY)
        elif _is_read(file, retention.read_upto):
            going.append(file)
        else:
            held += file.file.record_count
            left.append(retention.today + _DAY)
    past = Past(
        len({file.file.partition for file in going}),
        len(going),
        sum(file.file.record_count for file in going),
        sum(file.file.file_size_in_bytes for file in going),
        held,
        int(min(left).timestamp()) if left else 0,
    )
    return past, going


def _end(table: Table, file: DataFile) -> datetime | None:
    """The beginning of the day after a file's youngest row; None where that is not known, or it has none."""
    field = table.schema().find_field(PUBLISHED)
    if (file.null_value_counts or {}).get(field.field_id, 0):
        return None
    bound = (file.upper_bounds or {}).get(field.field_id)
    if bound is not None:
        youngest = _EPOCH + int(from_bytes(TimestamptzType(), bound)) * _MICROSECOND
        return datetime.combine(youngest.date(), time(tzinfo=UTC)) + _DAY
    for place, part in enumerate(table.spec().fields):
        if part.source_id == field.field_id and isinstance(part.transform, DayTransform):
            day = file.partition[place]
            return None if day is None else _EPOCH + (int(day) + 1) * _DAY
    return None


def _is_read(file: LiveFile, upto: int | None) -> bool:
    return upto is None or (file.entry.sequence_number or 0) <= upto
