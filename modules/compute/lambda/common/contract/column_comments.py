"""What a contract's description becomes as the comment of a column: one line that AWS Glue takes.

Glue refuses a table of which one column has a comment of more than 255 bytes, or with a character outside
its "single-line string pattern" (AWS Glue API, "Column structure" and "String patterns"): a line break, which
every YAML block text ends with, would fail every commit. The contract keeps the description as it is.
"""

import re
from typing import Final

LONGEST_BYTES: Final = 255
_CUT: Final = " …"
# What the pattern leaves out (all below a space but the tab, lone surrogates, U+FFFE and U+FFFF), and the
# characters that end a line elsewhere.
_REFUSED: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def column_comment(description: str | None) -> str | None:
    """The description on one line, cut between words where it is too long; None where it says nothing."""
    line = " ".join(_REFUSED.sub(" ", description or "").split())
    if not fits(line):
        kept = line.encode()[: LONGEST_BYTES - len(_CUT.encode())].decode(errors="ignore")
        line = (kept.rpartition(" ")[0] or kept) + _CUT
    return line or None


def fits(line: str) -> bool:
    """Whether a comment of one line is short enough for Glue."""
    return len(line.encode()) <= LONGEST_BYTES
