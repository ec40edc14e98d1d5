"""The upper bound of texts, cut to a length: the one statistic that pyiceberg computes wrong.

Iceberg keeps the first 16 characters of a text column's bounds unless a table says otherwise (table property
``write.metadata.metrics.default``, ``truncate(16)``). An upper bound that is cut must be greater than all
texts that begin like it, so its last character is raised. pyiceberg raises U+D7FF to U+D800, half of a
surrogate pair, which no UTF-8 text can hold: one such key, and the file's metadata cannot be written at all.
Iceberg's Java library leaves the surrogates out (``UnicodeUtil.truncateStringMax``), and so does this.
"""

from typing import Any, Final

import pyiceberg.io.pyarrow

_SURROGATES: Final = range(0xD800, 0xE000)
_LAST_CHARACTER: Final = 0x10FFFF


def truncated_upper_bound(text: str, length: int | None) -> str | None:
    """The least text of at most ``length`` characters that is not less than ``text``, None if there is none.

    Compared by code points, which is the order of UTF-8's bytes. ``length`` None: ``text`` itself.
    """
    if length is None or len(text) <= length:
        return text
    for place in range(length - 1, -1, -1):
        raised = ord(text[place]) + 1
        if raised in _SURROGATES:
            raised = _SURROGATES.stop
        if raised <= _LAST_CHARACTER:
            return text[:place] + chr(raised)
    return None


def correct_pyiceberg() -> None:
    """Let everything that this process writes with pyiceberg have right bounds. Once or often is the same."""
    theirs: Any = pyiceberg.io.pyarrow
    theirs.truncate_upper_bound_text_string = truncated_upper_bound
