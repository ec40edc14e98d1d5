"""An upper bound cut to a length can be written as UTF-8 and is the least that is not less than the text."""

import pyiceberg.io.pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.lake.merge.bounds import correct_pyiceberg, truncated_upper_bound

EDGES = [
    "\0",
    "a",
    "\x7f",
    "\u07ff",
    "\ud7fe",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\U00010000",
    "\U0010fffe",
    "\U0010ffff",
]


@given(
    text=st.text(st.sampled_from(EDGES) | st.characters(codec="utf-8"), max_size=20),
    length=st.integers(1, 18),
)
def test_the_bound_is_text_not_less_and_not_longer(text: str, length: int) -> None:
    bound = truncated_upper_bound(text, length)
    if bound is None:
        assert set(text[:length]) == {"\U0010ffff"}
        return
    assert bound.encode() >= text.encode()
    assert len(bound) <= length
    # Nothing shorter than the text lies between: one character less at its end is less than the text.
    if bound != text:
        below = ord(bound[-1]) - 1
        assert bound[:-1] + chr(0xD7FF if below in range(0xD800, 0xE000) else below) <= text


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("a" * 15 + "\ud7ff" + "b", "a" * 15 + "\ue000"),
        ("a" * 15 + "\U0010ffff" + "b", "a" * 14 + "b"),
        ("\U0010ffff" * 17, None),
        ("a" * 16, "a" * 16),
    ],
)
def test_surrogates_are_left_out_and_the_last_character_goes_over(text: str, bound: str | None) -> None:
    assert truncated_upper_bound(text, 16) == bound


def test_pyiceberg_still_needs_to_be_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it does not, ``common.lake.merge.bounds`` can go."""
    from pyiceberg.utils.truncate import truncate_upper_bound_text_string as theirs

    assert theirs("a" * 15 + "\ud7ff" + "b", 16) == "a" * 15 + "\ud800"
    monkeypatch.setattr(pyiceberg.io.pyarrow, "truncate_upper_bound_text_string", theirs)
    correct_pyiceberg()
    assert vars(pyiceberg.io.pyarrow)["truncate_upper_bound_text_string"] is truncated_upper_bound
