"""The section of the runbook that answers an alarm, as text."""

import re
from functools import cache
from typing import Final

from lean_ops.environment.repository import ROOT

_HEADING: Final = re.compile(r"^(#{2,4}) +(.+?) *$", re.M)


def section(page: str) -> str:
    """What stands under the heading that ``docs/runbook.md#name`` names; empty where there is none."""
    path, _, name = page.partition("#")
    return _sections(path).get(name, "") if name else ""


@cache
def _sections(path: str) -> dict[str, str]:
    text = (ROOT / path).read_text()
    headings = list(_HEADING.finditer(text))
    found = {}
    for number, heading in enumerate(headings):
        end = headings[number + 1].start() if number + 1 < len(headings) else len(text)
        found[heading[2].strip("`").lower().replace(" ", "-")] = text[heading.end() : end].strip()
    return found
