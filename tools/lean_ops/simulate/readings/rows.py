"""Files → rows: every value as the exact JSON text it will have in the payload.

CSV cells that read as JSON numbers become numbers with the digits they have (``1.10`` stays ``1.10``), empty
cells null, all others strings: ``007`` and ``+5`` are no JSON numbers. NDJSON values are taken over character
by character. Parquet values are written from their types. Reading takes constant memory, row by row or in
small batches.
"""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO, cast

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from common.runtime.errors import InvalidInput

_JSON_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DELIMITERS: Final = ",;\t"
_ENCODE: Final = msgspec.json.Encoder(decimal_format="number").encode
_PARQUET_BATCH_ROWS: Final = 1_000
# A message has 1 MiB at most: a line that is longer by far makes no event, and may take all memory (300 MB of
# one character are 292 kB of gzip).
MAX_LINE: Final = 16 * 1024 * 1024
_LONG_LINE: Final = f"expected a line of at most {MAX_LINE >> 20} MiB, found a longer one"
_MARKS: Final = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_TEXT_SUFFIXES: Final = {".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}


@dataclass(frozen=True)
class Row:
    """One row: its line (CSV, NDJSON) or row number (Parquet) from 1, and column → JSON text."""

    number: int
    values: Mapping[str, str]


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be sent, and why. ``number`` as in Row."""

    number: int
    reason: str


def read_rows(path: Path) -> Iterator[Row | BadRow]:
    """The rows of ``path``: .csv, .tsv, .ndjson, .jsonl (each also .gz) or .parquet.

    CSV needs a header; commas, semicolons and tabs are told apart by it. Raises InvalidInput for another
    kind of file, and for one that cannot be read as what its name says.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    zipped = suffixes[-1:] == [".gz"]
    suffix = suffixes[0] if zipped else path.suffix.lower()
    if suffix == ".parquet" and not zipped:
        yield from _parquet_rows(path)
        return
    if suffix not in _TEXT_SUFFIXES:
        raise InvalidInput(
            f"{path}: expected a .csv, .tsv, .ndjson or .jsonl file (or one of them with .gz) or a .parquet "
            f"file, found {path.suffix or 'no suffix'}; convert or rename it"
        )
    try:
        with cast("BinaryIO", gzip.open(path) if zipped else path.open("rb")) as file:
            yield from _csv_rows(path, file) if _TEXT_SUFFIXES[suffix] == "csv" else _ndjson_rows(path, file)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(
            f"{path}: expected a readable file, found {error}; check its name and content"
        ) from error


def plain_text(json_text: str) -> str | None:
    """The value of a JSON scalar as text: a string without quotes; None for null, arrays and objects."""
    if json_text[0] == '"':
        return msgspec.json.decode(json_text, type=str)
    return None if json_text == "null" or json_text[0] in "[{" else json_text


def json_string(text: str) -> str:
    """``text`` as a JSON string."""
    return msgspec.json.encode(text).decode()


def json_of_cell(text: str) -> str:
    """JSON text of a CSV cell, by the rules above."""
    if not text:
        return "null"
    return text if _JSON_NUMBER.fullmatch(text) else json_string(text)


def _csv_rows(path: Path, file: BinaryIO) -> Iterator[Row | BadRow]:
    try:
        with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            yield from _table_rows(path, text)
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{path}: expected text in UTF-8, found byte {error.object[error.start]:#04x}; convert the file"
        ) from error


def _table_rows(path: Path, text: TextIO) -> Iterator[Row | BadRow]:
    overlong: set[int] = set()
    bounded = _bounded(text, overlong)
    header_line = next(bounded, "")
    delimiter = max(_DELIMITERS, key=header_line.count)
    header = next(csv.reader([header_line], delimiter=delimiter), [])
    if overlong or not header or len(set(header)) < len(header) or not all(header):
        raise InvalidInput(
            f"{path}: expected a first line with one distinct name a column, found {header_line[:80]!r}; "
            "add or correct the header"
        )
    lines = csv.reader(bounded, delimiter=delimiter)
    while True:
        first = lines.line_num + 2  # after the header
        try:
            cells = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(lines.line_num + 1, f"expected a line of CSV, found {error}")
            continue
        if not overlong.isdisjoint(range(first, lines.line_num + 2)):
            yield BadRow(lines.line_num + 1, _LONG_LINE)
        elif len(cells) == len(header):
            values = {name: json_of_cell(cell) for name, cell in zip(header, cells, strict=True)}
            yield Row(lines.line_num + 1, values)
        elif cells:
            yield BadRow(lines.line_num + 1, f"expected {len(header)} cells, found {len(cells)}")


def _bounded(text: TextIO, overlong: set[int]) -> Iterator[str]:
    """The lines of ``text``; of one that is too long the beginning, and its number in ``overlong``."""
    number = 0
    while line := text.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            overlong.add(number)
            rest = line
            while rest and not rest.endswith(("\n", "\r")):
                rest = text.readline(MAX_LINE)
        yield line


def _ndjson_rows(path: Path, file: BinaryIO) -> Iterator[Row | BadRow]:
    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
            if other := next((name for mark, name in _MARKS.items() if line.startswith(mark)), None):
                raise InvalidInput(
                    f"{path}: expected text in UTF-8, found the mark of {other}; convert the file"
                )
        if len(line) > MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE)
            yield BadRow(number, _LONG_LINE)
            continue
        if not line.strip():
            continue
        try:
            yield Row(number, {name: bytes(text).decode() for name, text in decode(line).items()})
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield BadRow(number, f"expected one JSON object on the line, found {error}")


def _parquet_rows(path: Path) -> Iterator[Row | BadRow]:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InvalidInput(f"{path}: expected a Parquet file, found {error}; check the file") from error
    number = 0
    names = file.schema_arrow.names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidInput(
            f"{path}: expected one distinct name a column, found {', '.join(twice)} again; rename it"
        )
    with file:
        batches = file.iter_batches(batch_size=_PARQUET_BATCH_ROWS)
        while (batch := _next_batch(path, batches)) is not None:
            columns = [_exact(column).to_pylist() for column in batch.columns]
            for values in zip(*columns, strict=True):
                number += 1
                yield Row(number, {name: json_of_value(v) for name, v in zip(names, values, strict=True)})


def _next_batch(path: Path, batches: "Iterator[pa.RecordBatch]") -> "pa.RecordBatch | None":
    try:
        return next(batches, None)
    except (OSError, pa.ArrowException) as error:
        raise InvalidInput(f"{path}: expected readable rows, found {error}; check the file") from error


def _exact(column: "pa.Array[Any]") -> "pa.Array[Any]":
    """The column with nanoseconds cut to microseconds, the finest that Python and the tables know."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return column


def json_of_value(value: object) -> str:
    """JSON text of a typed value: decimals with their digits, times as RFC 3339, bytes as base64.

    NaN and infinity become null: JSON has no such numbers.
    """
    return _ENCODE(value).decode()
