"""Reconciling a topic: is every event of RAW where it must be, once, and is nothing else there?

It believes nobody: no count of a job, of a metric or of a commit is looked at, rows are read by pyiceberg's
own scans and not by the readers of the jobs, and the newest version of a key is found by sorting. Of the
pipeline it takes only how far each layer says that it has read; what came after that is waiting.

Of events that were received within a span of time, hour by hour:

- Curated has one row of every key, its newest version (the greatest ``publish_time``; of equal ones the one
  received later, then the greater ``message_id``; of copies the one received first counts);
- that row of Curated is in Semantic, once, or in Quarantine, whatever stands in for it; a deleted key is not
  in Semantic;
- what Curated and Semantic have of that span, RAW has.

Nobody is blamed for events that a layer has not read yet, that were published before the retention of its
rows, that were erased, or that were set aside as dead letters. What it cannot see: an event that never came
into RAW (``observation.arrival`` counts those), and whether a refused row deserved it.

The span is gone through in parts of about ``EVENTS_AT_ONCE`` events, by the second of reception: four columns
of a part's events are held, and those of the rows of their keys; all other rows stream by.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, GreaterThanOrEqual, LessThan
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.manifest import ManifestContent
from pyiceberg.table import FileScanTask, Table

from common.lake.checkpoints import MERGE_SEQ_COLUMN, SourceCheckpoint
from common.lake.closing import closed_before
from common.lake.history import lineage
from common.lake.progress import checkpoint_of
from common.lake.specifications import open_table
from common.layers.erased import NOTHING_ERASED, Erased
from common.payload.flattening import DELETED
from common.runtime.settings import LakeSettings

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient

EVENTS_AT_ONCE: Final = 1_000_000
_SAMPLES: Final = 5
_KEY, _MESSAGE, _PUBLISHED, _RECEIVED = "idempotency_key", "message_id", "publish_time", "ingestion_ts"
_VERSION: Final = [_KEY, _MESSAGE, _PUBLISHED]
"""What copies have in common: they are one event."""
_EVENT: Final = (*_VERSION, _RECEIVED)
_SECOND_US: Final = 1_000_000
_HOUR_US: Final = 3600 * _SECOND_US
_NEVER: Final = -(2**63)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# A look-up makes a hash table of all keys anew: not for every batch.
_LOOKED_UP_AT_ONCE: Final = 500_000

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


class Fault(StrEnum):
    """What is wrong with the rows that a layer has of a key."""

    MISSING = "missing"
    """It has none."""
    OUTDATED = "outdated"
    """It has another version than the one that it must have."""
    DOUBLED = "doubled"
    """It has more than one."""
    UNSENT = "unsent"
    """It has one that is no event of RAW."""
    UNDELETED = "undeleted"
    """It has one although the key is deleted."""


@dataclass
class Hour:
    """What was found of events that were received within one hour.

    ``events``: different ones of a part of the span; ``copies``: rows of RAW beyond these. ``waiting``:
    events that Curated has not read, ``unpublished``: rows of Curated that Semantic has not; ``refused``:
    those in Quarantine; ``set_aside``: events among the dead letters. Where a newer version of a key has
    overtaken an event, nobody asks whether it waits. ``faults``: keys by layer and fault (one that is wrong
    in several parts of the span counts in each); ``samples``: ids of some of their events.
    """

    events: int = 0
    copies: int = 0
    waiting: int = 0
    unpublished: int = 0
    refused: int = 0
    set_aside: int = 0
    faults: Counter[tuple[str, Fault]] = field(default_factory=Counter)
    samples: dict[tuple[str, Fault], list[str]] = field(default_factory=dict)

    def add(self, other: "Hour") -> None:
        """Add what was found of another hour."""
        for count in COUNTS:
            setattr(self, count, getattr(self, count) + getattr(other, count))
        self.faults += other.faults
        for where, ids in other.samples.items():
            known = self.samples.setdefault(where, [])
            known += ids[: _SAMPLES - len(known)]


COUNTS: Final = ("events", "copies", "waiting", "unpublished", "refused", "set_aside")
"""The names of what an ``Hour`` counts beside faults."""


@dataclass
class Reconciled:
    """A topic's events from ``since`` on and before ``until``; ``hours`` by their begin, empty ones left out.

    ``open_since``: when the first event was received that waits, or that a fault is about; None: there is
    none, and nothing before ``until`` need be looked at again. ``complete``: nobody stopped it before.
    """

    topic: str
    since: datetime
    until: datetime
    hours: dict[datetime, Hour] = field(default_factory=dict)
    open_since: datetime | None = None
    complete: bool = True

    @property
    def faults(self) -> Counter[tuple[str, Fault]]:
        """Keys by layer and fault."""
        return sum((hour.faults for hour in self.hours.values()), Counter[tuple[str, Fault]]())

    def total(self, count: str) -> int:
        """The sum of one count of all hours, by its name in ``Hour``."""
        return sum(int(getattr(hour, count)) for hour in self.hours.values())


def reconcile(
    topic: str,
    since: datetime | None,
    until: datetime | None,
    *,
    settings: LakeSettings,
    catalog: Catalog,
    dynamodb: "DynamoDBClient",
    contract: bool,
    set_aside: Callable[[datetime], Iterable[str]],
    erased: Erased = NOTHING_ERASED,
    at_once: int = EVENTS_AT_ONCE,
    go_on: Callable[[], bool] = lambda: True,
    told: Callable[[int, int], None] = lambda _done, _all: None,
) -> Reconciled:
    """Reconcile the events received from ``since`` on and before ``until`` (None: whatever there is).

    ``contract``: whether the topic has a Semantic table. ``set_aside`` gives the message ids of the dead
    letters that are copies of rows of RAW received since then; it is asked once, and only where something is
    missing. ``go_on``
    is asked before every part; where it says no, the answer ends there (``until``). ``told``: so many parts
    of so many are done. Nothing is changed. Raises the errors of ``open_table``, and what reading raises.
    """
    # Against the flow: what one of them has, those that are opened later must know.
    layers = ["semantic", "quarantine"] if contract else []
    tables: dict[str, Table] = {}
    read: dict[str, SourceCheckpoint | None] = {}
    for layer in (*layers, "curated", "raw"):
        tables[layer] = open_table(catalog, settings.table(layer, topic))
        if layer in ("semantic", "curated"):
            entry = checkpoint_of(tables[layer], layer, topic, settings, dynamodb)
            read[layer] = entry.checkpoint if entry else None
    edges = _edges(tables["raw"], since, until, at_once)
    start = since or _moment(edges[0] if edges else 0)
    found = Reconciled(topic, start, until or max(start, _moment(edges[-1] if edges else 0)))
    work = _Work(tables, read, erased, set_aside, found)
    parts = list(pairwise(edges))
    for number, (first, end) in enumerate(parts):
        if not go_on():
            found.until, found.complete = _moment(first), False
            break
        work.reconcile_part(first, end)
        told(number + 1, len(parts))
    return found


@dataclass
class _Work:
    """Part after part of a span. Rows here are as ``_rows`` gives them."""

    tables: dict[str, Table]
    read: dict[str, SourceCheckpoint | None]
    erased: Erased
    letters: Callable[[datetime], Iterable[str]]
    found: Reconciled
    aside: "pa.Array[Any] | None" = None

    def reconcile_part(self, first: int, end: int) -> None:
        """Reconcile what was received in these microseconds, ``end`` excluded."""
        copies = _together(_rows(self.tables["raw"], _EVENT, _within(first, end), erased=self.erased), _EVENT)
        events = _first_copies(copies)
        self._count("events", events)
        self._count("copies", copies)
        self._count("copies", events, -1)
        newest = _newest(events)
        part = _Part(first, end, events)
        current, _ = self._of_keys("curated", newest, part, (DELETED, MERGE_SEQ_COLUMN))
        behind = self._wrong(newest, current, as_read=False)
        self._judge_curated(events, behind, current)
        if "semantic" in self.tables:
            # Of a key that is behind in Curated, which may have been rolled back, nothing is to be said yet.
            there = _places(current, behind[_KEY].combine_chunks()) >= 0
            self._judge_semantic(current.filter(_mask(~there)), part)

    def _of_keys(
        self, layer: str, wanted: pa.Table, part: "_Part", more: tuple[str, ...] = ()
    ) -> tuple[pa.Table, Numbers]:
        """One row of each key of ``wanted``, with its ``place`` there, and how many the layer has of each.

        All rows pass here: those received in the part are looked for among its events.
        """
        keys = wanted[_KEY].combine_chunks()
        retained = _closed(self.tables["raw"])
        kept: list[pa.Table] = []
        for rows in _rows(self.tables[layer], (*_EVENT, *more)):
            of_part = rows.filter(_mask(part.received(rows) & (_int(rows[_PUBLISHED]) >= retained)))
            self._fault(layer, Fault.UNSENT, of_part.filter(_mask(~_among(of_part, part.events))))
            place = _places(rows, keys)
            found = rows.append_column("place", pa.array(place))
            kept.append(found.filter(_mask(place >= 0)))
        found = _together(kept, (*_EVENT, *more, "place"))
        places = _int(found["place"])
        how_many = np.bincount(places, minlength=len(keys))
        self._fault(layer, Fault.DOUBLED, wanted.filter(_mask(how_many > 1)))
        return _take(found, np.unique(places, return_index=True)[1]), how_many

    def _judge_curated(self, events: pa.Table, wrong: pa.Table, current: pa.Table) -> None:
        """Each excuse takes events away; what is wrong without them all is a fault."""
        for excused in (self._unread, self._past, self._set_aside):
            if not wrong.num_rows:
                return
            events = events.filter(_mask(_places(events, wrong[_KEY].combine_chunks()) >= 0))
            events = events.filter(_mask(~excused(events)))
            wrong = self._wrong(_newest(events), current, as_read=True)
        there = _places(wrong, current[_KEY].combine_chunks()) >= 0
        self._fault("curated", Fault.MISSING, wrong.filter(_mask(~there)))
        self._fault("curated", Fault.OUTDATED, wrong.filter(_mask(there)))

    def _wrong(self, newest: pa.Table, current: pa.Table, *, as_read: bool) -> pa.Table:
        """The newest events of keys of which Curated has no row, or an older one.

        ``as_read``: ties are decided by what Curated has read, not by all that there is.
        """
        place = _places(newest, current[_KEY].combine_chunks())
        there = place >= 0
        if not current.num_rows:
            return newest
        has = _take(current, np.where(there, place, 0))
        published, expected = _int(has[_PUBLISHED]), _int(newest[_PUBLISHED])
        other = ~_flags(pc.equal(has[_MESSAGE], newest[_MESSAGE]))
        wrong = ~there | (published < expected)
        tied = np.flatnonzero(there & (published == expected) & other)
        if len(tied):
            won = self._winners_of_ties(_take(newest, tied), as_read=as_read)
            wrong[tied] = ~_among(_take(has, tied), won)
        return newest.filter(_mask(wrong))

    def _winners_of_ties(self, tied: pa.Table, *, as_read: bool) -> pa.Table:
        """The winning event of each of these keys at its time, of whatever time the copies were received."""
        published = _int(tied[_PUBLISHED])
        times = _between(_PUBLISHED, int(published.min()), int(published.max()) + 1)
        rows = self._read_rows(times) if as_read else _rows(self.tables["raw"], _EVENT, times, self.erased)
        of_keys = [found.filter(_mask(_among(found, tied, [_KEY, _PUBLISHED]))) for found in rows]
        events = _first_copies(_together(of_keys, _EVENT))
        if as_read and self.aside is not None and events.num_rows:
            events = events.filter(_mask(~self._is_set_aside(events)))
        return _newest(events)

    def _unread(self, events: pa.Table) -> Flags:
        """Events that Curated has not read yet."""
        received = _int(events[_RECEIVED])
        times = _between(_RECEIVED, int(received.min()), int(received.max()) + 1)
        unread = ~_among(events, _together(self._read_rows(times), _EVENT))
        waiting = events.filter(_mask(unread))
        self._count("waiting", waiting)
        self._note_open(waiting)
        return unread

    def _past(self, events: pa.Table) -> Flags:
        return _int(events[_PUBLISHED]) < _closed(self.tables["curated"])

    def _set_aside(self, events: pa.Table) -> Flags:
        aside = self._is_set_aside(events)
        self._count("set_aside", events.filter(_mask(aside)))
        return aside

    def _is_set_aside(self, events: pa.Table) -> Flags:
        if self.aside is None:  # parts come in the order of reception: later ones need no earlier letters
            since = _moment(int(_int(events[_RECEIVED]).min()))
            self.aside = pa.array(sorted(set(self.letters(since))), pa.string())
        return _flags(pc.is_in(events[_MESSAGE], value_set=self.aside))

    def _read_rows(self, times: BooleanExpression) -> Iterator[pa.Table]:
        """Rows of RAW that Curated has read for certain.

        They are those of the newest snapshot that it read to its end; where RAW has forgotten that one, those
        of files that are not younger. None, while it reads all of RAW anew: nobody knows how far that is.
        """
        read = self.read["curated"]
        if read is None or read.full_scan:
            return iter(())
        raw, bound = self.tables["raw"], _whole(read)
        for snapshot in lineage(raw):
            if (snapshot.sequence_number or 0) <= bound:
                return _rows(raw, _EVENT, times, self.erased, snapshot_id=snapshot.snapshot_id)
        return _rows(raw, _EVENT, times, self.erased, not_younger=bound)

    def _judge_semantic(self, current: pa.Table, part: "_Part") -> None:
        # A version of another part is judged there; one of none is unsent.
        current = current.filter(_mask(part.received(current) & _among(current, part.events)))
        checkpoint = self.read["semantic"]
        unpublished = _int(current[MERGE_SEQ_COLUMN]) > (checkpoint.sequence if checkpoint else _NEVER)
        self._count("unpublished", current.filter(_mask(unpublished)))
        self._note_open(current.filter(_mask(unpublished)))
        retained = _closed(self.tables["semantic"])
        current = current.filter(_mask(~unpublished & (_int(current[_PUBLISHED]) >= retained)))
        published, how_many = self._of_keys("semantic", current, part)
        there = how_many > 0
        deleted = _flags(pc.fill_null(current[DELETED], pa.scalar(False)))  # noqa: FBT003
        self._fault("semantic", Fault.UNDELETED, current.filter(_mask(deleted & there)))
        open_ = ~deleted & ~_among(current, published)
        refused = np.zeros(len(open_), bool)
        refused[open_] = self._is_refused(current.filter(_mask(open_)))
        self._count("refused", current.filter(_mask(refused)))
        self._fault("semantic", Fault.MISSING, current.filter(_mask(open_ & ~refused & ~there)))
        self._fault("semantic", Fault.OUTDATED, current.filter(_mask(open_ & ~refused & there)))

    def _is_refused(self, current: pa.Table) -> Flags:
        """Which rows of Curated are in Quarantine."""
        if not current.num_rows:
            return np.zeros(0, bool)
        keys = current[_KEY].combine_chunks()
        rows = _rows(self.tables["quarantine"], _EVENT)
        return _among(current, _together((r.filter(_mask(_places(r, keys) >= 0)) for r in rows), _EVENT))

    def _count(self, what: str, events: pa.Table, sign: int = 1) -> None:
        hours, counts = np.unique(_int(events[_RECEIVED]) // _HOUR_US, return_counts=True)
        for hour, count in zip(hours.tolist(), counts.tolist(), strict=True):
            found = self._hour(hour)
            setattr(found, what, getattr(found, what) + sign * count)

    def _fault(self, layer: str, fault: Fault, events: pa.Table) -> None:
        for hour in np.unique(_int(events[_RECEIVED]) // _HOUR_US).tolist():
            found = self._hour(hour)
            of_hour = events.filter(_mask(_int(events[_RECEIVED]) // _HOUR_US == hour))
            found.faults[layer, fault] += of_hour.num_rows
            samples = found.samples.setdefault((layer, fault), [])
            samples += map(str, of_hour[_MESSAGE].slice(0, _SAMPLES - len(samples)).to_pylist())
        self._note_open(events)

    def _note_open(self, events: pa.Table) -> None:
        if events.num_rows:
            received = _moment(int(_int(events[_RECEIVED]).min()))
            self.found.open_since = min(received, self.found.open_since or received)

    def _hour(self, number: int) -> Hour:
        return self.found.hours.setdefault(_moment(number * _HOUR_US), Hour())


@dataclass(frozen=True)
class _Part:
    """What was received from ``first`` on and before ``end``, in microseconds since 1970."""

    first: int
    end: int
    events: pa.Table

    def received(self, rows: pa.Table) -> Flags:
        """Which rows were received then."""
        received = _int(rows[_RECEIVED])
        return (self.first <= received) & (received < self.end)


def _edges(raw: Table, since: datetime | None, until: datetime | None, at_once: int) -> list[int]:
    """Microseconds that part the events received within the span; fewer than two where there are none."""
    first, end = _micros(since, _NEVER), _micros(until, -_NEVER - 1)
    seconds: Counter[int] = Counter()
    for rows in _rows(raw, (_RECEIVED,), _within(first, end)):
        received = _int(rows[_RECEIVED])
        found, counts = np.unique(received // _SECOND_US, return_counts=True)
        seconds.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
    if not seconds:
        return []
    edges, waiting = [max(first, min(seconds) * _SECOND_US)], 0
    for second, count in sorted(seconds.items()):
        if waiting and waiting + count > at_once:
            edges.append(second * _SECOND_US)
            waiting = 0
        waiting += count
    return [*edges, min(end, (max(seconds) + 1) * _SECOND_US)]


def _rows(
    table: Table,
    columns: Iterable[str],
    where: BooleanExpression = AlwaysTrue(),  # noqa: B008 - a constant
    erased: Erased = NOTHING_ERASED,
    *,
    snapshot_id: int | None = None,
    not_younger: int | None = None,
) -> Iterator[pa.Table]:
    """Rows of a table in large pieces; times as microseconds since 1970, no nulls but in ``_tombstone``.

    ``not_younger``: only of files whose rows came with a snapshot of that sequence number, or earlier.
    """
    columns = [column for column in columns if column != DELETED or DELETED in table.schema().column_names]
    scan = table.scan(row_filter=where, selected_fields=tuple(columns), snapshot_id=snapshot_id)
    if scan.snapshot() is None:
        return
    tasks = list(scan.plan_files())
    if not_younger is not None:
        old = _files_not_younger(table, not_younger)
        tasks = [task for task in tasks if task.file.file_path in old]
    arrow = ArrowScan(table.metadata, table.io, scan.projection(), scan.row_filter)
    for some in _so_many_rows(tasks, _LOOKED_UP_AT_ONCE):
        # Each by itself: files of different writers have texts of different types.
        read = [_normal(batch) for batch in erased.kept(arrow.to_record_batches(some))]
        if read:
            yield pa.concat_tables(read)


def _so_many_rows(tasks: Iterable[FileScanTask], most: int) -> Iterator[list[FileScanTask]]:
    """The tasks in groups: pyiceberg reads all that it is given as fast as it can, whoever waits for it."""
    group: list[FileScanTask] = []
    rows = 0
    for task in tasks:
        if group and rows + task.file.record_count > most:
            yield group
            group, rows = [], 0
        group.append(task)
        rows += task.file.record_count
    if group:
        yield group


def _files_not_younger(table: Table, sequence: int) -> set[str]:
    """Live files whose rows came with a snapshot of that sequence number, or with an earlier one."""
    snapshot = table.current_snapshot()
    manifests = snapshot.manifests(table.io) if snapshot else []
    return {
        entry.data_file.file_path
        for manifest in manifests
        if manifest.content == ManifestContent.DATA
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        if (entry.sequence_number or 0) <= sequence
    }


def _normal(rows: pa.RecordBatch) -> pa.Table:
    """Times as microseconds since 1970, texts of one type, and no nulls but in ``_tombstone``."""
    columns: dict[str, Any] = {}
    for name in rows.schema.names:
        column: Any = rows[name]
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
        if pa.types.is_integer(column.type):
            column = column.cast(pa.int64()).fill_null(_NEVER)
        elif name != DELETED:
            column = column.cast(pa.string()).fill_null("")
        columns[name] = column
    return pa.table(columns)


def _together(pieces: Iterable[pa.Table], columns: Iterable[str]) -> pa.Table:
    """All pieces as one table, which has the columns also where there is none."""
    types: dict[str, pa.DataType] = {_KEY: pa.string(), _MESSAGE: pa.string(), DELETED: pa.bool_()}
    empty = pa.schema([(name, types.get(name, pa.int64())) for name in columns]).empty_table()
    return pa.concat_tables([empty, *pieces], promote_options="default")


def _first_copies(rows: pa.Table) -> pa.Table:
    """Different events, each with when its first copy was received."""
    found = rows.group_by(_VERSION).aggregate([(_RECEIVED, "min")])
    return found.rename_columns({f"{_RECEIVED}_min": _RECEIVED}).select(_EVENT)


def _newest(events: pa.Table) -> pa.Table:
    """The newest event of every key, in no order."""
    codes = events[_KEY].combine_chunks().dictionary_encode().indices.to_numpy()
    repeated = np.bincount(codes, minlength=1)[codes] > 1 if len(codes) else np.zeros(0, bool)
    order = [_KEY, _PUBLISHED, _RECEIVED, _MESSAGE]
    several = events.filter(_mask(repeated)).sort_by([(name, "ascending") for name in order])
    if not several.num_rows:
        return events
    keys = several[_KEY].combine_chunks()
    last = np.append(_flags(pc.not_equal(keys[1:], keys[:-1])), True)
    return pa.concat_tables([events.filter(_mask(~repeated)), several.filter(_mask(last))])


def _among(rows: pa.Table, others: pa.Table, by: list[str] = _VERSION) -> Flags:
    """Which rows are equal to one of the others."""
    found = np.zeros(rows.num_rows, bool)
    numbered = rows.select(by).append_column("row", pa.array(np.arange(rows.num_rows)))
    joined = numbered.join(others.select(by), keys=by, join_type="left semi")
    found[joined["row"].to_numpy()] = True
    return found


def _places(rows: pa.Table, keys: "pa.Array[Any]") -> Numbers:
    """Where the key of each row is among ``keys``; -1 for nowhere."""
    return _int(pc.fill_null(pc.index_in(rows[_KEY], value_set=keys), pa.scalar(-1, pa.int32())))


def _whole(read: SourceCheckpoint) -> int:
    """Sequence number of the last snapshot that was read to its end."""
    return read.sequence if read.files is None else read.sequence - 1


def _closed(table: Table) -> int:
    return _micros(closed_before(table), _NEVER)


def _within(first: int, end: int) -> BooleanExpression:
    return _between(_RECEIVED, first, end)


def _between(column: str, first: int, end: int) -> BooleanExpression:
    """From ``first`` on and before ``end``, in microseconds since 1970; no bound where time ends."""
    bounds: list[BooleanExpression] = []
    if first > _NEVER:
        bounds.append(GreaterThanOrEqual(term=column, value=first))
    if end < -_NEVER - 1:
        bounds.append(LessThan(term=column, value=end))
    return And(*bounds) if len(bounds) > 1 else (bounds[0] if bounds else AlwaysTrue())


def _micros(moment: datetime | None, otherwise: int) -> int:
    return otherwise if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)


def _moment(micros: int) -> datetime:
    """The moment; the first or last of the calendar for one that it does not have."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    return _EPOCH + timedelta(microseconds=min(max(micros, _micros(first, 0)), _micros(last, 0)))


def _take(rows: pa.Table, numbers: Numbers) -> pa.Table:
    return rows.take(pa.array(numbers, pa.int64()))


def _int(column: Any) -> Numbers:
    return np.asarray(column.to_numpy(), dtype=np.int64)


def _flags(column: Any) -> Flags:
    return np.asarray(
        column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy(),
        dtype=bool,
    )


def _mask(flags: Flags) -> "pa.BooleanArray":
    return pa.array(flags, pa.bool_())
