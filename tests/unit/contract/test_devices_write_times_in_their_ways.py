"""Numbers since 1970 and several formats in turn are read exactly, or not at all."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.types import TimestamptzType

from common.contract.contracts import lint, load_contract
from common.contract.temporal_formats import EPOCHS, in_turn, named_format
from common.contract.typed_texts import read_texts
from common.runtime.errors import ContractError

from ...support.generated import cases

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
A_SECOND = {"epoch-s": 1, "epoch-ms": 10**3, "epoch-us": 10**6, "epoch-ns": 10**9}


def read(texts: list[str | None], *words: str) -> list[datetime | None]:
    way = in_turn(list(words), with_time=True)
    values: list[datetime | None] = read_texts(
        pa.array(texts, pa.string()), "timestamp", TimestamptzType(), way
    ).to_pylist()
    return values


def text_of(**said: Any) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v3.2.0", "kind": "DataContract", "id": "x", "version": "1.0.0",
            "schema": [{"name": "t", "properties": [{"name": "a", "description": "A field"} | said]}],
        }
    )  # fmt: skip


@pytest.mark.parametrize("word", EPOCHS)
def test_a_number_since_1970_is_a_moment(word: str) -> None:
    moment = datetime(2026, 2, 28, 12, 0, 0, 500_000, tzinfo=UTC)
    number = (moment - EPOCH) // timedelta(microseconds=1) * A_SECOND[word]
    text = str(Decimal(number) / 10**6)
    assert read([text, None, "soon", "", "9" * 30], word) == [moment, None, None, None, None]
    assert read(["0", "-1"], word)[0] == EPOCH


def test_what_microseconds_cannot_hold_is_not_read_and_nanoseconds_are_cut() -> None:
    assert read(["1.0000001", "1.5e0"], "epoch-s") == [None, EPOCH + timedelta(seconds=1.5)]
    assert read(["1999", "-1"], "epoch-ns") == [
        EPOCH + timedelta(microseconds=1), EPOCH - timedelta(microseconds=1),
    ]  # fmt: skip


def test_formats_are_tried_in_turn() -> None:
    texts = ["2026-02-28T12:00:00Z", "1772280000000", "28.02.2026 12:00", "never", None]
    noon = datetime(2026, 2, 28, 12, tzinfo=UTC)
    assert read(texts, "RFC3339", "epoch-ms", "dd.MM.yyyy HH:mm") == [noon, noon, noon, None, None]


def test_a_contract_says_one_format_or_several() -> None:
    one = text_of(logicalType="timestamp", logicalTypeOptions={"format": "epoch-ms"})
    assert load_contract(one, "t").properties[0].temporal_format == EPOCHS["epoch-ms"]
    assert lint(one, "t") == []
    ways = [{"property": "timeFormats", "value": ["RFC3339", "epoch-s"]}]
    several = load_contract(text_of(logicalType="timestamp", customProperties=ways), "t").properties[0]
    assert several.temporal_format == in_turn(["RFC3339", "epoch-s"], with_time=True)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"logicalType": "date", "logicalTypeOptions": {"format": "epoch-s"}}, "on a timestamp"),
        (
            {"logicalType": "string", "customProperties": [("timeFormats", ["epoch-s"])]},
            "one list of formats",
        ),
        (
            {"logicalType": "timestamp", "customProperties": [("timeFormats", "epoch-s")]},
            "one list of formats",
        ),
        ({"logicalType": "timestamp", "customProperties": [("timeFormats", [])]}, "one list of formats"),
        (
            {"logicalType": "timestamp", "customProperties": [("timeFormats", ["epoch-s"] * 2)]},
            "each format once",
        ),
        (
            {"logicalType": "timestamp", "customProperties": [("timeFormats", ["soon"])]},
            "expected fields among",
        ),
    ],
)
def test_a_format_that_is_none_is_refused(said: dict[str, Any], message: str) -> None:
    if pairs := said.get("customProperties"):
        said = said | {"customProperties": [{"property": name, "value": value} for name, value in pairs]}
    with pytest.raises(ContractError, match=message):
        load_contract(text_of(**said), "t")


def test_a_custom_property_that_nothing_reads_is_said() -> None:
    custom = [{"property": "timeFormat", "value": "epoch-s"}]
    (finding,) = lint(text_of(logicalType="string", customProperties=custom), "t")
    assert (finding.severity, "timeFormat" in finding.message) == ("warning", True)


@settings(max_examples=cases(50), deadline=None)
@given(
    st.sampled_from(sorted(EPOCHS)),
    st.lists(
        st.integers(-(10**20), 10**20).map(str) | st.decimals(allow_nan=False, places=7).map(str), max_size=8
    ),
)
def test_any_number_is_the_moment_that_plain_arithmetic_gives(word: str, texts: list[str]) -> None:
    assert read([*texts], word) == [oracle(text, A_SECOND[word]) for text in texts]


def oracle(text: str, a_second: int) -> datetime | None:
    try:
        micros = Decimal(text) * 10**6 / a_second
        whole = int(micros.to_integral_value("ROUND_FLOOR"))
        if whole != micros and a_second <= 10**6:
            return None
        return EPOCH + timedelta(microseconds=whole)
    except (ArithmeticError, ValueError):
        return None


def test_a_word_names_what_a_pattern_cannot() -> None:
    assert named_format("RFC3339", with_time=False).fields == {"year", "month", "day"}
