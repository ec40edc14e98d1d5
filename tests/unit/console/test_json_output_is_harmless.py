"""``--json`` prints what any JSON parser reads, and nothing that plays tricks on a terminal."""

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lean_ops.console.printing import json_text, show_json

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None))
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.dates(), inner) | st.tuples(inner)
    ),
    max_leaves=20,
)


def refuse(constant: str) -> Any:
    raise AssertionError(constant)


@settings(deadline=None)
@given(values)
def test_every_value_is_json_without_constants_and_tricks(value: Any) -> None:
    for only_ascii in (False, True):
        text = json_text(value, only_ascii=only_ascii)
        json.loads(text, parse_constant=refuse)
        assert text.isprintable()
        assert text.isascii() or not only_ascii
        text.encode()


@settings(deadline=None)
@given(st.text())
def test_a_text_comes_back_as_it_was(text: str) -> None:
    assert json.loads(json_text(text)) == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\u202eb", '"a\\u202eb"'),  # turns the direction
        ("a\u2066b\u200b", '"a\\u2066b\\u200b"'),
        ("a\x9bb\x7f", '"a\\u009bb\\u007f"'),  # C1: begins a terminal sequence
        ("\udc80", '"\\udc80"'),  # no character of any encoding
        ("é€😀", '"é€😀"'),
        (float("nan"), '"nan"'),
        ([float("-inf")], '["-inf"]'),
        ({date(2026, 1, 2): 1, None: 2}, '{"2026-01-02": 1, "None": 2}'),
        (datetime(2026, 1, 2), '"2026-01-02T00:00:00"'),
        (Decimal("1.10"), '"1.10"'),
    ],
)
def test_what_json_has_no_form_for_becomes_text(value: Any, expected: str) -> None:
    assert json_text(value) == expected


def test_it_is_one_document_of_indented_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"a": ["\u202e"]})
    assert capsys.readouterr().out == '{\n "a": [\n  "\\u202e"\n ]\n}\n'
