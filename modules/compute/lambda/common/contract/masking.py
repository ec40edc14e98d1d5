"""What a value looks like, without what it says: for people who have to mend a format, not to read data."""

import re
from typing import Final

_LONGEST: Final = 40
_CUT: Final = "…"
# Whatever is neither an ASCII letter or digit nor punctuation that formats are made of.
_OTHER: Final = re.compile(r"[^A-Za-z0-9 \-+.,:;/_@()\[\]{}\"'%#*&=<>|!?$~^\\`]")
_KINDS: Final = ((re.compile("[0-9]"), "9"), (re.compile("[A-Z]"), "A"), (re.compile("[a-z]"), "a"))


def shape(text: str) -> str:
    """``9`` for every digit, ``a`` and ``A`` for letters, ``?`` for other signs than ASCII punctuation.

    ``31.12.2026`` is ``99.99.9999``. After 40 characters it is cut: how long a value is may tell whose it is.
    """
    shown = text[:_LONGEST]
    for kind, sign in _KINDS:
        shown = kind.sub(sign, shown)
    shown = _OTHER.sub("?", shown)
    return f"{shown}{_CUT}" if len(text) > _LONGEST else shown
