"""Finding the stored rows of given keys: which file, which position, and the values that decide.

Files are ruled out by the partition's key bucket and by the key's min/max; of the rest only the key column is
read, and the order columns of the row groups that hold one of the keys.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.conversions import from_bytes
from pyiceberg.types import StringType

from common.arrowtypes import Array
from common.deduplication import MergeRule
from common.errors import TableMismatch
from common.merge.livefiles import LiveFile
from common.merge.positions import deleted_positions
from common.merge.streams import open_input
from common.merge.target import Target

_FIELD_ID = b"PARQUET:field_id"


@dataclass(frozen=True)
class StoredRows:
    """Live stored rows of some of the wanted keys.

    ``rows`` has the rule's columns; row i of it is row ``positions[i]`` of ``files[file_of[i]]`` and has the
    key at ``key_of[i]`` of the wanted keys.
    """

    rows: pa.Table
    key_of: npt.NDArray[np.int64]
    files: tuple[LiveFile, ...]
    file_of: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]


def locate(
    target: Target, rule: MergeRule, files: Sequence[LiveFile], keys: Array, pool: Executor
) -> StoredRows:
    """Find the live rows that have one of ``keys`` (distinct, not null) in ``files``."""
    candidates = list(_candidates(target, rule, files, keys))
    jobs = [(f, c) for c in candidates for f in c.files]
    found = [h for h in pool.map(lambda j: _search(target, rule, j[0], j[1]), jobs) if h is not None]
    deleted = deleted_positions(target.table.io, (h.file for h in found), pool)
    live = [h.without(deleted.get(h.file.path)) for h in found]
    schema = pa.schema([target.arrow_schema.field(c).remove_metadata() for c in rule.columns])
    return StoredRows(
        rows=pa.concat_tables([schema.empty_table(), *(h.rows for h in live)]),
        key_of=_joined(h.key_of for h in live),
        files=tuple(h.file for h in live),
        file_of=np.repeat(np.arange(len(live), dtype=np.int64), [h.rows.num_rows for h in live]),
        positions=_joined(h.positions for h in live),
    )


@dataclass(frozen=True)
class _Candidates:
    """Keys that share a bucket, and the files that may hold them. ``index``: place among the wanted keys."""

    keys: Array
    index: npt.NDArray[np.int64]
    files: list[LiveFile]


@dataclass(frozen=True)
class _Hit:
    file: LiveFile
    rows: pa.Table
    key_of: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]

    def without(self, deleted: npt.NDArray[np.int64] | None) -> "_Hit":
        if deleted is None:
            return self
        keep = ~np.isin(self.positions, deleted)
        return _Hit(self.file, self.rows.filter(keep), self.key_of[keep], self.positions[keep])


def _candidates(
    target: Target, rule: MergeRule, files: Sequence[LiveFile], keys: Array
) -> Iterator[_Candidates]:
    bucket = target.key_bucket(rule)
    if bucket is None:
        groups = [(keys, np.arange(len(keys), dtype=np.int64), list(files))]
    else:
        position, transform = bucket
        numbers = transform.pyarrow_transform(StringType())(keys).to_numpy()
        groups = []
        for number in np.unique(numbers):
            index = np.flatnonzero(numbers == number)
            in_bucket = [f for f in files if f.file.partition[position] == number]
            groups.append((keys.take(index), index, in_bucket))
    key_id = target.field_id(rule.key)
    for group_keys, index, group_files in groups:
        if not len(group_keys):
            continue
        bounds = pc.min_max(group_keys)
        low, high = bounds["min"].as_py(), bounds["max"].as_py()
        possible = [f for f in group_files if _may_hold(f, key_id, low, high)]
        yield _Candidates(group_keys, index, possible)


def _may_hold(file: LiveFile, key_id: int, low: str, high: str) -> bool:
    """Whether the file's bounds of the key overlap [low, high]; bounds may be cut short or absent."""
    lower = (file.file.lower_bounds or {}).get(key_id)
    upper = (file.file.upper_bounds or {}).get(key_id)
    if lower is not None and from_bytes(StringType(), lower) > high:
        return False
    return upper is None or from_bytes(StringType(), upper) >= low


def _search(target: Target, rule: MergeRule, file: LiveFile, candidates: _Candidates) -> _Hit | None:
    with open_input(target.table.io, file.path) as stream:
        parquet = pq.ParquetFile(stream, pre_buffer=True)
        columns = _columns(target, rule, parquet.schema_arrow, file.path)
        keys = parquet.read([columns[rule.key]], use_threads=False).column(0).cast(pa.string())
        matches = pc.index_in(keys, value_set=candidates.keys)
        positions = np.flatnonzero(matches.is_valid().to_numpy())
        if not len(positions):
            return None
        index = matches.take(positions).to_numpy().astype(np.int64)
        rows = _read_rows(parquet, [columns[c] for c in rule.columns], positions)
    names = pa.schema([target.arrow_schema.field(c).remove_metadata() for c in rule.columns])
    return _Hit(file, rows.rename_columns(names.names).cast(names), candidates.index[index], positions)


def _read_rows(parquet: pq.ParquetFile, columns: list[str], positions: npt.NDArray[np.int64]) -> pa.Table:
    """The given columns at the given positions, reading only the row groups they are in."""
    ends = np.cumsum([parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)])
    group_of = np.searchsorted(ends, positions, side="right")
    groups = np.unique(group_of)
    starts = np.append(0, ends[:-1])
    read_starts = np.append(0, np.cumsum((ends - starts)[groups])[:-1])
    within = positions - starts[group_of] + read_starts[np.searchsorted(groups, group_of)]
    rows = parquet.read_row_groups(groups.tolist(), columns=columns, use_threads=False)
    return rows.select(columns).take(within)


def _columns(target: Target, rule: MergeRule, schema: pa.Schema, path: str) -> dict[str, str]:
    """Names that the rule's columns have in this file: found by field id, as columns may be renamed."""
    by_id = {int(f.metadata[_FIELD_ID]): f.name for f in schema if f.metadata and _FIELD_ID in f.metadata}
    if not by_id:
        by_id = {f.field_id: f.name for f in target.schema.fields if f.name in schema.names}
    missing = [c for c in rule.columns if target.field_id(c) not in by_id]
    if missing:
        raise TableMismatch(
            f"table {target.name}: expected the columns {', '.join(rule.columns)} in every data file, found "
            f"no {', '.join(missing)} in {path}; rewrite that file's partition, then run again"
        )
    return {c: by_id[target.field_id(c)] for c in rule.columns}


def _joined(parts: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])
