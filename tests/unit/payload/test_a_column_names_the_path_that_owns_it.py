"""The comment of a column names one path and no other, in a form that AWS Glue takes."""

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.payload.columns import NOTE, path_note

from ...support.generated import cases

# AWS Glue API, "Single-line string pattern": no control characters but tabs.
SINGLE_LINE = re.compile("[\t\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
KEYS = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["a", "a/b", "a~1b", "~", "", "\n", "\u2028", "\ud800"]
)
PATHS = st.lists(KEYS, min_size=1, max_size=4).map(tuple)


@settings(max_examples=cases(200), deadline=None)
@given(PATHS)
@example(("NO₂",))
@example(("\x7f\x85\r\n\u2028\ud800",))
@example(("é" * 200,))
@example(("😀" * 120, "b"))
@example(("k" * 100_000,))
def test_a_note_is_a_comment_that_glue_takes(path: tuple[str, ...]) -> None:
    note = path_note(path)
    assert note.startswith(NOTE)
    assert len(note.encode()) <= 255
    assert SINGLE_LINE.fullmatch(note)
    assert len(note.splitlines()) == 1


@settings(max_examples=cases(200), deadline=None)
@given(PATHS, PATHS)
@example(("a/b",), ("a", "b"))
@example(("a~1b",), ("a/b",))
@example(("k" * 300,), ("k" * 299 + "l",))
@example(("\ud800" * 300,), ("\ud801" * 300,))
def test_two_paths_have_two_notes(path: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert (path_note(path) == path_note(other)) == (path == other)
