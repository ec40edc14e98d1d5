"""Topic filters of MQTT (MQTT 3.1.1, section 4.7), with names for single levels: ``plant/{line}/+/up``."""

import re
from typing import Final

_NAMED: Final = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


class FilterError(ValueError):
    """A topic filter is none."""


class MqttFilter:
    """One filter. ``captures``: names of its levels, by position."""

    def __init__(self, written: str) -> None:
        self.written: Final = written
        levels = written.split("/")
        self.open_end: Final = levels[-1] == "#"
        """Whether it takes whatever comes after its last level, and a topic that ends before that."""
        if self.open_end:
            levels.pop()
        self.captures: Final[dict[str, int]] = {}
        self.levels: Final[list[str | None]] = []
        """Of each level the text that it must be, None for any."""
        for position, level in enumerate(levels):
            named = _NAMED.fullmatch(level)
            if named and named[1] in self.captures:
                raise FilterError(f"expected each name once, found {{{named[1]}}} again")
            if named:
                self.captures[named[1]] = position
            elif level != "+" and any(mark in level for mark in "+#{}"):
                raise FilterError(
                    "expected +, # (at the end) or {name} as a whole level, found one as a part of a level"
                )
            self.levels.append(None if named or level == "+" else level)

    @property
    def begins_with_wildcard(self) -> bool:
        """Whether any first level fits, but for one that begins with ``$``."""
        return not self.levels or self.levels[0] is None

    @property
    def begins_with_dollar(self) -> bool:
        """Whether it is for topics of the broker itself."""
        return bool(self.levels) and (self.levels[0] or "").startswith("$")

    def match(self, topic: str) -> dict[str, str] | None:
        """The named levels of a topic that fits, None for one that does not.

        A filter that begins with a wildcard takes no topic that begins with ``$`` (section 4.7.2).
        """
        found = topic.split("/")
        if len(found) < len(self.levels) or (len(found) > len(self.levels) and not self.open_end):
            return None
        if topic.startswith("$") and self.begins_with_wildcard:
            return None
        for wanted, level in zip(self.levels, found, strict=False):
            if wanted is not None and wanted != level:
                return None
        return {name: found[position] for name, position in self.captures.items()}

    def meets(self, other: "MqttFilter") -> bool:
        """Whether a topic may fit both."""
        if any(
            one.begins_with_wildcard and two.begins_with_dollar for one, two in ((self, other), (other, self))
        ):
            return False
        for ours, theirs in zip(self.levels, other.levels, strict=False):
            if ours is not None and theirs is not None and ours != theirs:
                return False
        shorter, longer = sorted((self, other), key=lambda one: len(one.levels))
        if len(shorter.levels) != len(longer.levels):
            return shorter.open_end
        return True
