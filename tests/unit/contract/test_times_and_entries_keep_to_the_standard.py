"""Times of day, times of a zone, and what is said of arrays, objects and multiples, against plain oracles."""

import json
from datetime import UTC, datetime, time
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from common.contract.changes import review
from common.contract.contracts import lint, load_contract
from common.contract.limits import rules
from common.contract.properties import Property
from common.contract.typed_texts import read_texts
from common.runtime.errors import ContractError


def text_of(*, version: str = "1.0.0", **said: Any) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v3.2.0", "kind": "DataContract", "id": "x", "version": version,
            "schema": [{"name": "t", "properties": [{"name": "a", "description": "A field"} | said]}],
        }
    )  # fmt: skip


def one(logical_type: str, **options: Any) -> Property:
    said: dict[str, Any] = {"logicalType": logical_type} | (
        {"logicalTypeOptions": options} if options else {}
    )
    return load_contract(text_of(**said), "t").properties[0]


def read(of: Property, *texts: str | None) -> list[Any]:
    """What becomes of texts: the value, or None where it is none or breaks a rule."""
    values = read_texts(pa.array(texts, pa.string()), of.logical_type, of.value_type, of.temporal_format)
    kept = [value.as_py() for value in values]
    for _rule, _expected, holds in rules(of, values):
        kept = [value if good.as_py() is not False else None for value, good in zip(kept, holds, strict=True)]
    return kept


ZONES = ("Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu")


@given(
    st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), min_size=1, max_size=20),
    st.sampled_from(ZONES),
)
@example([datetime(2026, 3, 29, 2, 30), datetime(2026, 10, 25, 2, 30)], "Europe/Berlin")
@example([datetime(2011, 12, 30, 12), datetime(2011, 12, 29, 23), datetime(2011, 12, 31)], "Pacific/Apia")
@example([datetime(2018, 11, 4), datetime(2018, 2, 17, 23, 30)], "America/Sao_Paulo")
@example([datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)], "Europe/Berlin")
def test_a_time_without_an_offset_is_of_the_zone_if_clocks_show_it_once(
    moments: list[datetime], zone: str
) -> None:
    expected = []
    for moment in moments:
        early, late = (moment.replace(tzinfo=ZoneInfo(zone), fold=fold).utcoffset() for fold in (0, 1))
        assert early is not None
        in_utc = None
        if early == late:
            try:
                in_utc = (moment - early).replace(tzinfo=UTC)
            except OverflowError:
                in_utc = None
        expected.append(in_utc)
    of = one("timestamp", defaultTimezone=zone, format="yyyy-MM-dd HH:mm:ss.SSSSSS")
    texts = [f"{moment:%m-%d %H:%M:%S.%f}" for moment in moments]
    found = read(of, *(f"{m.year:04}-{text}" for m, text in zip(moments, texts, strict=True)))
    assert found == expected


def test_without_a_format_an_offset_is_taken_and_a_zone_stands_in() -> None:
    of = one("timestamp", defaultTimezone="Europe/Berlin")
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert read(of, "2026-01-01T13:00:00", "2026-01-01T12:00:00Z", "2026-01-01T07:00:00-05:00") == [noon] * 3
    local = one("timestamp", timezone=False)
    assert read(local, "2026-01-01T12:00:00", "2026-01-01T12:00:00Z") == [noon, None]
    with_offset = one("timestamp", timezone=True, format="yyyy-MM-dd HH:mm:ssZ", defaultTimezone="Asia/Tokyo")
    assert read(with_offset, "2026-01-01 13:00:00+0100") == [noon]
    bound = one(
        "timestamp", format="yyyy-MM-dd HH:mm", defaultTimezone="Asia/Tokyo", minimum="2026-01-01 21:00:00"
    )
    assert bound.limits.minimum == noon


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"logicalType": "timestamp", "logicalTypeOptions": {"defaultTimezone": "Mars/Olympus"}}, "IANA"),
        ({"logicalType": "timestamp", "logicalTypeOptions": {"defaultTimezone": "../../etc/passwd"}}, "IANA"),
        ({"logicalType": "timestamp", "logicalTypeOptions": {"defaultTimezone": 2}}, "IANA"),
        ({"logicalType": "timestamp", "logicalTypeOptions": {"timezone": "yes"}}, "true or false"),
        (
            {
                "logicalType": "timestamp",
                "logicalTypeOptions": {"timezone": True, "format": "yyyy-MM-dd HH:mm"},
            },
            "expected formats with an offset",
        ),
        (
            {
                "logicalType": "timestamp",
                "logicalTypeOptions": {"timezone": False, "format": "yyyy-MM-dd HH:mmXXX"},
            },
            "expected formats with no offset",
        ),
        ({"logicalType": "time", "logicalTypeOptions": {"timezone": True}}, "no moment that sorts"),
        ({"logicalType": "time", "logicalTypeOptions": {"minimum": 45000}}, "in quotes"),
        ({"logicalType": "time", "logicalTypeOptions": {"minimum": "25:00"}}, "a time of day"),
        ({"logicalType": "time", "logicalTypeOptions": {"minimum": "12:00", "maximum": "11:00"}}, "no value"),
        ({"logicalType": "time", "logicalTypeOptions": {"format": "HH"}}, "expected the minute"),
        ({"logicalType": "time", "logicalTypeOptions": {"format": "yyyy HH:mm"}}, "found the year"),
        ({"logicalType": "time", "logicalTypeOptions": {"format": "epoch-s"}}, "of a time of day"),
        ({"logicalType": "array", "logicalTypeOptions": {"minItems": 3, "maxItems": 2}}, "no value"),
        ({"logicalType": "array", "logicalTypeOptions": {"uniqueItems": 1}}, "true or false"),
        ({"logicalType": "object", "logicalTypeOptions": {"required": "a"}}, "a list of names"),
        ({"logicalType": "integer", "logicalTypeOptions": {"multipleOf": 0}}, "above 0"),
    ],
)
def test_what_no_value_could_keep_to_is_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError) as refused:
        load_contract(text_of(**said), "t")
    assert message in str(refused.value)


@given(st.times(), st.times(), st.times())
def test_times_of_day_are_texts_that_sort_and_keep_to_limits(a: time, b: time, bound: time) -> None:
    of = one("time", minimum=bound.isoformat())
    texts = read(of, a.isoformat(), b.isoformat())
    assert texts == [t.isoformat() if t >= bound else None for t in (a, b)]
    free = read(one("time"), a.isoformat(), b.isoformat())
    assert (free[0] < free[1]) == (a < b)


def test_a_time_of_day_is_written_in_one_way_however_it_came() -> None:
    assert read(one("time", format="HH.mm"), "08.30", "8.30", "24.00", None) == ["08:30:00", None, None, None]
    assert read(one("time"), "08:30:00.5", "08:30:00.123456789") == ["08:30:00.500000", None]
    several = load_contract(
        text_of(
            logicalType="time", customProperties=[{"property": "timeFormats", "value": ["HHmm", "HH:mm"]}]
        ),
        "t",
    ).properties[0]
    assert read(several, "0830", "08:30") == ["08:30:00"] * 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", 1.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)


@given(st.lists(json_values, max_size=5), st.integers(0, 3), st.integers(3, 5), st.booleans())
def test_entries_of_arrays_are_counted_and_told_apart(
    entries: list[Any], least: int, most: int, unique: bool
) -> None:
    def same(a: Any, b: Any) -> bool:
        if isinstance(a, bool) or isinstance(b, bool) or type(a) is not type(b):
            return a is b or (type(a) in (int, float) and type(b) in (int, float) and a == b)
        if isinstance(a, list):
            return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
        return bool(a == b)

    differ = not any(same(x, y) for i, x in enumerate(entries) for y in entries[:i])
    holds = least <= len(entries) <= most and (differ or not unique)
    text = json.dumps(entries)
    of = one("array", minItems=least, maxItems=most, uniqueItems=unique)
    assert read(of, text, None) == [text if holds else None, None]


def test_fields_of_objects_are_counted_and_required() -> None:
    of = one("object", minProperties=1, maxProperties=2, required=["a"])
    assert read(of, "{}", '{"a": 1}', '{"b": 1}', '{"a": 1, "b": 2, "c": 3}') == [
        None,
        '{"a": 1}',
        None,
        None,
    ]
    text = text_of(logicalType="object", logicalTypeOptions={"maxProperties": 2})
    assert "only empty objects come into this column" in str(lint(text, "t")[0])


@given(st.integers(-1000, 1000), st.sampled_from([0.1, 0.25, 1, 3, 7]))
def test_multiples_are_those_of_the_number_that_is_written(number: int, step: float) -> None:
    text = str(number / 10)
    expected = float(text) if Fraction(text) % Fraction(str(step)) == 0 else None
    assert read(one("number", multipleOf=step), text) == [expected]


def test_a_tighter_shape_needs_a_major_version() -> None:
    loose = text_of(logicalType="array")
    tight = text_of(version="1.1.0", logicalType="array", logicalTypeOptions={"uniqueItems": True})
    (found, *_) = review(tight, "t", loose)
    assert "unique_items changed from False to True; this needs version 2.0.0" in found.message
    assert found.line is not None
    zoned = text_of(
        version="1.1.0", logicalType="timestamp", logicalTypeOptions={"defaultTimezone": "Asia/Tokyo"}
    )
    assert "reads its source in another way" in str(review(zoned, "t", text_of(logicalType="timestamp"))[0])
