"""Reading many JSON objects that look alike, exactly and fast: the leaves of a learned shape as Arrow arrays.

A shape is the tree of keys that payloads of one producer share. It is compiled to msgspec Structs whose
leaves are ``msgspec.Raw``, the source text of a value: one C call takes a payload apart and converts nothing,
so every number keeps its text. A column's raw values are joined with NUL, which no JSON text contains
(RFC 8259, section 7), and split again by NumPy and Arrow, without a Python object for each value's text.

**Why the outcome is exact.** Structs hide two things, a key written twice and an object without members. Both
are found by counting: every member of an object is written with one colon between its key and its value (RFC
8259, section 4), and all other colons stand inside of values or keys. The values are at hand as they were
written, and the keys of a shape are known. So a payload's colons, less those in its values and keys, are the
members that it has, and only when the shape has read just as many has nothing else been there. Nothing is
assumed of lengths, white space or the way that keys are escaped, but for one thing: a colon of a key may be
written ``\\u003a``. A payload that escapes anything outside of its values is therefore not trusted to a shape
that has a colon in a key.

A payload that does not pass, has a key that the shape does not know, or has an object where the shape has a
leaf (or the reverse), is *odd* and left to the caller, who reads it by ``common.payload.leaves``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from common.payload.leaves import Path, may_have_columns

# Payloads decoded before their values are joined. Small enough for the objects to stay in the CPU's
# cache and below the garbage collector's first threshold: 512 rows are twice as fast as 2,000.
_BLOCK: Final = 512
_ESCAPED_IN_KEYS: Final = re.compile(r'["\\\x00-\x1f\ud800-\udfff]')
_SEPARATOR: Final = b"\x00"

# pyarrow's stubs tell string arrays apart more finely than its functions do.
Texts: TypeAlias = "pa.Array[Any]"
Lengths = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class KeyTree(dict[str, "KeyTree | None"]):
    """The keys of a shape: a value is a KeyTree for an object, None for a leaf."""

    def leaves(self) -> int:
        """How many leaves the shape has."""
        return sum(1 if child is None else child.leaves() for child in self.values())

    def learn(self, value: dict[str, Any], depth: int, path: Path = ()) -> int:
        """Take in the keys of a decoded JSON object; objects more than ``depth`` keys deep are leaves.

        ``path`` leads to the object. Gives the number of its leaves. Where a key has been an object and is
        a leaf now, or the reverse, the newer counts; null says neither. Keys that JSON has to escape are left
        out: msgspec takes none.
        """
        leaves = 0
        for key, member in value.items():
            if _ESCAPED_IN_KEYS.search(key):
                continue
            known = self.get(key)
            inner = (*path, key)
            if isinstance(member, dict) and member and depth > 1 and may_have_columns(inner):
                branch = KeyTree() if known is None else known
                leaves += branch.learn(member, depth - 1, inner)
                self[key] = branch
                continue
            leaves += 1
            if known is None or (member is not None and member != {}):
                self[key] = None
        return leaves


class LeafValues:
    """The raw values of one leaf, for all rows that a shape has read.

    ``written`` marks rows with a value, ``present`` those with another than null, ``objects`` those with an
    object that may have members.
    """

    def __init__(self, text: bytes, starts: Lengths, ends: Lengths) -> None:
        self._bytes, self._starts, self._ends = text, starts, ends
        self._codes = np.frombuffer(text, dtype=np.uint8)
        first = self._codes[starts]  # an absent value shows the separator
        self.written: Mask = first != 0
        self.present: Mask = self.written & (first != ord("n"))
        self.objects: Mask = (first == ord("{")) & (ends - starts != len("{}"))
        self._quoted: Mask = first == ord('"')

    @classmethod
    def from_blocks(cls, blocks: list[bytes]) -> LeafValues:
        """Values from texts of values joined by the separator."""
        # A separator in front as well: every value then lies between two of them.
        text = _SEPARATOR + _SEPARATOR.join(blocks) + _SEPARATOR
        separators = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == 0)
        return cls(text, separators[:-1] + 1, separators[1:])

    def select(self, rows: Mask) -> LeafValues:
        """The values of some rows, over the same text."""
        return LeafValues(self._bytes, self._starts[rows], self._ends[rows])

    def count(self, character: str) -> Lengths | int:
        """How often an ASCII character is in each value; 0 where it is in none."""
        if character.encode() not in self._bytes:
            return 0
        return _count_between(self._codes, character, self._starts, self._ends)

    def raw(self) -> Texts:
        """The source text of each value, null where it is not present."""
        return self._slices(self._starts, self._ends)

    def text(self) -> Texts:
        """The column text of each value: strings decoded, everything else as written."""
        if not self._quoted.any():
            return self.raw()
        texts = self._slices(self._starts + self._quoted, self._ends - self._quoted)
        if b"\\" not in self._bytes:
            return texts
        return self._unescaped(texts)

    def _slices(self, starts: Lengths, ends: Lengths) -> Texts:
        """Bytes from ``starts`` to ``ends`` of every row: each second piece of the text cut at both."""
        cuts = np.empty(2 * len(starts) + 1, dtype=np.int32)
        cuts[0:-1:2] = starts
        cuts[1::2] = ends
        cuts[-1] = ends[-1] if len(ends) else 0
        pieces = pa.Array.from_buffers(
            pa.string(), 2 * len(starts), [None, pa.py_buffer(cuts.data), pa.py_buffer(self._bytes)]
        )
        wanted: pa.Array[Any] = pa.array(np.arange(0, 2 * len(starts), 2, dtype=np.int32), mask=~self.present)
        return pieces.take(wanted)

    def _unescaped(self, texts: Texts) -> Texts:
        """The same texts with JSON escapes decoded in those that have any; each distinct one once."""
        backslashes = np.flatnonzero(self._codes == ord("\\"))
        rows = np.unique(np.searchsorted(self._ends, backslashes, side="right"))
        rows = rows[rows < len(texts)]  # of a selection, the text has more than the values
        rows = rows[self._quoted[rows]]
        escaped: list[Any] = texts.take(rows).to_pylist()
        decoded = {text: json.loads(f'"{text}"') for text in set(escaped)}
        mask = np.zeros(len(texts), dtype=np.bool_)
        mask[rows] = True
        replacements = pa.array([decoded[text] for text in escaped], pa.string())
        replaced: Texts = pc.replace_with_mask(texts, pa.array(mask), replacements)
        return replaced


@dataclass(frozen=True)
class ShapeReading:
    """What a shape made of some payloads.

    ``rows`` are positions in the payloads given, ascending; ``leaves`` has the values of these rows only.
    ``odd`` are the positions of the payloads that the shape could not read.
    """

    rows: npt.NDArray[np.int64]
    leaves: dict[Path, LeafValues]
    odd: npt.NDArray[np.int64]


@dataclass
class _Node:
    """An object of the shape: how to get it from its parent, and the leaves it has itself.

    ``key`` is its key in the parent; ``absent`` stands for it where there is none.
    """

    parent: int
    attribute: str
    key: str
    leaves: tuple[tuple[str, Path], ...]
    absent: msgspec.Struct | None = None


class Shape:
    """A compiled key tree. Compiling takes about a millisecond for twenty leaves."""

    def __init__(self, tree: KeyTree) -> None:
        self._nodes: list[_Node] = []
        self._colons_in_keys = False
        struct = self._compile(tree, (), parent=-1, attribute="")
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(struct).decode

    def read(self, payloads: Texts) -> ShapeReading:
        """Read all payloads (no nulls among them) that have this shape."""
        rows, columns, nulls = self._decode_blocks(payloads)
        if not len(rows):
            return ShapeReading(rows, {}, np.arange(len(payloads)))
        leaves = {path: LeafValues.from_blocks(blocks) for path, blocks in columns.items()}
        accepted = self._accounts_for_all(payloads, rows, leaves, nulls)
        if not accepted.all():
            rows = rows[accepted]
            leaves = {path: values.select(accepted) for path, values in leaves.items()}
        return ShapeReading(rows, leaves, np.setdiff1d(np.arange(len(payloads)), rows))

    def _compile(self, tree: KeyTree, path: Path, parent: int, attribute: str) -> type[msgspec.Struct]:
        """The Struct of an object; fields are f0, f1, ..., since keys need not be Python names."""
        names = {key: f"f{i}" for i, key in enumerate(tree)}
        self._colons_in_keys |= any(":" in key for key in tree)
        index = len(self._nodes)
        leaves = tuple((names[key], (*path, key)) for key, child in tree.items() if child is None)
        self._nodes.append(_Node(parent, attribute, path[-1] if path else "", leaves))
        fields: list[tuple[str, Any, Any]] = []
        for key, child in tree.items():
            if child is None:
                fields.append((names[key], msgspec.Raw, msgspec.Raw(b"")))
            else:
                child_index = len(self._nodes)
                inner = self._compile(child, (*path, key), index, names[key])
                absent = inner()
                self._nodes[child_index].absent = absent
                fields.append((names[key], inner | None, msgspec.field(default_factory=_always(absent))))
        return msgspec.defstruct(
            "Payload",
            fields,
            rename={name: key for key, name in names.items()},
            forbid_unknown_fields=True,
            gc=False,
        )

    def _decode_blocks(
        self, payloads: Texts
    ) -> tuple[npt.NDArray[np.int64], dict[Path, list[bytes]], list[list[int]]]:
        """Positions of the payloads that decode; for each leaf their joined values, a block an entry; and
        for each object of the shape the positions, among these payloads, where it is null.
        """
        nulls: list[list[int]] = [[] for _ in self._nodes]
        count = 0
        columns: dict[Path, list[bytes]] = {path: [] for node in self._nodes for _, path in node.leaves}
        positions: list[npt.NDArray[np.int64]] = []
        for start in range(0, len(payloads), _BLOCK):
            texts: list[Any] = payloads.slice(start, _BLOCK).to_pylist()
            kept, objects = self._decode_each(texts)
            if not objects:
                continue
            levels = [objects]
            for index, node in enumerate(self._nodes):
                if node.parent >= 0:
                    levels.append(list(map(attrgetter(node.attribute), levels[node.parent])))
                    if None in levels[-1]:
                        nulls[index] += [count + i for i, found in enumerate(levels[-1]) if found is None]
                        levels[-1] = [node.absent if found is None else found for found in levels[-1]]
                for attribute, path in node.leaves:
                    columns[path].append(_SEPARATOR.join(map(attrgetter(attribute), levels[-1])))
            positions.append(start + kept)
            count += len(kept)
        rows = np.concatenate(positions) if positions else np.empty(0, np.int64)
        return rows, columns, nulls

    def _decode_each(self, texts: Sequence[bytes]) -> tuple[npt.NDArray[np.int64], list[Any]]:
        """Objects of the texts that have this shape, with their positions."""
        try:
            return np.arange(len(texts)), list(map(self._decode, texts))
        except (msgspec.MsgspecError, RecursionError):
            kept, objects = [], []
            for position, text in enumerate(texts):
                try:
                    objects.append(self._decode(text))
                except (msgspec.MsgspecError, RecursionError):
                    continue  # odd: the caller reads it another way
                kept.append(position)
            return np.array(kept, dtype=np.int64), objects

    def _accounts_for_all(
        self,
        payloads: Texts,
        rows: npt.NDArray[np.int64],
        leaves: dict[Path, LeafValues],
        nulls: list[list[int]],
    ) -> Mask:
        """Rows of which nothing was left unread; see the module's docstring for the argument."""
        read = np.zeros(len(rows), dtype=np.int64)  # colons: of the members that were read, and in keys
        written = [np.zeros(len(rows), dtype=np.bool_) for _ in self._nodes]
        objects = np.zeros(len(rows), dtype=np.bool_)
        for index, node in reversed(list(enumerate(self._nodes))):  # an object comes before those inside it
            for _, path in node.leaves:
                values = leaves[path]
                read += values.written * (1 + path[-1].count(":"))
                written[index] |= values.written
                objects |= values.objects
            if node.parent >= 0:
                written[index][nulls[index]] = True
                read += written[index] * (1 + node.key.count(":"))
                written[node.parent] |= written[index]
        taken = payloads if len(rows) == len(payloads) else payloads.take(rows)
        accounted: Mask = (_count_outside(taken, ":", leaves) == read) & ~objects
        if self._colons_in_keys:
            accounted &= _count_outside(taken, "\\", leaves) == 0
        return accounted


def _count_outside(payloads: Texts, character: str, leaves: dict[Path, LeafValues]) -> Lengths:
    """How often an ASCII character is in each payload outside of its values."""
    found = count_in_each(payloads, character)
    for values in leaves.values():
        found -= values.count(character)
    return found


def count_in_each(payloads: Texts, character: str) -> Lengths:
    """How often an ASCII character is in each value of a binary array."""
    starts, ends, codes = _text_bounds(payloads)
    return _count_between(codes, character, starts, ends)


def _count_between(codes: npt.NDArray[np.uint8], character: str, starts: Lengths, ends: Lengths) -> Lengths:
    """How often an ASCII character is between each start and end; one character's bytes are in no other."""
    places = np.flatnonzero(codes == ord(character))
    counts: Lengths = np.searchsorted(places, ends) - np.searchsorted(places, starts)
    return counts


def _always(instance: msgspec.Struct) -> Callable[[], msgspec.Struct]:
    """A default factory that gives the one empty object: nobody changes it."""
    return lambda: instance


def _text_bounds(array: Texts) -> tuple[Lengths, Lengths, npt.NDArray[np.uint8]]:
    """Start and end of every value of a binary array in its own data, and the data."""
    _, offsets, text = array.buffers()
    bounds = np.frombuffer(memoryview(offsets or b""), dtype=np.int32)[array.offset :][
        : len(array) + 1
    ].astype(np.int64)
    return bounds[:-1], bounds[1:], np.frombuffer(memoryview(text or b""), dtype=np.uint8)
