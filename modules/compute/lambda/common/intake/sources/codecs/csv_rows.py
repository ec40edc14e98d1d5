"""CSV → rows: objects of texts, by the names of the header or of the source."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from common.intake.sources import slices
from common.intake.sources.expressions import Place, listed, only, words
from common.intake.sources.rows import Document, Rows
from common.intake.sources.unpacking import MAX_READINGS, Volume, too_many, unpacked
from common.runtime.errors import RejectedEvent

_WITH_COMMA: Final = re.compile(r"[+-]?[0-9]+,[0-9]+")


def parser(options: Mapping[str, Any], place: Place) -> Callable[[bytes, Volume], Document]:
    """Compile the step: ``delimiter``, ``columns`` (else the first line has them), ``decimal``."""
    only(options, place, "delimiter", "columns", "decimal")
    delimiter = words(options.get("delimiter", ","), place.at("delimiter"))
    if len(delimiter) != 1 or delimiter in '\r\n"':
        raise place.at("delimiter").error("expected one character, found another")
    decimal = options.get("decimal", ".")
    if decimal not in {".", ","}:
        raise place.at("decimal").error('expected "." or ",", found another')
    columns = None
    if "columns" in options:
        at = place.at("columns")
        columns = [words(name, at.at(i)) for i, name in enumerate(listed(options["columns"], at))]
        if len(set(columns)) < len(columns):
            raise at.error("expected each column once, found one twice")

    def step(content: bytes, volume: Volume) -> Document:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise unpacked("expected text in UTF-8, found other bytes") from None
        return Rows(list(_rows(text, delimiter, columns, decimal, volume)))

    return step


def _rows(
    text: str, delimiter: str, columns: list[str] | None, decimal: str, volume: Volume
) -> Iterator[msgspec.Raw | RejectedEvent]:
    names = columns
    for count, cells in enumerate(_lines(text, delimiter)):
        if count > MAX_READINGS:
            raise too_many()
        if isinstance(cells, RejectedEvent):
            yield cells
        elif names is None:
            names = cells
            if len(set(names)) < len(names):
                raise unpacked("expected a header with each name once, found one twice")
        elif len(cells) != len(names):
            yield unpacked(f"expected {len(names)} cells, as many as columns, found {len(cells)}")
        else:
            made = slices.of({n: _with_point(c, decimal) for n, c in zip(names, cells, strict=True)})
            volume.add(len(memoryview(made)))
            yield made


def _lines(text: str, delimiter: str) -> Iterator[list[str] | RejectedEvent]:
    """The cells of each line that is not empty."""
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        try:
            cells = next(lines, None)
        except csv.Error:
            yield unpacked(
                "expected cells, found a quote in the midst, one that does not end, or too long a cell"
            )
            continue
        if cells is None:
            return
        if cells:
            yield cells


def _with_point(cell: str, decimal: str) -> str:
    """A number that is written with a decimal comma, with a point; anything else as it is."""
    return cell.replace(",", ".") if decimal == "," and _WITH_COMMA.fullmatch(cell) else cell
