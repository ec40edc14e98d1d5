import json
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)

from lean_ops.local.errors import LocalStackError
from lean_ops.local.rows import INVALID_RECORD, MISSING_COLUMN, RowReader

SCHEMA = Schema(
    NestedField(1, "key", StringType(), required=True),
    NestedField(2, "at", TimestamptzType(), required=False),
    NestedField(3, "class", IntegerType(), required=False),  # a column name that is a Python keyword
)
GOOD = {"key": "k", "at": 1_700_000_000_123_456, "class": 7}


def _read(*records: Any) -> tuple[list[dict[str, Any]], list[str]]:
    encoded = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in records]
    rows = RowReader(SCHEMA).read(encoded)
    return rows.table.to_pylist(), [refused.code for refused in rows.refused]


def test_a_row_has_the_tables_columns_and_exact_microseconds() -> None:
    rows = RowReader(SCHEMA).read([json.dumps(GOOD).encode()]).table
    assert rows.schema.field("at").type == pa.timestamp("us", tz="UTC")
    assert rows.column("at").cast(pa.int64()).to_pylist() == [1_700_000_000_123_456]
    assert rows.column("class").to_pylist() == [7]


def test_fields_that_are_no_column_are_skipped() -> None:
    rows, refused = _read(GOOD | {"surprise": {"deep": [1]}})
    assert set(rows[0]) == {"key", "at", "class"}
    assert refused == []


def test_null_is_a_value_of_an_optional_column_only() -> None:
    assert _read(GOOD | {"class": None})[0][0]["class"] is None
    assert _read(GOOD | {"key": None}) == ([], [INVALID_RECORD])


@pytest.mark.parametrize("column", ["key", "at", "class"])
def test_a_missing_column_refuses_the_record_even_if_optional(column: str) -> None:
    assert _read({k: v for k, v in GOOD.items() if k != column}) == ([], [MISSING_COLUMN])


def test_column_names_are_case_sensitive() -> None:
    assert _read({"KEY": "k", "at": None, "class": None}) == ([], [MISSING_COLUMN])


@pytest.mark.parametrize(
    "record",
    [
        GOOD | {"key": 1},
        GOOD | {"at": "2026-01-01T00:00:00Z"},
        GOOD | {"at": 1.5},
        GOOD | {"at": 2**63},
        GOOD | {"at": 253_402_300_800_000_000},  # the year 10,000
        GOOD | {"class": "7"},
        GOOD | {"class": 2**31},
        GOOD | {"class": True},
        [GOOD],
        b"not json",
        b"",
        b'{"key": "\xff", "at": null, "class": null}',
        json.dumps(GOOD).encode() * 2,
    ],
)
def test_what_does_not_fit_is_refused_alone(record: Any) -> None:
    rows, refused = _read(GOOD, record, GOOD)
    assert len(rows) == 2
    assert refused == [INVALID_RECORD]


def test_a_refused_record_is_named_by_its_place() -> None:
    refused = RowReader(SCHEMA).read([json.dumps(GOOD).encode(), b"{}"]).refused
    assert [r.index for r in refused] == [1]
    assert "key" in refused[0].message


def test_the_other_types_read_as_iceberg_means_them() -> None:
    schema = Schema(
        NestedField(1, "flag", BooleanType(), required=False),
        NestedField(2, "count", LongType(), required=False),
        NestedField(3, "ratio", DoubleType(), required=False),
        NestedField(4, "day", DateType(), required=False),
    )
    record = b'{"flag": true, "count": 9223372036854775807, "ratio": 0.1, "day": 20000}'
    row = RowReader(schema).read([record]).table.to_pylist()[0]
    assert (row["flag"], row["count"], row["ratio"]) == (True, 2**63 - 1, 0.1)
    assert row["day"].isoformat() == "2024-10-04"


def test_a_column_type_it_cannot_read_is_named() -> None:
    schema = Schema(NestedField(1, "price", DecimalType(9, 2), required=False))
    with pytest.raises(LocalStackError, match=r"column price: .* found decimal\(9, 2\)"):
        RowReader(schema)
