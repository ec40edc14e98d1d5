"""The two-stage rule of de-duplication, as pure decisions on Arrow columns.

1. Copies (network retries; same key, ``message_id`` and ``publish_time``): the one that was received first
   counts. The same id with another time is another version: devices that count from zero after a reboot use
   their ids again.
2. Rows of one key (business corrections): the greatest in the rule's order wins. For events that is the
   newest ``publish_time``, ties by the later ``ingestion_ts``, then by the greater ``message_id``.

The same rule holds inside a batch (``choose_winners``) and against the stored row (``compare``).

Assumption, which the event contract makes: copies carry the same content. Then the row that wins does not
depend on how the events were split into batches, as long as ties in ``publish_time`` between different
messages are decided with all copies at hand: a copy seen later may move a message to an earlier
``ingestion_ts``, and so hand the tie to a message that lost it before and is stored nowhere but in RAW.
``Winners.tied`` and ``Verdict.CONTESTED`` mark exactly these keys.

Nulls in the order columns sort before everything else. Text is compared by Unicode code points.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from common.runtime.arrowtypes import Column, is_text

Indices = npt.NDArray[np.int64]

_LEAST_TEXT: Any = ""
_LEAST_NUMBER: Any = np.iinfo(np.int64).min


@dataclass(frozen=True)
class MergeRule:
    """Which of two rows of one key stays.

    ``order``: columns compared from left to right, the greater row wins, an equal row changes nothing.
    ``message`` and ``received``: the column that names a message and the column of which its first copy has
    the smallest value; both None where no row has copies. Where given, they are in ``order`` too. Copies are
    equal in the key, ``message`` and ``order[0]``.
    ``removes``: a column of the source, not of the table, that is true in rows whose key is to leave the
    table where they win; None where rows only write.
    """

    key: str
    order: tuple[str, ...]
    message: str | None = None
    received: str | None = None
    removes: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns a decision needs: the key, then the order."""
        return (self.key, *self.order)


EVENT_RULE = MergeRule(
    key="idempotency_key",
    order=("publish_time", "ingestion_ts", "message_id"),
    message="message_id",
    received="ingestion_ts",
)
"""Curated: rows are events."""

SOURCE_RULE = MergeRule(key="idempotency_key", order=("_source_merge_seq",), removes="_tombstone")
"""Semantic and Quarantine: rows come from Curated, which holds one row a key and numbers its changes."""

VERSION_RULE = replace(EVENT_RULE, removes="_tombstone")
"""Semantic: older versions, which come from RAW."""


OPERATIONS_RULE = MergeRule(key="entry", order=("publish_time",))
"""Tables of what runs did: a row is told once, and what is told again is the same."""


@dataclass(frozen=True)
class Winners:
    """What is left of a batch.

    ``rows``: index of the winning row of every key, ascending. ``tied``: indices of first copies that lost
    only by a tie in ``order[0]`` against their key's winner. ``duplicate_messages`` and ``superseded``: rows
    lost in the first and in the second stage.
    """

    rows: Indices
    tied: Indices
    duplicate_messages: int
    superseded: int


class Verdict(IntEnum):
    """What a source row means for the stored row of its key."""

    UNCHANGED = 0
    """Older than the stored row, or a replay of it."""
    REPLACES = 1
    """Wins whatever else was received before."""
    CONTESTED = 2
    """Same ``order[0]``, and it depends on copies that only the history knows."""


def choose_winners(table: pa.Table, rule: MergeRule) -> Winners:
    """The winning row of every key in ``table``, which needs the columns ``rule.columns``.

    Only keys that occur more than once are sorted, so that a batch without repeats costs one hash of its
    keys. Of rows that are equal in everything the rule looks at, the first in the table stays.
    """
    codes, distinct = _codes(table[rule.key])
    if distinct == table.num_rows:
        return Winners(np.arange(table.num_rows, dtype=np.int64), _none(), 0, 0)
    repeated = np.flatnonzero(np.bincount(codes, minlength=distinct)[codes] > 1)
    unique = np.flatnonzero(np.bincount(codes, minlength=distinct)[codes] == 1)
    kept, tied, duplicates = _decide_repeated(table.take(repeated), codes[repeated], rule)
    rows = np.sort(np.concatenate([unique, repeated[kept]]))
    return Winners(rows, repeated[tied], duplicates, table.num_rows - duplicates - len(rows))


def _decide_repeated(
    rows: pa.Table, keys: npt.NDArray[np.int64], rule: MergeRule
) -> tuple[Indices, Indices, int]:
    """Positions of winners, positions of rows tied with them, and the number of duplicate messages."""
    ranks = [rank(rows[column]) for column in rule.order]
    first = np.arange(len(keys), dtype=np.int64)
    if rule.message is not None and rule.received is not None:
        received = ranks[rule.order.index(rule.received)]
        message = ranks[rule.order.index(rule.message)]
        same = (keys, ranks[0], message)
        by_copy = np.lexsort((first, received, *reversed(same)))
        starts = np.logical_or.reduce([_starts(values[by_copy]) for values in same])
        first = np.sort(by_copy[starts])
    duplicates = len(keys) - len(first)
    # Descending in position, so that of equal rows the first one comes last and wins.
    by_key = first[np.lexsort((-first, *(r[first] for r in reversed(ranks)), keys[first]))]
    last = np.append(_starts(keys[by_key])[1:], True) if len(by_key) else np.zeros(0, bool)
    winner_of = by_key[last][np.cumsum(np.append(0, last[:-1]))] if len(by_key) else by_key
    tied = by_key[~last & (ranks[0][by_key] == ranks[0][winner_of])] if rule.message is not None else _none()
    return by_key[last], tied, duplicates


def compare(source: pa.Table, stored: pa.Table, rule: MergeRule) -> npt.NDArray[np.int8]:
    """A ``Verdict`` for every pair of rows: row i of ``source`` and row i of ``stored`` have the same key.

    A source row that ties in ``order[0]`` with another message is CONTESTED where it would win (an earlier
    copy of its message may have lost before), and so is an earlier copy of the stored message (a third
    message may win the tie now). A later copy of the stored message changes nothing.
    """
    greater = np.zeros(source.num_rows, bool)
    level = np.ones(source.num_rows, bool)
    tie = level
    for position, column in enumerate(rule.order):
        left, right = _comparable(source[column], stored[column])
        greater |= level & flags(pc.greater(left, right))
        level = level & flags(pc.equal(left, right))
        if position == 0:
            tie = level
    verdicts = np.where(greater, np.int8(Verdict.REPLACES), np.int8(Verdict.UNCHANGED))
    if rule.message is None or rule.received is None:
        return verdicts
    same_message = equal(source[rule.message], stored[rule.message])
    earlier = flags(pc.less(*_comparable(source[rule.received], stored[rule.received])))
    verdicts[tie & same_message] = Verdict.UNCHANGED
    verdicts[tie & np.where(same_message, earlier, greater)] = Verdict.CONTESTED
    return verdicts


def equal(left: Column, right: Column) -> npt.NDArray[np.bool_]:
    """Where two columns are equal, row by row; nulls equal nulls."""
    return flags(pc.equal(*_comparable(left, right)))


def rank(column: Column) -> npt.NDArray[np.int64]:
    """Integers that sort like the column's values (equal for equal values), nulls first."""
    if is_text(column.type):
        ranks = pc.rank(column.fill_null(_LEAST_TEXT), sort_keys="ascending", tiebreaker="dense")
        return ranks.to_numpy().astype(np.int64)
    return column.cast(pa.int64()).fill_null(_LEAST_NUMBER).to_numpy()


def _codes(column: Column) -> tuple[npt.NDArray[np.int64], int]:
    """Small integers, equal for equal values, and how many different ones there are."""
    combined = column.combine_chunks()
    encoded = (combined if isinstance(combined, pa.Array) else combined.chunk(0)).dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)


def _comparable(left: Column, right: Column) -> tuple[Column, Column]:
    """Both columns without nulls: the smallest value stands for null."""
    if is_text(left.type):
        return left.fill_null(_LEAST_TEXT), right.cast(left.type).fill_null(_LEAST_TEXT)
    return left.cast(pa.int64()).fill_null(_LEAST_NUMBER), right.cast(pa.int64()).fill_null(_LEAST_NUMBER)


def flags(column: "Column | pa.BooleanArray") -> npt.NDArray[np.bool_]:
    """A boolean column without nulls, as numpy has it."""
    return np.asarray(column.to_numpy(), dtype=bool)


def _starts(values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Where a run of equal values begins."""
    starts = np.ones(len(values), bool)
    starts[1:] = values[1:] != values[:-1]
    return starts


def _none() -> Indices:
    return np.zeros(0, dtype=np.int64)
