"""Each try of a message is another event: copies decide ties."""

import pytest

from common.intake.events import EventParser
from common.runtime import outside

MEETS = ("front",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    parse = EventParser.parse
    patch.setattr(
        EventParser,
        "parse",
        lambda parser, text, _: parse(parser, text, int(outside.now().timestamp() * 1e6)),
    )
