"""Reading rows of a table as a stream, in batches that are bounded by what they take in memory.

Whatever Iceberg says is one type is one Arrow type here, and in every file: text is ``string``, though a
writer may have stored it as ``large_string``, as a dictionary or as a view; times are microseconds of the
table's zone. Columns go by field id, those that a file lacks are null, position deletes are applied.

A Parquet file says little about what it is in memory (a dictionary of one value stands for a million rows),
so a file is decoded in small steps, and these are put together until the batch is measured to be large
enough. pyiceberg's ``ArrowScan`` gives each file's own types, and holds whole files decoded.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue, BooleanExpression, In
from pyiceberg.expressions.parser import parse
from pyiceberg.expressions.visitors import bind, extract_field_ids
from pyiceberg.io.pyarrow import expression_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table

from common.lake.merge.positions import NO_POSITIONS, Positions, read_deletes
from common.lake.merge.reading import StoredFile, decoded_size
from common.lake.merge.streams import concurrency
from common.lake.merge.target import Target

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

BATCH_BYTES: Final = 32 * 2**20
"""A batch ends with the step that reaches this much in memory."""

BATCH_ROWS: Final = 50_000
"""A batch has about as many rows at most."""

# Files opened ahead of the one that is read: on S3 every file is a request of tens of milliseconds. A small
# file is fetched as it is opened, of a larger one only its footer.
_FILES_AHEAD: Final = 4


def read_rows(
    table: Table,
    row_filter: BooleanExpression | str = "",
    columns: Sequence[str] | None = None,
    snapshot_id: int | None = None,
) -> pa.RecordBatchReader:
    """The rows of a snapshot (default: the current one) for which ``row_filter`` holds."""
    condition = _expression(row_filter)
    tasks = table.scan(row_filter=condition, snapshot_id=snapshot_id).plan_files()
    return read_files(table, tasks, condition, columns)


def read_files(
    table: Table,
    tasks: Iterable[FileScanTask],
    row_filter: BooleanExpression | str = "",
    columns: Sequence[str] | None = None,
    row_bytes: int = 0,
) -> pa.RecordBatchReader:
    """The rows of these files for which ``row_filter`` holds, file by file in the order given.

    The reader has the table's columns (or ``columns``) whatever it gives, also where it gives no row.
    ``row_bytes``: what the caller makes of every row takes so much more memory.
    """
    target = Target(table, table.schema(), ())
    names = tuple(table.schema().column_names if columns is None else columns)
    schema = pa.schema([(name, target.types[name]) for name in names])
    condition = _Condition.of(target, _expression(row_filter))
    return pa.RecordBatchReader.from_batches(
        schema, _batches(_steps(target, tasks, condition, schema), row_bytes)
    )


def any_of(column: str, values: Iterable[object]) -> BooleanExpression:
    """The row filter: ``column`` has one of ``values``."""
    # The type checker takes the fields of pyiceberg's pydantic models for their constructors' parameters.
    constructor: Any = In
    expression: BooleanExpression = constructor(column, set(values))
    return expression


class _Condition:
    """A row filter as Arrow evaluates it, and the columns that it looks at."""

    def __init__(self, expression: Any, columns: frozenset[str]) -> None:
        self.expression = expression
        self.columns = columns

    @classmethod
    def of(cls, target: Target, row_filter: BooleanExpression) -> "_Condition | None":
        bound = bind(target.schema, row_filter, case_sensitive=True)
        if bound == AlwaysTrue():
            return None
        ids = extract_field_ids(bound)
        names = {target.schema.find_field(number).name for number in ids}
        return cls(expression_to_pyarrow(bound, target.schema), frozenset(names))


def decoded_sizes(table: Table, files: Iterable[DataFile]) -> Iterator[int]:
    """What each file takes in memory once it is read, in bytes; footers are read many at once."""
    ahead = concurrency(table.location())
    return _begun_ahead(files, lambda file: decoded_size(table, file), ahead, lambda _size: None)


def _batches(steps: Iterable[pa.Table], row_bytes: int) -> Iterator[pa.RecordBatch]:
    """Steps put together until they are a batch."""
    waiting: list[pa.Table] = []
    rows = size = 0
    for step in steps:
        waiting.append(step)
        rows += step.num_rows
        size += step.nbytes + step.num_rows * row_bytes
        if rows >= BATCH_ROWS or size >= BATCH_BYTES:
            ready = _together(waiting)
            waiting, rows, size = [], 0, 0  # nothing is held twice while the batch is worked on
            yield from ready
            del ready
    if rows:
        yield from _together(waiting)


def _together(steps: list[pa.Table]) -> list[pa.RecordBatch]:
    return pa.concat_tables(steps).combine_chunks().to_batches()


def _steps(
    target: Target, tasks: Iterable[FileScanTask], condition: _Condition | None, schema: pa.Schema
) -> Iterator[pa.Table]:
    deletes: dict[str, Mapping[str, Positions]] = {}
    needed = [*schema.names, *sorted(condition.columns - set(schema.names))] if condition else schema.names
    for task, file in _opened(target, tasks):
        with file:
            gone = _deleted(target, task, deletes)
            for first, step in file.steps(needed):
                rows = _without(step, first, gone)
                if condition is not None:
                    rows = rows.filter(condition.expression)
                if rows.num_rows:
                    yield rows.select(schema.names)


def _opened(target: Target, tasks: Iterable[FileScanTask]) -> Iterator[tuple[FileScanTask, StoredFile]]:
    """Open files, some ahead of the one that is read."""

    def open_file(task: FileScanTask) -> tuple[FileScanTask, StoredFile]:
        return task, StoredFile(target, task.file)

    return _begun_ahead(tasks, open_file, _FILES_AHEAD, lambda opened: opened[1].close())


def _begun_ahead(
    items: Iterable[_Item], work: Callable[[_Item], _Result], ahead: int, give_up: Callable[[_Result], None]
) -> Iterator[_Result]:
    """The results of work in the order of its items, some of it begun ahead of what is taken.

    Whoever stops half-way waits for nothing; ``give_up`` gets what was made for nobody. A generator that is
    left to the collection of garbage ends in whatever thread collects it. Were it to wait for its threads
    there, as a pool does that is left as a context, it might do so under a lock of Python's that they need
    to end, in the middle of another thread's start, and nothing would go on.
    """
    pool = ThreadPoolExecutor(ahead, thread_name_prefix="ahead")
    begun: deque[Future[_Result]] = deque()
    try:
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) > ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for future in begun:
            future.add_done_callback(partial(_give_up, give_up))


def _give_up(give_up: Callable[[_Result], None], future: Future[_Result]) -> None:
    if not future.cancelled() and future.exception() is None:
        give_up(future.result())


def _deleted(target: Target, task: FileScanTask, read: dict[str, Mapping[str, Positions]]) -> Positions:
    """Deleted rows of a task's file; ``read`` keeps what its delete files say, which many tasks share."""
    found = [NO_POSITIONS]
    for file in task.delete_files:
        if file.file_path not in read:
            read[file.file_path] = read_deletes(target.table.io, file.file_path, file.file_size_in_bytes)
        found.append(read[file.file_path].get(task.file.file_path, NO_POSITIONS))
    return np.unique(np.concatenate(found))


def _without(rows: pa.Table, first: int, deleted: Positions) -> pa.Table:
    """``rows`` of a file, of which they begin at position ``first``, without its deleted ones."""
    low, high = np.searchsorted(deleted, [first, first + rows.num_rows])
    if low == high:
        return rows
    keep = np.ones(rows.num_rows, bool)
    keep[deleted[low:high] - first] = False
    return rows.filter(keep)


def _expression(row_filter: BooleanExpression | str) -> BooleanExpression:
    if isinstance(row_filter, BooleanExpression):
        return row_filter
    return parse(row_filter) if row_filter else AlwaysTrue()
