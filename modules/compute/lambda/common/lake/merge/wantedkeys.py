"""Keys that are looked for among many more stored ones, without hashing each of those.

Of every key eight bytes at a time are taken at a few places where the wanted keys differ, and mixed into 64
bits: its print. Stored keys whose print is none of the wanted are ruled out by numpy, at a tenth of what the
hash of a text costs. Equal keys have equal prints, so that none is missed; those of equal print are compared
byte by byte, so that none is found that is another. Keys may defeat it (all alike but for one byte in the
middle, or prints made equal on purpose): then more is left to compare, at the price of a plain join.

Where prints come from (``_places``): their distance from the end of the key, in bytes. Keys count up, carry a
day or a device in front, or are random; what is told apart by nothing else has its difference at the end.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from common.runtime.arrowtypes import Array, Column

Numbers = npt.NDArray[np.int64]
Prints = npt.NDArray[np.uint64]

_NONE: Final = np.zeros(0, np.int64)

_WORD: Final = 8
_FARTHEST: Final = 128
"""Bytes from the end within which keys are looked at."""
_MOST_PLACES: Final = 3
_SAMPLE: Final = 512

_MIXER: Final = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that multiplying loses nothing; 2^64 over the golden ratio spreads what is close (Knuth, TAOCP 3,
6.4, "Fibonacci hashing")."""

_FEW: Final = 4
"""Of so many stored keys, if one is left on average or fewer, it is looked up by its print."""

_SLOTS_A_KEY: Final = 32
_MOST_SLOTS: Final = 2**21
"""A byte each: what is looked up for every stored key should stay in the processor's cache."""

_FIRST_BYTES: Final = np.array([(1 << (8 * n)) - 1 for n in range(_WORD + 1)], np.uint64)
"""By a number of bytes: what keeps so many of a word."""


class WantedKeys:
    """Keys to look for: text, none of them null or there twice."""

    def __init__(self, keys: Array) -> None:
        self.keys = keys
        self._places = _places(keys)
        prints = _prints(keys, self._places)
        self._order = np.argsort(prints)
        self._sorted = prints[self._order]
        self._apart = bool(np.all(self._sorted[1:] != self._sorted[:-1]))
        bits = (min(_SLOTS_A_KEY * max(len(keys), 1), _MOST_SLOTS) - 1).bit_length()
        self._shift = np.uint64(64 - bits)
        self._taken = np.zeros(1 << bits, bool)
        self._taken[prints >> self._shift] = True

    def find(self, stored: Column) -> tuple[Numbers, Numbers]:
        """The rows of ``stored`` that have a wanted key, ascending, and the place of each in ``keys``."""
        rows, prints, keys = [_NONE], [_NONE.astype(np.uint64)], [self.keys.slice(0, 0)]
        first = 0
        for chunk in stored.chunks:
            of_all = _prints(chunk, self._places)
            left = np.flatnonzero(self._taken[of_all >> self._shift])
            rows.append(left + first)
            prints.append(of_all[left])
            keys.append(chunk if len(left) == len(chunk) else chunk.take(left))
            first += len(chunk)
        left_over = pa.concat_arrays(keys)
        few = self._apart and _FEW * len(left_over) <= first
        found, places = self._compared(left_over, np.concatenate(prints)) if few else self._joined(left_over)
        return np.concatenate(rows)[found], places

    def _compared(self, stored: Array, prints: Prints) -> tuple[Numbers, Numbers]:
        """Of stored keys that may be wanted those that are, and which: the one of the same print."""
        near = np.minimum(np.searchsorted(self._sorted, prints), len(self._sorted) - 1)
        like = np.flatnonzero(self._sorted[near] == prints)
        places = self._order[near[like]]
        same = pc.equal(stored.take(like), self.keys.take(places)).fill_null(False)  # noqa: FBT003
        equal = same.to_numpy(zero_copy_only=False)
        return like[equal], places[equal]

    def _joined(self, stored: Array) -> tuple[Numbers, Numbers]:
        """The same where prints do not say which one, or rule out too little."""
        matches = pc.index_in(stored, value_set=self.keys)
        found = np.flatnonzero(matches.is_valid().to_numpy(zero_copy_only=False))
        return found, matches.drop_null().to_numpy().astype(np.int64)


def _places(keys: Array) -> list[int]:
    """At which distances from their end a sample of the keys is told apart best, few of them."""
    if not len(keys):
        return []
    sample = keys.take(np.arange(0, len(keys), max(1, len(keys) // _SAMPLE)))
    longest = int(np.diff(_content(sample)[0]).max())
    open_ = list(range(_WORD, min(longest, _FARTHEST) + _WORD, _WORD))
    chosen: list[int] = []
    told = 1
    while open_ and told < len(sample) and len(chosen) < _MOST_PLACES:
        apart = {place: len(np.unique(_prints(sample, [*chosen, place]))) for place in open_}
        best = max(apart, key=lambda place: apart[place])
        if apart[best] <= told:
            break
        told = apart[best]
        chosen.append(best)
        open_.remove(best)
    return chosen or [_WORD]


def _prints(keys: Array, places: Sequence[int]) -> Prints:
    """A print of each key, made of the words that begin so many bytes before its end, or where it begins."""
    prints: Prints = np.zeros(len(keys), np.uint64)
    if not len(keys):
        return prints
    offsets, text = _content(keys)
    starts, ends = offsets[:-1], offsets[1:]
    lengths = ends - starts
    shortest, longest = int(lengths.min()), int(lengths.max())
    if shortest < _WORD:  # a word may reach beyond the last key
        text = np.append(text, np.zeros(_WORD, np.uint8))
    for place in places:
        if shortest == longest >= place:
            word = np.ndarray(len(keys), "<u8", text, offset=int(ends[0]) - place, strides=(longest,))
        else:
            begin = np.maximum(ends - place, starts)
            word = np.ndarray(len(text) - _WORD + 1, "<u8", text, strides=(1,))[begin]
            if shortest < _WORD:
                word &= _FIRST_BYTES[np.minimum(ends - begin, _WORD)]
        prints = (prints ^ word) * _MIXER
    return prints


def _content(keys: Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Where each key begins and the last one ends, and the bytes of all: Arrow's layout of a text column."""
    buffers: list[Any] = keys.buffers()
    offsets = np.frombuffer(buffers[1], np.int32)[keys.offset : keys.offset + len(keys) + 1]
    return offsets, np.frombuffer(buffers[2] or b"", np.uint8)
