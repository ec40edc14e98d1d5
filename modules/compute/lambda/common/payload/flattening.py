"""Payload text to columns, exact: one STRING column for every leaf of the JSON payload, plus ``_rescued``.

What goes where (``common.payload.leaves`` states what a leaf is and what its column is called,
``common.payload.columns`` which path has a column):

- a leaf's column holds the decoded text of a JSON string, and the source text, byte for byte, of anything
  else: ``1.10``, ``-0``, a 30-digit integer and ``[1, 2]`` stay as written; null is the same as absent;
- a leaf that can have no column goes to ``_rescued``, a JSON object of the row with the leaf's JSON Pointer
  (RFC 6901) as key and its source text as value. That is: a path that does not own the column of its name, a
  name that is reserved or unusable, an object deeper than the depth limit, names beyond the column limit, and
  every further value of a key that is written more than once;
- a payload that is not one JSON object goes to ``_rescued`` whole, as text, under ``#unparsable``.

The outcome depends on the payloads and the columns only, not on how they are read. Memory beside input and
output is bounded by the caller, who gives a step of rows at a time.
"""

import gc
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, pairwise
from operator import itemgetter
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from common.intake.events import DELETE, MAX_NESTING, nested_too_deep
from common.payload.columns import Columns
from common.payload.leaves import (
    ENVELOPE,
    UNPARSABLE,
    Leaf,
    NotAnObject,
    Path,
    json_text,
    pointer,
    read_leaves,
    rescued_object,
)
from common.payload.rescued import Why
from common.payload.shapes import KeyTree, LeafValues, Shape, Texts, count_in_each
from common.runtime.arrowtypes import Column

PAYLOAD: Final = "json_payload"
OPERATION: Final = "operation"
DELETED: Final = "_tombstone"
"""Column of Curated: true where the newest version of a key is a delete, else null."""
DELETED_DOC: Final = "True where the newest version of the key is a delete"
"""Its comment (``modules/storage/tables/curated.json``; a test compares)."""
# Shapes tried before the rest is read row by row, and rows that a shape is learned from.
_SHAPES: Final = 8
_SAMPLE: Final = 64
# Below this many rows, reading row by row takes less time than compiling a shape.
_WORTH_A_SHAPE: Final = 16
# A shape reads all its leaves in every row, those that are not there too. One with many more leaves than rows
# have takes longer than reading row by row, and without a bound time is no longer linear in bytes.
_LEAVES: Final = 2_000
_LEAVES_A_MEMBER: Final = 30
# Bytes of payloads read row by row at once: their leaves take some seventy times as much as Python objects.
_PORTION: Final = 2**20
# Rows flattened at once, by number and by bytes of their payloads. Flattening holds some ten times these
# bytes, and a column without values takes four bytes a row in every copy, which at 500 columns is 30 MB.
_STEP_ROWS: Final = 16_384
_STEP_BYTES: Final = 8 * 2**20
# A text has more levels than are allowed only if it has twice as many brackets.
_SURELY_FLAT: Final = 2 * MAX_NESTING


@dataclass(frozen=True)
class _Group:
    """Rows of a step that one shape has read, and their leaves."""

    rows: npt.NDArray[np.int64]
    leaves: dict[Path, LeafValues]


class Flattener:
    """Flattens payloads step by step; what was learned of one step, shapes and columns, serves the next."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self._keys = KeyTree()
        self._shapes: list[Shape] = []

    def flatten(self, payloads: Texts) -> pa.Table:
        """One row for each payload, in order: the columns that have a value, by name, then ``_rescued``.

        All are STRING; a field's metadata names the path that owns the column (``payload_columns.notes_of``).
        A null payload gives a row of nulls. Nothing in a payload raises.
        """
        binary = payloads.cast(pa.binary())
        groups, rest = self._read_by_shape(payloads, binary)
        for group in groups:
            self._look_at(group)
        tables = [self._table_of_group(group) for group in groups]
        for texts in _portions(binary, rest):
            with _uncollected():
                tables.append(self._table_of_singles(texts))
        names = sorted({name for table in tables for name in table.column_names} - {"_rescued"})
        schema = pa.schema([*map(self.columns.field, names), pa.field("_rescued", pa.string())])
        table = pa.concat_tables([schema.empty_table(), *tables], promote_options="default").combine_chunks()
        rows = np.concatenate([*(group.rows for group in groups), rest])
        in_order = bool((np.diff(rows) > 0).all())
        return table if in_order else table.take(np.argsort(rows))

    def count(self, payloads: Texts) -> None:
        """Have the columns look at all leaves, and make nothing of them."""
        binary = payloads.cast(pa.binary())
        groups, rest = self._read_by_shape(payloads, binary)
        for group in groups:
            self._look_at(group)
        for texts in _portions(binary, rest):
            with _uncollected():
                self._read_singles(texts)

    def _look_at(self, group: _Group) -> None:
        used = {path: int(np.count_nonzero(values.present)) for path, values in group.leaves.items()}
        self.columns.look_at({path: rows for path, rows in used.items() if rows})

    def _read_by_shape(self, payloads: Texts, binary: Texts) -> tuple[list[_Group], npt.NDArray[np.int64]]:
        """Groups of rows that share a shape, and the rows that none could read."""
        groups: list[_Group] = []
        if len(payloads) < _WORTH_A_SHAPE:
            return groups, np.arange(len(payloads))
        try:
            payloads.validate(full=True)
        except pa.ArrowInvalid:  # bytes that are not UTF-8: shapes would pass them on, single rows find them
            return groups, np.arange(len(payloads))
        left = payloads.is_null().to_numpy(zero_copy_only=False) | _too_deep(binary)
        pending = np.flatnonzero(~left)
        for index in range(_SHAPES):
            if len(pending) < _WORTH_A_SHAPE:
                break
            waiting = binary if len(pending) == len(binary) else binary.take(pending)
            if index == len(self._shapes) and not self._learn(waiting):
                break
            reading = self._shapes[index].read(waiting)
            if len(reading.rows):
                groups.append(_Group(pending[reading.rows], reading.leaves))
            pending = pending[reading.odd]
        return groups, np.sort(np.concatenate([pending, np.flatnonzero(left)]))

    def _learn(self, payloads: Texts) -> bool:
        """Compile a shape that fits some of the payloads; False where they have no keys to learn."""
        before = repr(self._keys)
        sample = np.unique(np.linspace(0, len(payloads) - 1, _SAMPLE).astype(np.int64))
        texts: list[Any] = payloads.take(sample).to_pylist()
        found: list[tuple[int, dict[str, Any]]] = []
        for text in texts:
            try:
                payload = msgspec.json.decode(text, type=dict[str, Any])
            except (msgspec.MsgspecError, RecursionError):
                continue  # not an object: read row by row, where the whole text is kept
            found.append((KeyTree().learn(payload, self.columns.limits.depth), payload))
        # A few payloads that are far wider than the others are not worth a wide shape for all.
        widest = min(_LEAVES, _LEAVES_A_MEMBER * statistics.median(size for size, _ in found)) if found else 0
        for size, payload in found:
            if size <= widest:
                self._keys.learn(payload, self.columns.limits.depth)
        if repr(self._keys) == before or self._keys.leaves() > widest:
            return False
        self._shapes.append(Shape(self._keys))
        return True

    def _table_of_group(self, group: _Group) -> pa.Table:
        """Columns and ``_rescued`` of rows that a shape has read."""
        columns: dict[str, Texts] = {}
        rescued: list[tuple[str, Texts]] = []
        for path, values in group.leaves.items():
            if not values.present.any():
                continue
            name = self.columns.column(path)
            if name is None:
                rescued.append((pointer(path), values.raw()))
            else:
                columns[name] = values.text()
        columns["_rescued"] = _rescued_column(rescued, len(group.rows))
        return pa.table(columns)

    def _read_singles(self, texts: list[str | None]) -> list[list[Leaf] | None]:
        """The leaves of rows that are read one by one, looked at; None for what is not one JSON object."""
        read = [_leaves_or_none(text, self.columns.limits.depth) for text in texts]
        # Once for each row, however often a key is written in it.
        each = [dict.fromkeys([leaf.path for leaf in of or () if leaf.text is not None], 1) for of in read]
        uses = each[0] if len(each) == 1 else Counter(chain.from_iterable(each))
        self.columns.look_at(uses)
        return read

    def _table_of_singles(self, texts: list[str | None]) -> pa.Table:
        """Columns and ``_rescued`` of rows that are read one by one."""
        read = self._read_singles(texts)
        columns: dict[str, list[str | None]] = {"_rescued": [None] * len(texts)}
        for row, (text, leaves) in enumerate(zip(texts, read, strict=True)):
            rescued: list[tuple[str, str]] = []
            pointers: dict[Path, str] = {}  # a long key may be written a hundred thousand times
            if text is not None and leaves is None:
                rescued.append((UNPARSABLE, json_text(text)))
            for path, raw, value in leaves or ():
                name = None if value is None else self.columns.column(path)
                if name is not None:
                    if name not in columns:
                        columns[name] = [None] * len(texts)
                    if columns[name][row] is None:
                        columns[name][row] = value
                        continue  # any other value is of a key that is written twice
                elif value is None and raw[0] == "{":
                    self.columns.rescue(Why.NESTED_TOO_DEEP)
                if path not in pointers:
                    pointers[path] = pointer(path)
                rescued.append((pointers[path], raw))
            columns["_rescued"][row] = rescued_object(rescued)
        return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def flatten_rows(batches: Iterable[pa.RecordBatch], columns: Columns) -> Iterator[pa.RecordBatch]:
    """RAW rows → Curated rows: the envelope as it is, every payload leaf as a text column.

    A delete has no payload, and ``_tombstone`` says so in batches that have any. A row of which RAW knows
    neither payload nor operation is one too: a delete that came before RAW had the column.

    Whatever comes in, what goes out and what is held for it is bounded by the bytes of payloads.
    """
    flattener = Flattener(columns)
    for rows in _steps(batches):
        leaves = flattener.flatten(rows[PAYLOAD].combine_chunks())
        # Whatever else RAW has of an event (the source that read it) is for RAW: a leaf may have that name.
        curated = rows.select([name for name in rows.column_names if name in ENVELOPE])
        deletes = _deletes(rows)
        if pc.any(deletes).as_py():
            curated = curated.append_column(DELETED, deletes)
        columns.take_samples(leaves)
        for field, column in zip(leaves.schema, leaves.columns, strict=True):
            curated = curated.append_column(field, column)
        yield from curated.combine_chunks().to_batches()


def _deletes(rows: pa.Table) -> Column:
    """True for deletes, null for all others."""
    deletes: Any = rows[PAYLOAD].is_null()
    if OPERATION in rows.column_names:
        operation: Any = rows[OPERATION]
        says_so: Any = pc.equal(operation, pa.scalar(DELETE))
        deletes = pc.or_(pc.and_(deletes, operation.is_null()), says_so.fill_null(pa.scalar(False)))  # noqa: FBT003
    column: Column = pc.if_else(deletes, deletes, pa.scalar(None, pa.bool_()))
    return column


def count_leaves(batches: Iterable[pa.RecordBatch], columns: Columns) -> Iterator[pa.RecordBatch]:
    """Have ``columns`` look at the leaves of RAW rows (``Columns.look_at``), which come out as they are."""
    flattener = Flattener(columns)
    for rows in _steps(batches):
        flattener.count(rows[PAYLOAD].combine_chunks())
        yield from rows.combine_chunks().to_batches()


def flatten(payloads: "Texts | pa.ChunkedArray[Any]", columns: Columns | None = None) -> pa.Table:
    """All payloads as one table (``Flattener.flatten``), decided on as a whole (``Columns.revised``).

    ``columns``: those of the table; without them, of one that has none yet.
    """
    columns = Columns() if columns is None else columns
    chunks = payloads.chunks if isinstance(payloads, pa.ChunkedArray) else [payloads]
    flattener = Flattener(columns)
    tables = [flattener.flatten(chunk) for chunk in chunks]
    if (revised := columns.revised()) is not None:
        return flatten(payloads, revised)
    return pa.concat_tables(tables, promote_options="default")


def _steps(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches cut and put together: Firehose writes many small files, and every step is learned from."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        ends = np.cumsum(_lengths(batch.column(PAYLOAD)))
        start = 0
        while start < batch.num_rows:
            before = int(ends[start - 1]) if start else 0
            fitting = int(np.searchsorted(ends, before + _STEP_BYTES - size, side="right")) - start
            taken = min(batch.num_rows - start, _STEP_ROWS - rows, max(fitting, 0 if waiting else 1))
            if taken:
                waiting.append(batch.slice(start, taken))
                start += taken
                rows += taken
                size += int(ends[start - 1]) - before
            if start < batch.num_rows or rows == _STEP_ROWS:
                yield pa.Table.from_batches(waiting)
                waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.Table.from_batches(waiting)


def _portions(payloads: Texts, rows: npt.NDArray[np.int64]) -> Iterator[list[str | None]]:
    """The texts of some rows in lists of bounded size; one empty list for no rows."""
    taken = payloads.take(rows)
    portions = np.cumsum(_lengths(taken)) // _PORTION
    starts = [0, *(np.flatnonzero(np.diff(portions)) + 1).tolist(), len(rows)]
    for start, end in pairwise(starts):
        texts: list[Any] = taken.slice(start, end - start).to_pylist()
        yield [_decoded(text) for text in texts]


def _too_deep(payloads: Texts) -> npt.NDArray[np.bool_]:
    """Rows with more levels of objects and arrays than are allowed, which no reader may be asked about."""
    found = np.zeros(len(payloads), dtype=np.bool_)
    long = np.flatnonzero(_lengths(payloads) > _SURELY_FLAT)
    if len(long):
        texts = payloads.take(long)
        many = count_in_each(texts, "{") + count_in_each(texts, "[") > MAX_NESTING
        for row in long[many].tolist():
            found[row] = nested_too_deep(_decoded(payloads[row].as_py()) or "")
    return found


def _lengths(texts: Texts) -> npt.NDArray[np.int64]:
    """Bytes of each text; 0 for null."""
    column: Any = texts  # its stub takes no text of any kind
    lengths: Any = pc.fill_null(pc.binary_length(column), 0)
    counts: npt.NDArray[np.int64] = lengths.to_numpy(zero_copy_only=False).astype(np.int64)
    return counts


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, for a portion: its leaves hold no cycles, and it would walk all of them.

    That takes a third of the time of a payload with a hundred thousand members.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


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
