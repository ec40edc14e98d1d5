"""Finding the stored rows of given keys: which file, which position, and the values that decide.

Files are ruled out by the partition's key bucket and by the key's min/max. Of the rest the key column and the
first order column (times or numbers, small beside it) are read with one request; the other order columns only
in row groups with a key for which that first one ties, since only then they decide.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.conversions import from_bytes
from pyiceberg.types import StringType

from common.arrowtypes import Array
from common.deduplication import MergeRule, equal
from common.merge.livefiles import LiveFile
from common.merge.positions import ExistingDeletes
from common.merge.reading import StoredFile
from common.merge.target import Target

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class StoredRows:
    """Live stored rows of some of the wanted keys.

    ``rows`` has the rule's columns; row i of it is row ``positions[i]`` of ``files[file_of[i]]`` and has the
    key at ``key_of[i]`` of the wanted keys. Order columns after the first are null where the first decides.
    """

    rows: pa.Table
    key_of: Numbers
    files: tuple[LiveFile, ...]
    file_of: Numbers
    positions: Numbers


def locate(
    target: Target,
    rule: MergeRule,
    files: Sequence[LiveFile],
    wanted: pa.Table,
    *,
    deletes: ExistingDeletes,
    pool: Executor,
) -> StoredRows:
    """Find the live rows that have one of the ``wanted`` keys (distinct, not null) in ``files``.

    ``wanted``: the key column and the first order column of the source rows.
    """
    groups = list(_candidates(target, rule, files, wanted))
    jobs = [(f, g) for g in groups for f in g.files]
    found = [h for h in pool.map(lambda j: _search(target, rule, j[0], j[1]), jobs) if h is not None]
    deletes.load(h.file for h in found)
    live = [h.without(deletes.of(h.file)) for h in found]
    fields = [
        target.arrow_schema.field(c).remove_metadata().with_nullable(nullable=True) for c in rule.columns
    ]
    return StoredRows(
        rows=pa.concat_tables([pa.schema(fields).empty_table(), *(h.rows for h in live)]),
        key_of=_joined(h.key_of for h in live),
        files=tuple(h.file for h in live),
        file_of=np.repeat(np.arange(len(live), dtype=np.int64), [h.rows.num_rows for h in live]),
        positions=_joined(h.positions for h in live),
    )


@dataclass(frozen=True)
class _Candidates:
    """Wanted rows that share a bucket, and the files that may hold their keys.

    ``index``: their places among all wanted rows.
    """

    wanted: pa.Table
    keys: Array
    index: Numbers
    files: list[LiveFile]


@dataclass(frozen=True)
class _Hit:
    file: LiveFile
    rows: pa.Table
    key_of: Numbers
    positions: Numbers

    def without(self, deleted: Numbers) -> "_Hit":
        if not len(deleted):
            return self
        keep = ~np.isin(self.positions, deleted)
        return _Hit(self.file, self.rows.filter(keep), self.key_of[keep], self.positions[keep])


def _candidates(
    target: Target, rule: MergeRule, files: Sequence[LiveFile], wanted: pa.Table
) -> Iterator[_Candidates]:
    keys = wanted[rule.key].combine_chunks()
    bucket = target.key_bucket(rule)
    if bucket is None:
        groups = [(np.arange(len(keys), dtype=np.int64), list(files))]
    else:
        position, transform = bucket
        numbers = transform.pyarrow_transform(StringType())(keys).to_numpy()
        groups = [
            (np.flatnonzero(numbers == n), [f for f in files if f.file.partition[position] == n])
            for n in np.unique(numbers)
        ]
    key_id = target.field_id(rule.key)
    for index, group_files in groups:
        if not len(index) or not group_files:
            continue
        group_keys = keys.take(index)
        bounds = pc.min_max(group_keys)
        low, high = bounds["min"].as_py(), bounds["max"].as_py()
        possible = [f for f in group_files if _may_hold(f, key_id, low, high)]
        yield _Candidates(wanted.take(index), group_keys, index, possible)


def _may_hold(file: LiveFile, key_id: int, low: str, high: str) -> bool:
    """Whether the file's bounds of the key overlap [low, high]; bounds may be cut short or absent."""
    lower = (file.file.lower_bounds or {}).get(key_id)
    upper = (file.file.upper_bounds or {}).get(key_id)
    if lower is not None and from_bytes(StringType(), lower) > high:
        return False
    return upper is None or from_bytes(StringType(), upper) >= low


def _search(target: Target, rule: MergeRule, file: LiveFile, candidates: _Candidates) -> _Hit | None:
    with StoredFile(target, file) as stored:
        first, *rest = rule.order
        found = stored.columns([rule.key, first])
        matches = pc.index_in(found[rule.key], value_set=candidates.keys)
        positions = np.flatnonzero(matches.is_valid().to_numpy())
        if not len(positions):
            return None
        place = matches.take(positions).to_numpy().astype(np.int64)
        keys = candidates.keys.take(place)
        columns = {rule.key: pa.chunked_array([keys]), first: found[first].take(positions)}
        decided = not np.any(equal(candidates.wanted[first].take(place), columns[first]))
        others = None if decided or not rest else stored.rows(rest, positions)
        for name in rest:
            kind = target.arrow_schema.field(name).type
            columns[name] = pa.chunked_array([pa.nulls(len(keys), kind)]) if others is None else others[name]
    return _Hit(file, pa.table(columns), candidates.index[place], positions)


def _joined(parts: Iterable[Numbers]) -> Numbers:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])
