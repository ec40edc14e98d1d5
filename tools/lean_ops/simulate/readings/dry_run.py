"""A dry run: what a file's columns hold, and the first events that a mapping makes of its rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Final

from lean_ops.accounts.messages import Message
from lean_ops.simulate.readings.mapping import ReadingMapping, RowMapper, current_us
from lean_ops.simulate.readings.rows import BadRow, Row, plain_text, read_rows
from lean_ops.simulate.readings.times import TimeReader

SAMPLE_ROWS: Final = 1_000


class Guess(StrEnum):
    """What the values of a column look like."""

    EMPTY = "empty"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    TIME = "time"
    TEXT = "text"
    NESTED = "nested"
    MIXED = "mixed"


@dataclass(frozen=True)
class ColumnPreview:
    """One column of the sample: what its values look like, how many there are, and one of them.

    ``distinct`` counts the distinct values among the ``filled`` ones.
    """

    name: str
    guess: Guess
    filled: int
    distinct: int
    example: str


@dataclass(frozen=True)
class Preview:
    """A dry run over the first ``rows``: ``messages`` as they would be sent, ``bad_rows`` left out.

    ``ambiguous_times``: rows whose time stands in an hour that the timezone has twice.
    """

    rows: int
    columns: tuple[ColumnPreview, ...]
    messages: tuple[Message, ...]
    bad_rows: tuple[BadRow, ...]
    ambiguous_times: int = 0


def preview(
    path: Path, mapping: ReadingMapping | None = None, events: int = 3, sample: int = SAMPLE_ROWS
) -> Preview:
    """Look at the first ``sample`` rows; without a mapping only at their columns.

    Raises InvalidInput for a file or a mapping that cannot be used at all.
    """
    read = list(islice(read_rows(path), sample))
    rows = [row for row in read if isinstance(row, Row)]
    bad = [row for row in read if isinstance(row, BadRow)]
    good: list[Message] = []
    ambiguous = 0
    if mapping is not None:
        mapper = RowMapper(mapping, current_us())
        for row in rows:
            message = mapper.message(row)
            if isinstance(message, BadRow):
                bad.append(message)
            else:
                good.append(message)
        ambiguous = mapper.ambiguous_times
    bad.sort(key=lambda row: row.number)
    return Preview(len(read), _columns(rows), tuple(good[:events]), tuple(bad), ambiguous)


def _columns(rows: Sequence[Row]) -> tuple[ColumnPreview, ...]:
    names = dict.fromkeys(name for row in rows for name in row.values)
    columns = []
    for name in names:
        filled = [text for row in rows if (text := row.values.get(name, "null")) != "null"]
        guesses = {_guess(text) for text in filled}
        columns.append(
            ColumnPreview(name, _common(guesses), len(filled), len(set(filled)), filled[0] if filled else "")
        )
    return tuple(columns)


def _guess(json_text: str) -> Guess:
    if json_text[0] in "[{":
        return Guess.NESTED
    if json_text in {"true", "false"}:
        return Guess.BOOLEAN
    if json_text[0] != '"':
        return Guess.NUMBER if set(json_text) & set(".eE") else Guess.INTEGER
    try:
        TimeReader().microseconds(plain_text(json_text) or "")
    except (ValueError, OverflowError):
        return Guess.TEXT
    return Guess.TIME


def _common(guesses: Iterable[Guess]) -> Guess:
    found = set(guesses)
    if found == {Guess.INTEGER, Guess.NUMBER}:
        return Guess.NUMBER
    if not found:
        return Guess.EMPTY
    return found.pop() if len(found) == 1 else Guess.MIXED
