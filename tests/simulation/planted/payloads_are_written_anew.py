"""Numbers and order of a payload are no longer as they were sent."""

import json

import pytest

from common.intake.events import EventParser

MEETS = ("front",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    parse = EventParser.parse

    def tidy(parser: EventParser, text: str, sent_us: int) -> tuple[str, bytes]:
        topic, record = parse(parser, text, sent_us)
        found = json.loads(record)
        if found["json_payload"] is not None:
            found["json_payload"] = json.dumps(json.loads(found["json_payload"]), separators=(",", ":"))
        return topic, json.dumps(found).encode()

    patch.setattr(EventParser, "parse", tidy)
