"""Casting against a plain oracle: Python's own decimal, datetime and re."""

import hashlib
import hmac
import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, localcontext
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from common.contract.casting import CastResult, cast_rows
from common.contract.contracts import Contract, load_contract
from common.contract.limits import rules
from common.contract.properties import Limits
from common.lake.specifications import TableSpec
from common.runtime.errors import MissingSetting, TableMismatch

from ...support.generated import cases

REPOSITORY = Path(__file__).parents[3]
KEY = b"test"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def contract(*properties: dict[str, Any]) -> Contract:
    document = {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": "x",
        "version": "1.2.3",
        "schema": [{"name": "t", "properties": list(properties)}],
    }
    return loaded(yaml.safe_dump(document))


@cache
def loaded(text: str) -> Contract:
    """Generated rows are cast under few contracts, and to read one takes longer than to cast by it."""
    return load_contract(text, "t")


def curated(rows: int, **columns: list[str | None]) -> pa.Table:
    moments = pa.array([NOON] * rows, pa.timestamp("us", tz="UTC"))
    envelope = {
        "message_id": pa.array([f"m{i}" for i in range(rows)]),
        "idempotency_key": pa.array([f"k{i}" for i in range(rows)]),
        "topic_name": pa.array(["t"] * rows),
        "period_reference": pa.array(["2026-01"] * rows),
        "correlation_id": pa.nulls(rows, pa.string()),
        "publish_time": moments,
        "ingestion_ts": moments,
        "_rescued": pa.nulls(rows, pa.string()),
        "_merge_seq": pa.array(range(rows), pa.int64()),
    }
    return pa.table(envelope | {name: pa.array(texts, pa.string()) for name, texts in columns.items()})


def cast(texts: list[str | None], **of: Any) -> CastResult:
    return cast_rows(curated(len(texts), a=texts), contract({"name": "a"} | of), KEY)


def value(text: str | None, **of: Any) -> Any:
    return cast([text], **of).good["a"][0].as_py()


INTEGER = {"logicalType": "integer"}
MONEY = {"logicalType": "number", "physicalType": "decimal(6,2)"}
DOUBLE = {"logicalType": "number"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("-0", 0),
        ("1.0", 1),
        ("1e2", 100),
        ("120e-1", 12),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775808", None),
        ("1.5", None),
        ("01", None),
        ("+1", None),
        (" 1", None),
        ("1_0", None),
        ("٣", None),
        ("1e999999999999", None),
        ("0e999999999999", 0),
        ("", None),
        ("true", None),
    ],
)
def test_an_integer_is_any_number_text_that_denotes_one(text: str, expected: int | None) -> None:
    assert value(text, **INTEGER) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.10", "1.10"),
        ("1.100000", "1.10"),
        ("1.101", None),
        ("9999.99", "9999.99"),
        ("10000", None),
        ("1e3", "1000.00"),
        ("1E-2", "0.01"),
        ("1e-3", None),
        ("-0.0", "0.00"),
        (".5", None),
        ("5.", None),
        ("NaN", None),
    ],
)
def test_a_decimal_is_exact_or_not_cast(text: str, expected: str | None) -> None:
    assert value(text, **MONEY) == (None if expected is None else Decimal(expected))


def test_a_double_is_the_nearest_one_and_finite() -> None:
    assert [value(t, **DOUBLE) for t in ("0.1", "1e400", "1e-400", "12345678901234567890.5")] == [
        0.1,
        None,
        0.0,
        12345678901234567890.5,
    ]


def test_zero_with_a_sign_is_the_zero_of_an_enum() -> None:
    for of in (INTEGER, DOUBLE, MONEY):
        assert cast(["-0", "0", "-0.0"], **of, enum=[{"value": 0}]).nulled == {}
        assert cast(["-0", "0", "1"], **of, enum=[{"value": -0.0}]).nulled == {("a", "enum"): 1}


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+00:01"])
def test_a_moment_beyond_the_years_1_to_9999_is_no_value(text: str) -> None:
    assert cast([text], logicalType="timestamp").nulled == {("a", "type"): 1}


def test_a_column_that_somebody_gave_a_type_is_read_as_its_text() -> None:
    rows = curated(2).append_column("a", pa.array([7, None], pa.int32()))
    assert cast_rows(rows, contract({"name": "a", **INTEGER}), KEY).good["a"].to_pylist() == [7, None]
    rows = curated(1).append_column("a", pa.array([{"b": 1}]))
    with pytest.raises(TableMismatch, match=r"column a of Curated: expected text, found struct"):
        cast_rows(rows, contract({"name": "a", **INTEGER}), KEY)


def test_booleans_are_true_and_false_only() -> None:
    found = cast(["true", "false", "True", "1", None], logicalType="boolean")
    assert found.good["a"].to_pylist() == [True, False, None, None, None]
    assert found.nulled == {("a", "type"): 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-02-28T23:59:59Z", datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)),
        ("2026-01-01t00:00:00.123456+02:00", datetime(2025, 12, 31, 22, 0, 0, 123456, tzinfo=UTC)),
        ("1969-12-31 23:59:59.5-00:30", datetime(1970, 1, 1, 0, 29, 59, 500000, tzinfo=UTC)),
        ("2026-01-01T00:00:00.1234560z", datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)),
        ("2026-01-01T00:00:00.1234567Z", None),
        ("2026-02-29T00:00:00Z", None),
        ("2026-01-01T00:00:00", None),
        ("2026-01-01T24:00:00Z", None),
        ("2026-01-01", None),
        ("0000-01-01T00:00:00Z", None),
        ("1767225600", None),
    ],
)
def test_a_timestamp_has_an_offset_and_at_most_microseconds(text: str, expected: datetime | None) -> None:
    assert value(text, logicalType="timestamp") == expected


def test_a_date_exists_in_the_calendar() -> None:
    found = cast(["2024-02-29", "2023-02-29", "2024-2-9", "2024-01-01T00:00:00Z"], logicalType="date")
    assert found.good["a"].to_pylist() == [date(2024, 2, 29), None, None, None]


def test_dates_and_timestamps_are_read_by_their_format() -> None:
    day = {"logicalType": "date", "logicalTypeOptions": {"format": "dd.MM.yyyy"}}
    assert value("09.02.2024", **day) == date(2024, 2, 9)
    assert value("2024-02-09", **day) is None
    moment = {"logicalType": "timestamp", "logicalTypeOptions": {"format": "yyyyMMdd'T'HHmmss.SSS"}}
    assert value("20240209T010203.004", **moment) == datetime(2024, 2, 9, 1, 2, 3, 4000, tzinfo=UTC)
    offset = {"logicalType": "timestamp", "logicalTypeOptions": {"format": "yyyy/MM/dd HH:mm XXX"}}
    assert value("2024/02/09 01:02 -01:00", **offset) == datetime(2024, 2, 9, 2, 2, tzinfo=UTC)


def test_arrays_stay_text_and_are_arrays() -> None:
    found = cast(['[1, {"a":1.10}]', "[", "{}", "x"], logicalType="array")
    assert found.good["a"].to_pylist() == ['[1, {"a":1.10}]', None, None, None]
    assert value("{}", logicalType="object") == "{}"


@pytest.mark.parametrize(
    ("of", "good", "bad"),
    [
        ({"logicalType": "string", "enum": [{"value": "x"}, {"value": "y"}]}, "y", "z"),
        ({"logicalType": "integer", "enum": [{"value": 1}, {"value": 10}]}, "1e1", "2"),
        (MONEY | {"enum": [{"value": 1.5}]}, "1.50", "1.51"),
        ({"logicalType": "string", "logicalTypeOptions": {"minLength": 2}}, "éé", "é"),
        ({"logicalType": "string", "logicalTypeOptions": {"maxLength": 2}}, "éé", "ééé"),
        ({"logicalType": "string", "logicalTypeOptions": {"pattern": "^[A-Z]{2}$"}}, "CH", "CHE"),
        (MONEY | {"logicalTypeOptions": {"minimum": 0.005}}, "0.01", "0.00"),
        (MONEY | {"logicalTypeOptions": {"exclusiveMinimum": 0.01}}, "0.02", "0.01"),
        (MONEY | {"logicalTypeOptions": {"maximum": 0.015}}, "0.01", "0.02"),
        (MONEY | {"logicalTypeOptions": {"exclusiveMaximum": 0.015}}, "0.01", "0.02"),
        (INTEGER | {"logicalTypeOptions": {"format": "u8"}}, "255", "256"),
        (INTEGER | {"logicalTypeOptions": {"format": "i32"}}, "2147483647", "2147483648"),
        (DOUBLE | {"logicalTypeOptions": {"maximum": 1}}, "1.0", "1.5"),
        (
            {"logicalType": "date", "logicalTypeOptions": {"maximum": "2026-01-01"}},
            "2026-01-01",
            "2026-01-02",
        ),
        (
            {"logicalType": "timestamp", "logicalTypeOptions": {"minimum": "2026-01-01T00:00:00Z"}},
            "2026-01-01T01:00:00+01:00",
            "2026-01-01T00:00:00+01:00",
        ),
    ],
)
def test_a_value_outside_of_its_limits_is_null_and_counted(of: dict[str, Any], good: str, bad: str) -> None:
    found = cast([good, bad], **of)
    assert [v is None for v in found.good["a"].to_pylist()] == [False, True]
    assert sum(found.nulled.values()) == 1


@pytest.mark.parametrize(
    ("bound", "kept"),
    [
        ("maximum", [True]),
        ("minimum", [False]),
        ("exclusive_minimum", [False]),
        ("exclusive_maximum", [True]),
    ],
)
def test_a_bound_that_the_type_cannot_hold_still_holds(bound: str, kept: list[bool]) -> None:
    (of,) = contract({"name": "a", **MONEY}).properties
    only: dict[str, Any] = {bound: Decimal(1_000_000)}
    of = replace(of, limits=Limits(**only))
    values = pa.array([Decimal("9999.99")], pa.decimal128(6, 2))
    assert [holds.to_pylist() for _rule, _expected, holds in rules(of, values)] == [kept]


def test_a_broken_critical_value_sends_the_row_to_quarantine_with_reasons() -> None:
    found = cast_rows(
        curated(3, a=["1", "x", None], b=["y", "y", None]),
        contract(
            {"name": "a", **INTEGER, "criticalDataElement": True},
            {"name": "b", "logicalType": "string", "criticalDataElement": True, "required": True},
        ),
        KEY,
    )
    assert found.good["idempotency_key"].to_pylist() == ["k0"]
    first, second = found.rejected.to_pylist()
    assert json.loads(first["reasons"]) == [
        {"column": "a", "rule": "type", "expected": "long", "found": "text"}
    ]
    assert [(r["column"], r["rule"], r["found"]) for r in json.loads(second["reasons"])] == [
        ("a", "missing", "nothing"),
        ("b", "missing", "nothing"),
    ]
    assert json.loads(first["row_json"])["a"] == "x"
    assert (first["_contract_version"], first["_source_merge_seq"]) == ("1.2.3", 1)
    assert found.nulled == {}


def test_a_source_column_that_curated_lacks_is_missing_in_every_row() -> None:
    late = contract(
        {"name": "b", "logicalType": "string", "required": True}, {"name": "c", "logicalType": "date"}
    )
    found = cast_rows(curated(2), late, KEY)
    assert found.good["b"].to_pylist() == [None, None]
    assert found.nulled == {("b", "missing"): 2}


def test_nulls_of_rejected_rows_are_not_counted() -> None:
    both = contract({"name": "a", **INTEGER, "criticalDataElement": True}, {"name": "b", **INTEGER})
    found = cast_rows(curated(2, a=["x", "1"], b=["x", "x"]), both, KEY)
    assert found.nulled == {("b", "type"): 1}


def pii(treatment: str) -> dict[str, Any]:
    return {"classification": "PII", "customProperties": [{"property": "piiTreatment", "value": treatment}]}


def test_personal_data_leaves_hashed_masked_or_not_at_all() -> None:
    rows = curated(2, e=["a@b.c", None], p=["12", "x"], n=["N", "N"])
    found = cast_rows(
        rows,
        contract(
            {"name": "e", "logicalType": "string", **pii("hash")},
            {"name": "p", **INTEGER, **pii("mask")},
            {"name": "n", "logicalType": "string", **pii("drop")},
        ),
        KEY,
    )
    assert found.good["e"].to_pylist() == [hmac.new(KEY, b"a@b.c", hashlib.sha256).hexdigest(), None]
    assert found.good["p"].to_pylist() == ["***", None]
    assert "n" not in found.good.column_names


def test_hashing_without_a_key_is_refused() -> None:
    hashed = contract({"name": "e", "logicalType": "string", **pii("hash")})
    with pytest.raises(MissingSetting, match="LEAN_OPS_PII_KEY_SECRET_ID"):
        cast_rows(curated(1, e=["x"]), hashed, b"")


@pytest.mark.parametrize("treatment", ["hash", "mask", "drop"])
def test_quarantine_never_shows_personal_data(treatment: str) -> None:
    secret = "secret@example.org"
    rows = curated(1, e=[secret], k=[None]).set_column(7, "_rescued", pa.array([f'{{"/E":"{secret}"}}']))
    of = {"logicalType": "string", "logicalTypeOptions": {"maxLength": 3}, "criticalDataElement": True}
    found = cast_rows(rows, contract({"name": "e", **of, **pii(treatment)}), KEY)
    (row,) = found.rejected.to_pylist()
    assert secret not in json.dumps(row, default=str)
    assert json.loads(row["reasons"])[0]["rule"] == "maxLength"


@pytest.mark.parametrize("treatment", ["hash", "mask", "drop"])
@pytest.mark.parametrize("below", ["e__address", "e___address", "e__a__b", "e__"])
def test_quarantine_shows_nothing_of_what_stands_below_personal_data(treatment: str, below: str) -> None:
    """A device that sends an object where the contract has a text: its leaves are other columns."""
    secret = "secret@example.org"
    others: dict[str, list[str | None]] = {below: [secret], "e_public": ["open"], "f__e__x": ["open"]}
    rows = curated(1, e=[None], k=[None], **others)
    of = {"logicalType": "string", "criticalDataElement": True}
    found = cast_rows(rows, contract({"name": "e", **of, **pii(treatment)}), KEY)
    (row,) = found.rejected.to_pylist()
    assert secret not in json.dumps(row, default=str)
    shown = json.loads(row["row_json"])
    assert (shown["e_public"], shown["f__e__x"]) == ("open", "open")
    assert (below in shown) is (treatment != "drop")


def test_a_property_of_its_own_below_personal_data_decides_for_itself() -> None:
    rows = curated(1, e=[None], e__kind=["home"], e__kind__x=["y"])
    found = cast_rows(
        rows,
        contract(
            {"name": "e", "logicalType": "string", "criticalDataElement": True, **pii("drop")},
            {"name": "kind", "logicalType": "string", "transformSourceObjects": ["e__kind"]},
        ),
        KEY,
    )
    shown = json.loads(found.rejected["row_json"][0].as_py())
    assert (shown["e__kind"], shown["e__kind__x"]) == ("home", "y")


def test_the_tables_have_the_columns_of_their_specifications() -> None:
    found = cast(["1"], **INTEGER)
    specs = REPOSITORY / "modules/storage/tables"
    semantic = TableSpec.load(specs, "semantic").with_columns(
        contract({"name": "a", **INTEGER}).semantic_columns()
    )
    quarantine = TableSpec.load(specs, "quarantine").schema
    assert [*found.good.column_names] == [f.name for f in semantic.schema.fields if f.name != "_merge_seq"]
    assert [*found.rejected.column_names] == [f.name for f in quarantine.fields if f.name != "_merge_seq"]


def test_the_contracts_of_the_repository_cast_no_rows_and_sliced_rows() -> None:
    events = load_contract((REPOSITORY / "contracts/events.yaml").read_text(), "events")
    rows = curated(
        9, device__id=["d"] * 9, device__type=["pump"] * 9, reading__value=[f"{i}.5" for i in range(9)]
    )
    assert cast_rows(rows.slice(0, 0), events, KEY).good.num_rows == 0
    chunked = pa.concat_tables([rows.slice(0, 4), rows.slice(4)]).slice(2, 5)
    found = cast_rows(chunked, events, KEY)
    assert found.good["reading_value"].to_pylist() == [Decimal(f"{i}.5") for i in range(2, 7)]
    assert found.good["_source_merge_seq"].to_pylist() == [2, 3, 4, 5, 6]


# ---- generated texts against the oracle

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
NUMBER_TEXTS = st.from_regex(NUMBER, fullmatch=True) | st.from_regex(
    r"-?(0|[1-9][0-9]{0,22})(\.[0-9]{0,5}0{0,4})?([eE][+-]?[0-9]{1,2})?", fullmatch=True
)


def number_oracle(text: str, precision: int, scale: int) -> Decimal | None:
    if not NUMBER.fullmatch(text) or len(text.lower().partition("e")[2].lstrip("+-0")) > 4:
        return None if not NUMBER.fullmatch(text) or Decimal(text.lower().partition("e")[0]) else Decimal(0)
    with localcontext(Context(prec=20000, Emax=999999, Emin=-999999)):
        number = Decimal(text)
        scaled = number.scaleb(scale)
        exact = scaled == scaled.to_integral_value() and abs(scaled) < 10**precision
        return number if exact else None


@settings(max_examples=cases(200), deadline=None)
@given(st.lists(NUMBER_TEXTS | st.text(max_size=4), max_size=8), st.integers(1, 38), st.data())
def test_any_text_casts_to_the_decimal_that_the_oracle_reads(
    texts: list[str], precision: int, data: Any
) -> None:
    scale = data.draw(st.integers(0, precision))
    found = cast([*texts], logicalType="number", physicalType=f"decimal({precision},{scale})")
    assert found.good["a"].to_pylist() == [number_oracle(text, precision, scale) for text in texts]


@settings(max_examples=cases(200), deadline=None)
@given(st.lists(NUMBER_TEXTS, max_size=8))
def test_any_number_casts_to_the_integer_that_the_oracle_reads(texts: list[str]) -> None:
    for physical, bits in (("int", 31), ("long", 63)):
        numbers = [number_oracle(text, 19, 0) for text in texts]
        fits = [None if n is None or not -(2**bits) <= n < 2**bits else int(n) for n in numbers]
        assert cast([*texts], logicalType="integer", physicalType=physical).good["a"].to_pylist() == fits


@settings(max_examples=cases(100), deadline=None)
@given(
    st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 28)),
    st.integers(-18 * 60, 18 * 60),
)
def test_any_moment_casts_to_itself(local: datetime, offset: int) -> None:
    sign, minutes = "-" if offset < 0 else "+", abs(offset)
    text = f"{local.isoformat()}{sign}{minutes // 60:02}:{minutes % 60:02}"
    expected = local.replace(tzinfo=UTC) - timedelta(minutes=offset)
    assert value(text, logicalType="timestamp") == expected
