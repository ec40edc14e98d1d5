"""Finding the stored rows of given keys: which file, which position, and the values that decide.

Files are ruled out by the partition's key bucket and by the key's min/max. Of the rest the key column and the
first order column (times or numbers, small beside it) are read with one request; the other order columns only
in row groups with a key for which that first one ties, since only then they decide.

Rows that different rules decide are looked for together: what a search costs is opening and reading files.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.conversions import from_bytes
from pyiceberg.types import StringType

from common.lake.merge.livefiles import LiveFile
from common.lake.merge.positions import ExistingDeletes
from common.lake.merge.reading import StoredFile
from common.lake.merge.streams import concurrency
from common.lake.merge.target import Target
from common.lake.merge.wantedkeys import WantedKeys
from common.lake.rule import MergeRule, equal

Numbers = npt.NDArray[np.int64]

# Files that are searched in one job: as many as these, fewer where workers would have nothing to do.
_LARGEST_GROUP = 8
_GROUP_ROWS = 128 * 1024
_JOBS_A_WORKER = 4


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


@dataclass(frozen=True)
class Wanted:
    """Source rows whose stored rows are looked for: their key and the first order column of their rule."""

    rule: MergeRule
    rows: pa.Table


def locate(
    target: Target,
    files: Sequence[LiveFile],
    wanted: Sequence[Wanted],
    *,
    deletes: ExistingDeletes,
    pool: Executor,
) -> list[StoredRows]:
    """Find the live rows in ``files`` that have one of the wanted keys, in one search for all of ``wanted``.

    Keys are not null, and each is wanted once: all rules have one key column. Gives as many as are wanted,
    each counting in the rows of its own.
    """
    groups = list(_candidates(target, files, wanted))
    workers = _JOBS_A_WORKER * concurrency(target.table.location())
    longest = max(1, min(_LARGEST_GROUP, sum(len(g.files) for g in groups) // workers))
    jobs = [(files, g) for g in groups for files in _file_groups(g, longest)]
    searched = list(pool.map(lambda job: _search(target, wanted, *job), jobs))
    deletes.load(h.file for parts in searched for hits in parts for h in hits)
    return [
        _stored(
            target, part.rule, [h.without(deletes.of(h.file)) for parts in searched for h in parts[place]]
        )
        for place, part in enumerate(wanted)
    ]


def _stored(target: Target, rule: MergeRule, live: Sequence["_Hit"]) -> StoredRows:
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

    ``part``: which of the wanted tables they are in, ``index``: at which places there.
    """

    keys: WantedKeys
    part: Numbers
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


def _candidates(target: Target, files: Sequence[LiveFile], wanted: Sequence[Wanted]) -> Iterator[_Candidates]:
    rule = wanted[0].rule
    chunks = [chunk for part in wanted for chunk in part.rows[rule.key].chunks]
    keys = pa.chunked_array(chunks, pa.string()).combine_chunks()
    part_of = np.repeat(np.arange(len(wanted), dtype=np.int64), [part.rows.num_rows for part in wanted])
    place_of = np.concatenate([np.arange(part.rows.num_rows, dtype=np.int64) for part in wanted])
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
    key_id = target.field_ids[rule.key]
    for index, group_files in groups:
        if not len(index) or not group_files:
            continue
        group_keys = keys.take(index)
        bounds = pc.min_max(group_keys)
        low, high = bounds["min"].as_py(), bounds["max"].as_py()
        possible = [f for f in group_files if _may_hold(f, key_id, low, high)]
        yield _Candidates(WantedKeys(group_keys), part_of[index], place_of[index], possible)


def _may_hold(file: LiveFile, key_id: int, low: str, high: str) -> bool:
    """Whether the file's bounds of the key overlap [low, high]; bounds may be cut short or absent."""
    lower = (file.file.lower_bounds or {}).get(key_id)
    upper = (file.file.upper_bounds or {}).get(key_id)
    if lower is not None and from_bytes(StringType(), lower) > high:
        return False
    return upper is None or from_bytes(StringType(), upper) >= low


def _search(
    target: Target, wanted: Sequence[Wanted], files: Sequence[LiveFile], candidates: _Candidates
) -> list[list[_Hit]]:
    """Rows of ``files`` with a key of each of ``wanted``, deleted ones included."""
    key = wanted[0].rule.key
    firsts = dict.fromkeys(part.rule.order[0] for part in wanted)
    with ExitStack() as stack:
        opened = [stack.enter_context(StoredFile(target, f.file, [key, *firsts])) for f in files]
        found = pa.concat_tables(f.columns([key, *firsts]) for f in opened)
        rows, places = candidates.keys.find(found[key])
        part_of = candidates.part[places]
        hits = []
        for number, part in enumerate(wanted):
            of = part_of == number
            first = part.rule.order[0]
            decided = pa.table(
                {key: candidates.keys.keys.take(places[of]), first: found[first].take(rows[of])}
            )
            index = candidates.index[places[of]]
            both = zip(files, opened, strict=True)
            hits.append(_hits(target, part, both, decided, at=rows[of], index=index))
        return hits


def _hits(
    target: Target,
    wanted: Wanted,
    files: Iterable[tuple[LiveFile, StoredFile]],
    decided: pa.Table,
    *,
    at: Numbers,
    index: Numbers,
) -> list[_Hit]:
    """What was found of ``wanted``, file by file.

    ``decided``: keys and first order column of what was found. ``at``: in which row of all files, one after
    the other, ``index``: at which places of the wanted rows.
    """
    first, *rest = wanted.rule.order
    ties = equal(wanted.rows[first].take(index), decided[first])
    hits = []
    start = 0
    for file, stored in files:
        low, high = (int(n) for n in np.searchsorted(at, [start, start + stored.rows_total]))
        positions = at[low:high] - start
        start += stored.rows_total
        if not len(positions):
            continue
        columns = {name: decided[name].slice(low, high - low) for name in decided.column_names}
        if rest and np.any(ties[low:high]):
            others = stored.rows(rest, positions)
            columns |= {name: others[name] for name in rest}
        else:
            kinds = {name: target.types[name] for name in rest}
            columns |= {name: pa.nulls(len(positions), kind) for name, kind in kinds.items()}
        hits.append(_Hit(file, pa.table(columns), index[low:high], positions))
    return hits


def _file_groups(candidates: _Candidates, longest: int) -> Iterator[list[LiveFile]]:
    """Files that are searched together: a call of Arrow costs as much for one small file as for many."""
    group: list[LiveFile] = []
    rows = 0
    for file in candidates.files:
        group.append(file)
        rows += file.file.record_count
        if rows >= _GROUP_ROWS or len(group) == longest:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _joined(parts: Iterable[Numbers]) -> Numbers:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])
