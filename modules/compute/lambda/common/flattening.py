"""Payload text to columns, exact: one STRING column for every leaf of the JSON payload, plus ``_rescued``.

What goes where (``common.json_leaves`` states what a leaf is and what its column is called):

- a leaf's column holds the decoded text of a JSON string, and the source text, byte for byte, of anything
  else: ``1.10``, ``-0``, a 30-digit integer and ``[1, 2]`` stay as written; null is the same as absent;
- a leaf that can have no column goes to ``_rescued``, a JSON object of the row with the leaf's JSON Pointer
  (RFC 6901) as key and its source text as value. That is: a second path of the same row with one column name
  (the first in the document has the column), a name that is reserved or unusable, an object deeper than
  the depth limit, and names beyond the column limit;
- a payload that is not one JSON object goes to ``_rescued`` whole, as text, under ``#unparsable``.

New columns are admitted by the first row that has them, then by name, until the limit is reached. The outcome
depends on the payloads and the known columns only, not on how they are read.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from common.json_leaves import (
    UNPARSABLE,
    Leaf,
    NotAnObject,
    Path,
    column_name,
    json_text,
    pointer,
    read_leaves,
    rescued_object,
)
from common.json_shapes import KeyTree, LeafValues, Shape, Texts

# Rows whose columns are built at once: bounds the memory beside input and output to that of these rows.
_STRETCH: Final = 65_536
# Shapes tried before the rest is read row by row, and rows that a shape is learned from.
_SHAPES: Final = 8
_SAMPLE: Final = 64
# Below this many rows, reading row by row takes less time than compiling a shape.
_WORTH_A_SHAPE: Final = 16


@dataclass(frozen=True)
class Limits:
    """``depth``: keys in a path that has a column; ``columns``: payload columns of the table."""

    depth: int = 8
    columns: int = 500


@dataclass(frozen=True)
class Flattened:
    """``table`` has the payload columns in the order of their names, then ``_rescued``; all STRING.

    ``new_columns`` are those among them that were not known, in the order of their names.
    """

    table: pa.Table
    new_columns: tuple[str, ...]


def flatten(
    payloads: "Texts | pa.ChunkedArray[Any]",
    known_columns: frozenset[str] = frozenset(),
    limits: Limits = Limits(),
) -> Flattened:
    """One row of columns for each payload, in order.

    ``known_columns`` are the payload columns that the table has; they count towards ``limits.columns``, and
    those without a value here are not part of the outcome. A null payload gives a row of nulls. Nothing in a
    payload raises.
    """
    chunks = payloads.chunks if isinstance(payloads, pa.ChunkedArray) else [payloads]
    flattener = _Flattener(known_columns, limits)
    tables = [
        flattener.stretch(chunk.slice(start, _STRETCH))
        for chunk in chunks
        for start in range(0, len(chunk), _STRETCH)
    ]
    new_columns = tuple(sorted(flattener.admitted - known_columns))
    columns = sorted({name for table in tables for name in table.column_names if name != "_rescued"})
    schema = pa.schema([(name, pa.string()) for name in (*columns, "_rescued")])
    table = pa.concat_tables([schema.empty_table(), *tables], promote_options="default")
    return Flattened(table, new_columns)


@dataclass(frozen=True)
class _Group:
    """Rows of a stretch that one shape has read, and their leaves."""

    rows: npt.NDArray[np.int64]
    leaves: dict[Path, LeafValues]


class _Flattener:
    """What is learned from one stretch of rows for the next: shapes, and the columns admitted."""

    def __init__(self, known_columns: frozenset[str], limits: Limits) -> None:
        self._limits = limits
        self._keys = KeyTree()
        self._shapes: list[Shape] = []
        self.admitted = set(known_columns)

    def stretch(self, payloads: Texts) -> pa.Table:
        """The table of some consecutive payloads."""
        binary = payloads.cast(pa.binary())
        groups, rest = self._read_by_shape(payloads, binary)
        texts = [_decoded(text) for text in binary.take(rest).to_pylist()]
        singles = [_leaves_or_none(text, self._limits.depth) for text in texts]
        self._admit(groups, zip(rest.tolist(), singles, strict=True))
        tables = [self._table_of_group(group) for group in groups]
        tables.append(self._table_of_singles(texts, singles))
        table = pa.concat_tables(tables, promote_options="default").combine_chunks()
        rows = np.concatenate([*(group.rows for group in groups), rest])
        in_order = bool((np.diff(rows) > 0).all())
        return table if in_order else table.take(np.argsort(rows))

    def _read_by_shape(self, payloads: Texts, binary: Texts) -> tuple[list[_Group], npt.NDArray[np.int64]]:
        """Groups of rows that share a shape, and the rows that none could read."""
        groups: list[_Group] = []
        try:
            payloads.validate(full=True)
        except pa.ArrowInvalid:  # bytes that are not UTF-8: shapes would pass them on, single rows find them
            return groups, np.arange(len(payloads))
        pending = np.flatnonzero(payloads.is_valid().to_numpy(zero_copy_only=False))
        for index in range(_SHAPES):
            if len(pending) < _WORTH_A_SHAPE:
                break
            waiting = binary if len(pending) == len(binary) else binary.take(pending)
            if index == len(self._shapes) and not self._learn(waiting):
                break
            reading = self._shapes[index].read(waiting)
            contested = _contested(reading.leaves, len(reading.rows))
            if contested.any():
                leaves = {path: values.select(~contested) for path, values in reading.leaves.items()}
            else:
                leaves = reading.leaves
            settled = reading.rows[~contested]
            if len(settled):
                groups.append(_Group(pending[settled], leaves))
            pending = np.delete(pending, settled)
        nulls = np.flatnonzero(payloads.is_null().to_numpy(zero_copy_only=False))
        return groups, np.sort(np.concatenate([pending, nulls]))

    def _learn(self, payloads: Texts) -> bool:
        """Compile a shape that fits some of the payloads; False where they have no keys to learn."""
        before = repr(self._keys)
        sample = np.unique(np.linspace(0, len(payloads) - 1, _SAMPLE).astype(np.int64))
        texts: list[Any] = payloads.take(sample).to_pylist()
        for text in texts:
            try:
                self._keys.learn(msgspec.json.decode(text, type=dict[str, Any]), self._limits.depth)
            except (msgspec.MsgspecError, RecursionError):
                continue  # not an object: read row by row, where the whole text is kept
        if repr(self._keys) == before:
            return False
        self._shapes.append(Shape(self._keys))
        return True

    def _admit(self, groups: list[_Group], singles: Iterable[tuple[int, list[Leaf] | None]]) -> None:
        """Admit new column names, by first row and name, while the limit allows."""
        first_rows: dict[str, int] = {}
        for group in groups:
            for path, values in group.leaves.items():
                name = column_name(path)
                if name is not None and name not in self.admitted and values.present.any():
                    row = int(group.rows[values.present.argmax()])
                    first_rows[name] = min(row, first_rows.get(name, row))
        for row, leaves in singles:
            for leaf in leaves or ():
                name = None if leaf.text is None else column_name(leaf.path)
                if name is not None and name not in self.admitted:
                    first_rows[name] = min(row, first_rows.get(name, row))
        room = max(0, self._limits.columns - len(self.admitted))
        self.admitted.update(sorted(first_rows, key=lambda name: (first_rows[name], name))[:room])

    def _table_of_group(self, group: _Group) -> pa.Table:
        """Columns and ``_rescued`` of rows that a shape has read."""
        columns: dict[str, Texts] = {}
        rescued: list[tuple[str, Texts]] = []
        for path, values in group.leaves.items():
            name = column_name(path)
            if not values.present.any():
                continue
            if name not in self.admitted or name is None:
                rescued.append((pointer(path), values.raw()))
            elif name in columns:  # no row has both: contested rows are read singly
                columns[name] = pc.coalesce(columns[name], values.text())
            else:
                columns[name] = values.text()
        columns["_rescued"] = _rescued_column(rescued, len(group.rows))
        return pa.table(columns)

    def _table_of_singles(self, texts: list[str | None], singles: list[list[Leaf] | None]) -> pa.Table:
        """Columns and ``_rescued`` of rows that were read one by one."""
        columns: dict[str, list[str | None]] = {"_rescued": [None] * len(texts)}
        for row, (text, leaves) in enumerate(zip(texts, singles, strict=True)):
            rescued: list[tuple[str, str]] = []
            if text is not None and leaves is None:
                rescued.append((UNPARSABLE, json_text(text)))
            for leaf in leaves or ():
                name = None if leaf.text is None else column_name(leaf.path)
                if name is None or name not in self.admitted:
                    rescued.append((pointer(leaf.path), leaf.raw))
                    continue
                if name not in columns:
                    columns[name] = [None] * len(texts)
                if columns[name][row] is None:
                    columns[name][row] = leaf.text
                else:
                    rescued.append((pointer(leaf.path), leaf.raw))
            columns["_rescued"][row] = rescued_object(rescued)
        return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _leaves_or_none(text: str | None, depth: int) -> list[Leaf] | None:
    """The leaves of a payload; None where it is not one JSON object."""
    if text is None:
        return None
    try:
        return read_leaves(text, depth)
    except NotAnObject:
        return None


def _decoded(text: bytes | None) -> str | None:
    """The text; what is not UTF-8 becomes ``\\xff``, an escape JSON has not: such a payload is unparsable."""
    return None if text is None else text.decode(errors="backslashreplace")


def _contested(leaves: dict[Path, LeafValues], rows: int) -> npt.NDArray[np.bool_]:
    """Rows in which two paths with one column name both have a value."""
    names = Counter(column_name(path) for path in leaves)
    claims = {
        name: np.zeros(rows, dtype=np.int64)
        for name, count in names.items()
        if count > 1 and name is not None
    }
    for path, values in leaves.items():
        if (claim := claims.get(column_name(path) or "")) is not None:
            claim += values.present
    contested = np.zeros(rows, dtype=np.bool_)
    for claim in claims.values():
        contested |= claim > 1
    return contested


def _rescued_column(entries: list[tuple[str, Texts]], rows: int) -> Texts:
    """``_rescued`` of many rows from (pointer, raw values); as ``rescued_object`` makes it for one."""
    if not entries:
        return pa.nulls(rows, pa.string())
    # Each member with a comma in front. Arrow's own skipping of nulls loses rows where it joins one column.
    join: Any = pc.binary_join_element_wise  # its stub takes no mixture of texts and columns
    members = [
        pc.coalesce(join(f",{json_text(name)}:", raw, ""), pa.scalar(""))
        for name, raw in sorted(entries, key=itemgetter(0))
    ]
    joined = join(*members, "")
    without_first = pc.utf8_slice_codeunits(joined, 1)
    objects: Texts = pc.if_else(pc.equal(joined, pa.scalar("")), None, join("{", without_first, "}", ""))
    return objects
