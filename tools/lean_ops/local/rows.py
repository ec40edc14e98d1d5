"""Firehose records → Arrow rows of an Iceberg table, or the reason why not.

The rules are those of Firehose for Iceberg tables (Amazon Data Firehose developer guide, "Apache Iceberg
Tables as a destination"): one JSON object a record; every column of the table is a first-level key of
exactly its name and type, null where the column is optional; a missing one refuses the record; keys that
are no column are skipped; timestamps are whole microseconds since the epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BooleanType,
    DateType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    LongType,
    StringType,
    TimestampType,
    TimestamptzType,
)

from lean_ops.local.errors import LocalStackError

_INT32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
_INT64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
# Years 1 to 9999, what engines and partition paths can say.
_MICROSECONDS = Annotated[int, msgspec.Meta(ge=-62_135_596_800_000_000, le=253_402_300_799_999_999)]
_DAYS = Annotated[int, msgspec.Meta(ge=-719_162, le=2_932_896)]

_JSON_TYPES: dict[type[IcebergType], Any] = {
    BooleanType: bool,
    IntegerType: _INT32,
    LongType: _INT64,
    FloatType: float,
    DoubleType: float,
    StringType: str,
    DateType: _DAYS,
    TimestampType: _MICROSECONDS,
    TimestamptzType: _MICROSECONDS,
}

MISSING_COLUMN = "Iceberg.MissingColumnWithinRecord"
INVALID_RECORD = "Iceberg.InvalidRecord"


@dataclass(frozen=True)
class Refused:
    """A record that cannot become a row: its place among the records given, and why."""

    index: int
    code: str
    message: str


@dataclass(frozen=True)
class Rows:
    """``table``: the good records, in order, with the Iceberg schema's columns; ``refused``: the others.

    ``places``: of each row, the place of its record among the records given.
    """

    table: pa.Table
    places: list[int]
    refused: list[Refused]


class RowReader:
    """Reads records into rows of one schema.

    Raises LocalStackError for a column type that this stand-in does not read (nested types, decimals,
    binary): no table of this project that Firehose writes has one.
    """

    def __init__(self, schema: Schema) -> None:
        for column in schema.fields:
            if type(column.field_type) not in _JSON_TYPES:
                readable = ", ".join(sorted(str(kind()) for kind in _JSON_TYPES))
                raise LocalStackError(
                    f"column {column.name}: expected a type of {readable}, found {column.field_type}; "
                    "write to a table without such columns"
                )
        # Column names need not be Python identifiers, so fields are numbered and renamed.
        fields = [f"column_{i}" for i in range(len(schema.fields))]
        types = [_JSON_TYPES[type(c.field_type)] for c in schema.fields]
        record_type = msgspec.defstruct(
            "Record",
            [
                (name, kind if column.required else kind | None)
                for name, kind, column in zip(fields, types, schema.fields, strict=True)
            ],
            rename=dict(zip(fields, (c.name for c in schema.fields), strict=True)),
            gc=False,
        )
        self._fields = fields
        self._decoder = msgspec.json.Decoder(record_type)
        self._schema: pa.Schema = schema.as_arrow()

    def read(self, records: Sequence[bytes]) -> Rows:
        """Rows of the records that fit; of each other record, the reason."""
        good: list[Any] = []
        places: list[int] = []
        refused: list[Refused] = []
        decode = self._decoder.decode
        for index, record in enumerate(records):
            try:
                good.append(decode(record))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                missing = "missing required field" in str(error)
                refused.append(Refused(index, MISSING_COLUMN if missing else INVALID_RECORD, str(error)))
            else:
                places.append(index)
        columns = [
            _column([getattr(row, name) for row in good], column.type)
            for name, column in zip(self._fields, self._schema, strict=True)
        ]
        return Rows(pa.Table.from_arrays(columns, schema=self._schema), places, refused)


def _column(values: list[Any], kind: pa.DataType) -> "pa.Array[Any]":
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).cast(kind)
    if pa.types.is_date(kind):
        return pa.array(values, pa.int32()).cast(kind)
    return pa.array(values, kind)
