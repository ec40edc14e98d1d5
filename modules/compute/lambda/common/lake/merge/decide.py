"""What to write and what to delete: the rule applied to a batch and the stored rows of its keys."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from common.lake.merge.locate import StoredRows
from common.lake.rule import MergeRule, Verdict, Winners, choose_winners, compare, equal, flags, rank
from common.runtime.arrowtypes import Array

History = Callable[["Array", "Array"], pa.Table | None]
"""``history(keys, values)``: all events received so far of these keys whose ``order[0]`` is the value beside
it, with the source's columns; None where they can no longer be read. Others are ignored."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Decision:
    """``write``: rows of the batch to write. ``recovered``: rows of the history to write, or None.

    ``delete``: rows of ``StoredRows`` that leave. The counts are of keys; one that is to be removed, and is
    not there, counts as unchanged.
    """

    write: Indices
    recovered: pa.Table | None
    delete: Indices
    inserted: int
    updated: int
    unchanged: int
    removed: int


def decide(
    batch: pa.Table, winners: Winners, stored: StoredRows, rule: MergeRule, history: History | None
) -> Decision:
    """Apply the rule to the winning rows of a batch; ``stored.key_of`` counts in ``winners.rows``."""
    current = _current_rows(stored, rule)
    keys = stored.key_of[current]
    verdicts = np.full(len(winners.rows), np.int8(Verdict.REPLACES))
    verdicts[keys] = compare(_rows(batch, winners.rows[keys], rule), stored.rows.take(current), rule)
    tied_keys = _key_places(batch, winners, rule)
    row_of = np.full(len(winners.rows), -1, dtype=np.int64)
    row_of[keys] = current
    known = np.flatnonzero(row_of[tied_keys] >= 0)
    tied = compare(_rows(batch, winners.tied[known], rule), stored.rows.take(row_of[tied_keys[known]]), rule)
    verdicts[tied_keys[known][tied == Verdict.CONTESTED]] = Verdict.CONTESTED

    contested = np.flatnonzero(verdicts == Verdict.CONTESTED)
    in_batch = np.concatenate([winners.rows[contested], winners.tied[np.isin(tied_keys, contested)]])
    outcome = _settle(batch, in_batch, stored.rows.take(row_of[contested]), rule, history)
    verdicts[contested] = np.where(outcome.changed, np.int8(Verdict.REPLACES), np.int8(Verdict.UNCHANGED))
    replaced = verdicts == Verdict.REPLACES
    plain = replaced.copy()
    plain[contested] = False
    replacing = int(np.count_nonzero(replaced & (row_of >= 0)))
    won = np.concatenate([winners.rows[plain], outcome.batch_rows])
    removing = _removes(batch, rule)
    write, recovered = won[~removing[won]], outcome.recovered
    if recovered is not None:
        recovered = recovered.filter(~_removes(recovered, rule))
    written = len(write) + (recovered.num_rows if recovered is not None else 0)
    # Every key that is decided anew has one winning row: what is not written removes.
    nowhere = int(np.count_nonzero(removing[winners.rows[plain & (row_of < 0)]]))
    removed = int(np.count_nonzero(replaced)) - written - nowhere
    updated = replacing - removed
    return Decision(
        write=write,
        recovered=recovered,
        delete=np.flatnonzero(replaced[stored.key_of]),
        inserted=written - updated,
        updated=updated,
        unchanged=len(winners.rows) - written - removed,
        removed=removed,
    )


@dataclass(frozen=True)
class _Settled:
    """Contested keys decided afresh: which change, and the rows to write for them."""

    changed: npt.NDArray[np.bool_]
    batch_rows: Indices
    recovered: pa.Table | None


def _settle(
    batch: pa.Table, in_batch: Indices, stored: pa.Table, rule: MergeRule, history: History | None
) -> _Settled:
    """Decide contested keys by all their rows: stored (one a key), in the batch, and in the history."""
    count = stored.num_rows
    if not count:
        return _Settled(np.zeros(0, bool), np.zeros(0, np.int64), None)
    past = None
    if history is not None:
        past = history(stored[rule.key].combine_chunks(), stored[rule.order[0]].combine_chunks())
    past = _relevant(past, stored, rule) if past is not None else batch.schema.empty_table()
    candidates = [stored, _rows(batch, in_batch, rule), past.select(list(rule.columns))]
    # Stored rows come first, so that a row which equals the stored one changes nothing.
    rows = choose_winners(pa.concat_tables([c.cast(stored.schema) for c in candidates]), rule).rows
    changed = np.ones(count, bool)
    changed[rows[rows < count]] = False
    of_batch = rows[(rows >= count) & (rows < count + len(in_batch))] - count
    of_past = rows[rows >= count + len(in_batch)] - count - len(in_batch)
    return _Settled(changed, in_batch[of_batch], past.take(of_past) if len(of_past) else None)


def _relevant(past: pa.Table, stored: pa.Table, rule: MergeRule) -> pa.Table:
    """Rows of the history that belong to a contested key and tie with its stored row."""
    place = pc.index_in(past[rule.key].cast(pa.string()), value_set=stored[rule.key].combine_chunks())
    known = np.flatnonzero(place.is_valid().to_numpy())
    past = past.take(known)
    expected = stored[rule.order[0]].take(place.drop_null())
    found = past[rule.order[0]].cast(expected.type)
    return past.take(np.flatnonzero(equal(found, expected)))


def _current_rows(stored: StoredRows, rule: MergeRule) -> Indices:
    """One stored row a key: the greatest, should another writer have left several."""
    order = np.arange(len(stored.key_of))
    if len(np.unique(stored.key_of)) == len(order):
        return order
    ranks = [rank(stored.rows[c]) for c in rule.order]
    order = np.lexsort((*reversed(ranks), stored.key_of))
    last = np.append(np.diff(stored.key_of[order]) != 0, True)
    return np.sort(order[last])


def _key_places(batch: pa.Table, winners: Winners, rule: MergeRule) -> Indices:
    """For every tied row, the place of its key in ``winners.rows``."""
    if not len(winners.tied):
        return np.zeros(0, np.int64)
    keys = batch[rule.key].take(winners.rows).combine_chunks()
    places = pc.index_in(batch[rule.key].take(winners.tied), value_set=keys)
    return places.to_numpy().astype(np.int64)


def _removes(rows: pa.Table, rule: MergeRule) -> npt.NDArray[np.bool_]:
    """Which rows only take the stored row of their key away."""
    if rule.removes is None or rule.removes not in rows.column_names:
        return np.zeros(rows.num_rows, bool)
    return flags(rows[rule.removes].fill_null(pa.scalar(False)))  # noqa: FBT003


def _rows(table: pa.Table, rows: Indices, rule: MergeRule) -> pa.Table:
    return table.select(list(rule.columns)).take(rows)
