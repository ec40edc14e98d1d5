"""A row that cannot be processed is set aside, whatever the reason, and its neighbours go on.

What fails with an error that no rule of ours foresees is tried again by halves until single rows are left:
those that fail are set aside with the class of their error and its place, never a value. Good rows cost
nothing by it.

It is meant for rows and nothing else. What may pass on another try, and what a table or a service says, rises
as it is: no row is to blame. So does a failure without any row, and one of more rows than ``most_of`` allows:
then this code is at fault, and moving a topic's data aside would only hide it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

import pyarrow as pa

from common.runtime.errors import InternalFault, InvalidInput, LeanOpsError
from common.runtime.foreign_errors import sorted_error

_FEW: Final = 100
_SHARE: Final = 5

_Outcome = TypeVar("_Outcome")


@dataclass(frozen=True)
class SetAside:
    """One row, as a table, and what was found instead of an outcome (class and place of an error)."""

    row: pa.Table
    found: str


def most_of(rows: int) -> int:
    """How many of so many rows may be set aside: a share, so that one device cannot stop a busy topic."""
    return max(_FEW, rows // _SHARE)


def by_halves(
    rows: pa.Table, work: Callable[[pa.Table], _Outcome], doing: str, most: int | None = None
) -> tuple[list[_Outcome], list[SetAside]]:
    """Outcomes of ``work`` on all rows that it can take, in the order of the rows, and the rows it cannot.

    ``work`` is tried on all rows at once first, and may be repeated on any part of them. ``doing`` says for
    error messages what is done, and to what. ``most``: how many rows may be set aside (``most_of``). Raises
    an error of the tree where no row is to blame.
    """
    most = most_of(rows.num_rows) if most is None else most
    try:
        return [work(rows)], []
    except Exception as error:
        blamed = _if_a_row_may_be_to_blame(error, doing)
    _without_rows(rows, work, doing)
    outcomes: list[_Outcome] = []
    aside: list[SetAside] = []
    waiting = list(_halves(rows, blamed))
    while waiting:
        part, found = waiting.pop(0)
        if found is not None:
            aside.append(SetAside(part, found))
            if len(aside) > most:
                raise blamed
            continue
        try:
            outcomes.append(work(part))
        except Exception as error:
            waiting[:0] = _halves(part, _if_a_row_may_be_to_blame(error, doing))
    return outcomes, aside


def _halves(rows: pa.Table, error: LeanOpsError) -> Iterator[tuple[pa.Table, str | None]]:
    """Both halves; of a single row itself, with what was found."""
    if rows.num_rows == 1:
        yield rows, str(error)
        return
    middle = rows.num_rows // 2
    yield rows.slice(0, middle), None
    yield rows.slice(middle), None


def _without_rows(rows: pa.Table, work: Callable[[pa.Table], _Outcome], doing: str) -> None:
    """Raise what happens without any row: then it is the table, or the code."""
    try:
        work(rows.slice(0, 0))
    except Exception as error:
        raise sorted_error(error, doing) from None


def _if_a_row_may_be_to_blame(error: Exception, doing: str) -> LeanOpsError:
    """The sorted error; raises it where it is of a kind that no row causes."""
    found = sorted_error(error, doing)
    if not isinstance(found, InternalFault | InvalidInput):
        raise found from None
    return found


def stream(
    batches: Iterable[pa.RecordBatch],
    work: Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]],
    aside: Callable[[SetAside], None],
    doing: str,
) -> Iterator[pa.RecordBatch]:
    """What ``work`` makes of a stream, row for row in order, without the rows that it cannot take.

    ``work`` may read ahead and put batches together. Where it fails, what it has read and not given back is
    worked on by halves, and the rest of the stream goes on. ``aside`` is told of each row that is left out.
    """
    source = _Source(batches)
    while not source.read:
        given = 0  # rows of those held that came back
        try:
            for batch in work(source):
                given += batch.num_rows
                while source.held and given >= source.held[0].num_rows:
                    given -= source.held.pop(0).num_rows
                yield batch
        except Exception as error:
            blamed = _if_a_row_may_be_to_blame(error, doing)
            if source.failed or not source.held:
                raise blamed from None
            held = pa.Table.from_batches(source.held).slice(given)
            source.held.clear()
            outcomes, rows = by_halves(held, lambda part: list(work(part.to_batches())), doing)
            for row in rows:
                aside(row)
            for outcome in outcomes:
                yield from outcome


class _Source:
    """A stream that can be taken up again. ``held``: batches that were read and not given back.

    ``read``: the stream is at its end. ``failed``: it was the stream that raised, which no row explains.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._batches = iter(batches)
        self.held: list[pa.RecordBatch] = []
        self.read = self.failed = False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while True:
            try:
                batch = next(self._batches)
            except StopIteration:
                self.read = True
                return
            except Exception:
                self.failed = True
                raise
            self.held.append(batch)
            yield batch
