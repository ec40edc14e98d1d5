"""Older versions of keys whose newest version was refused: the newest good one of them stands in Semantic.

Curated holds the newest version of a key. Where the contract refuses that one, what stands in Semantic is the
newest version that it accepts, and RAW alone has the versions between. It need not be read as a whole: of all
versions that were judged before, Semantic holds the best, so only what RAW received since is looked up
(``SourceCheckpoint.versions`` says since when), and only for keys that Quarantine knows. Where Curated goes
back and reads RAW again, so does this (``common.layers.semantic``).

A delete is a version too, and Semantic, which does not hold what it took away, cannot tell that there was
one: where good versions are found, all deletes since the oldest of them are looked up in RAW. Statistics rule
out the files without any. Where such a delete is of the very moment of a good version, all of that moment are
looked up: what was found may be a late copy, of which the first received counts.

Which of two versions of a key is newer, ties and copies included, is decided by the merge, as in Curated. A
version found here is numbered just below the refused row of Curated that it stands in for: that row, accepted
after all, replaces it, and so does whatever Curated writes later, but nothing that Curated wrote before.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import And
from pyiceberg.table import Table

from common.contract.contracts import Contract
from common.intake.events import DELETE
from common.lake.checkpoints import NOTHING, SourceCheckpoint
from common.lake.incremental import appended, read
from common.lake.merge import Beside, MergeOutcome, StagedSource, merge
from common.lake.merging_by_halves import merge_what_can_be_merged
from common.lake.reading import any_of, read_rows
from common.lake.rule import VERSION_RULE
from common.lake.setting_aside import SetAside
from common.lake.specifications import open_table
from common.layers.erased import NOTHING_ERASED, Erased
from common.layers.judging import judge
from common.layers.uncurable import curable
from common.payload.columns import DEFAULT_LIMITS, Columns
from common.payload.flattening import OPERATION, PAYLOAD, flatten_rows
from common.runtime.arrowtypes import Array
from common.runtime.settings import JobSettings

_KEYS_AT_ONCE: Final = 1_000_000
"""So many keys of Quarantine are held at once: about 100 MB."""

_TIME: Final[pa.DataType] = pa.timestamp("us", "UTC")
_MOMENTS: Final = pa.schema({"idempotency_key": pa.string(), "publish_time": _TIME})

REFUSED: Final = ("idempotency_key", "_source_merge_seq")
"""Columns of a refused row that a look-up of its older versions needs."""


def refused_keys(quarantine: Table, accepted: Iterable[pa.Table] = ()) -> Iterator[pa.Table]:
    """Keys whose newest version was refused at some time, with the number of its row in Curated, in parts.

    Those of ``accepted`` rows are left out. Those that were settled by an earlier run are among them: what is
    looked up for them changes nothing.
    """
    current = quarantine.current_snapshot()
    if current is None:
        return
    keys = [chunk for rows in accepted for chunk in rows["idempotency_key"].chunks]
    good = pa.chunked_array(keys, pa.string()).combine_chunks()
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in read_rows(quarantine, columns=REFUSED):
        waiting.append(batch.filter(pc.invert(pc.is_in(batch["idempotency_key"], value_set=good))))
        rows += waiting[-1].num_rows
        if rows >= _KEYS_AT_ONCE:
            yield pa.Table.from_batches(waiting)
            waiting, rows = [], 0
    if rows:
        yield pa.Table.from_batches(waiting)


@dataclass(frozen=True)
class Versions:
    """Where older versions are looked up, and what judges them; ``semantic`` is where they are merged into.

    ``pii_key`` as for ``common.contract.casting.cast_rows``. ``erased``: rows of RAW that are no versions.
    """

    contract: Contract
    settings: JobSettings
    catalog: Catalog
    pii_key: bytes
    semantic: str
    erased: Erased = NOTHING_ERASED

    def found(
        self, refused: pa.Table, since: SourceCheckpoint | None, upto: SourceCheckpoint | None
    ) -> Beside | None:
        """The good versions that RAW received after ``since`` and up to ``upto`` (``appended``), to merge.

        ``refused``: a part of ``refused_keys``. None where there is no good version. Whoever merges them
        closes their source. The commit of a merge of them alone carries no checkpoint: whoever has looked up
        all parts says so.
        """
        raw = open_table(self.catalog, self.settings.table("raw", self.contract.topic))
        good = StagedSource(VERSION_RULE, self.settings.memory_budget_mb)

        def staged(versions: Iterable[pa.Table]) -> pa.Table:
            """Keys and times of these versions, which are staged."""
            found = [_MOMENTS.empty_table()]
            for rows in versions:
                good.write_all(rows.to_batches())
                found.append(rows.select(_MOMENTS.names).cast(_MOMENTS))
            return pa.concat_tables(found)

        try:
            found = staged(self._good(read(raw, appended(raw, since, upto)), refused))
            oldest: Any = pc.min(found["publish_time"]).as_py()
            if oldest is None:
                good.close()
                return None
            deleted = staged(self._good(_deletes(raw, oldest, upto), refused))
            if (tied := _in_both(found, deleted)).num_rows:
                moments = (tied[name].combine_chunks() for name in _MOMENTS.names)
                staged([self._tied(raw, refused, *moments)])
        except BaseException:
            good.close()
            raise
        keys = pc.unique(pa.concat_tables([found, deleted])["idempotency_key"])
        of = refused.filter(pc.is_in(refused["idempotency_key"], keys))
        return Beside(good, lambda keys, times: self._tied(raw, of, keys, times))

    def merge(self, found: Beside, run_id: str, holds: str = NOTHING) -> tuple[MergeOutcome | None, int]:
        """Merge ``found`` versions alone, all or what of them can be merged, and close their source.

        ``holds``: the snapshot of Semantic that has the best of what RAW had received before those that were
        looked up; NOTHING where all were looked up. The outcome is None where none could be merged; the
        number counts versions that no merge takes, of keys that Quarantine has already. Raises the errors of
        ``common.lake.merge.merge``.
        """

        def merge_all(rows: StagedSource) -> MergeOutcome:
            return merge(
                self.catalog,
                self.semantic,
                rows,
                checkpoint=None,
                run_id=run_id,
                evolve=False,
                history=found.history,
                holds=holds,
            )

        def merge_part(rows: pa.Table) -> MergeOutcome | None:
            with StagedSource.of(rows.to_batches(), VERSION_RULE, self.settings.memory_budget_mb) as part:
                return merge_all(part) if part.rows else None

        with found.source as good:
            outcome, aside = merge_what_can_be_merged(
                lambda: merge_all(good),
                merge_part,
                lambda: (batch for shard in good.shards() for batch in shard.to_batches()),
                f"merging older versions into {self.semantic}",
            )
        return outcome, len(aside)

    def _good(self, events: Iterable[pa.RecordBatch], refused: pa.Table) -> Iterator[pa.Table]:
        """The events of refused keys that the contract accepts, and deletes, as rows for Semantic."""
        curated = open_table(self.catalog, self.settings.table("curated", self.contract.topic))
        partition_fields = frozenset(f.name for spec in curated.specs().values() for f in spec.fields)
        contracted = frozenset(property_.source for property_ in self.contract.properties)
        columns = Columns.of(curated.schema(), partition_fields, contracted, DEFAULT_LIMITS)
        keys = refused["idempotency_key"].combine_chunks()
        numbers = pc.subtract(refused["_source_merge_seq"].combine_chunks(), 1)

        def wanted() -> Iterator[pa.RecordBatch]:
            for batch in self.erased.kept(events):
                found = batch.filter(pc.is_in(batch["idempotency_key"], value_set=keys))
                if found.num_rows:
                    yield found

        # One that cannot be curated was set aside by the run that curated: it is no version.
        known: list[SetAside] = []
        for batch in curable(wanted(), lambda rows: flatten_rows(rows, columns), known):
            number = numbers.take(pc.index_in(batch["idempotency_key"], value_set=keys))
            rows = pa.Table.from_batches([batch]).append_column("_merge_seq", number)
            yield judge(rows, self.contract, self.pii_key, only_good=True).good

    def _tied(self, raw: Table, refused: pa.Table, keys: Array, publish_times: Array) -> pa.Table:
        """Good versions and deletes of these keys at these times (``common.lake.merge.decide.History``)."""
        times = publish_times.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()
        tied = And(any_of("publish_time", times), any_of("idempotency_key", keys.to_pylist()))
        return pa.concat_tables(self._good(read_rows(raw, tied), refused), promote_options="default")


def _in_both(some: pa.Table, others: pa.Table) -> pa.Table:
    """Rows of ``some`` with a key and a time that ``others`` have together."""
    keys = pc.unique(others["idempotency_key"])

    def numbered(rows: pa.Table) -> npt.NDArray[np.void]:
        """Key, by its number, and time."""
        places = pc.index_in(rows["idempotency_key"], value_set=keys).fill_null(-1).to_numpy()
        pairs = np.empty(rows.num_rows, dtype=[("key", np.int64), ("time", np.int64)])
        pairs["key"], pairs["time"] = places, rows["publish_time"].cast(pa.int64()).to_numpy()
        return pairs

    return some.filter(np.isin(numbered(some), numbered(others)))


def _deletes(raw: Table, since: datetime, upto: SourceCheckpoint | None) -> pa.RecordBatchReader:
    """Deletes that were published since then, as RAW held them at ``upto`` (now, where that has expired)."""
    known = upto is not None and raw.snapshot_by_id(upto.snapshot_id) is not None
    deletes = f"{PAYLOAD} is null"
    if OPERATION in raw.schema().column_names:
        deletes = f"({deletes} or {OPERATION} == '{DELETE}')"
    deletes += f" and publish_time >= '{since.isoformat()}'"
    return read_rows(raw, deletes, snapshot_id=upto.snapshot_id if upto is not None and known else None)
