"""What was seen of a topic's layers, kept until something changes: the numbers follow from two times a layer.

Freshness grows from when the newest event was ingested, lag from when the oldest unread commit was made. They
stay true while no pointer and no checkpoint has changed, so that an idle topic's tables are not opened.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

LAYERS: Final = ("raw", "curated", "semantic")


@dataclass(frozen=True)
class Seen:
    """Times in seconds since 1970, by layer. ``at``: when this was looked at; 0 for never.

    ``newest``: when the newest event was ingested. ``unread``: since when its source has had something that
    the layer has not read, None for a layer that has read all. ``promised_s``: how late rows may be by the
    contract, None where it does not say.
    """

    digest: str = ""
    at: float = 0.0
    newest: Mapping[str, float] = field(default_factory=dict)
    unread: Mapping[str, float | None] = field(default_factory=dict)
    promised_s: float | None = None

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        """What an item says; nothing, where it is damaged."""
        try:
            said = json.loads(item["seen"]["S"])
            newest = {layer: float(time) for layer, time in said["newest"].items()}
            unread = {layer: None if time is None else float(time) for layer, time in said["unread"].items()}
            promised = said.get("promised_s")
            promised = None if promised is None else float(promised)
            return cls(str(said["digest"]), float(said["at"]), newest, unread, promised)
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls()

    def as_item(self) -> dict[str, Any]:
        """The attributes of the item, beside its key."""
        said = {"digest": self.digest, "at": self.at, "newest": self.newest, "unread": self.unread}
        said |= {"promised_s": self.promised_s}
        return {"seen": {"S": json.dumps(said, sort_keys=True)}}

    def freshness_s(self, now: float) -> dict[str, float]:
        """By layer, how long ago its newest event was ingested."""
        return {layer: now - time for layer, time in self.newest.items()}

    def late_s(self, now: float) -> float:
        """How much longer than promised a layer has had something to read; 0 where it is in time."""
        if self.promised_s is None:
            return 0.0
        return max(0.0, max(self.lag_s(now).values(), default=0.0) - self.promised_s)

    def lag_s(self, now: float) -> dict[str, float]:
        """By layer, how long it has had something to read."""
        return {layer: 0.0 if time is None else max(0.0, now - time) for layer, time in self.unread.items()}
