"""Which tables are to be looked after now, by what is remembered of the last time, and by how many workers.

A table is due when its pointer is not the one that upkeep left behind, or its contract is another. What only
time brings, the end of a snapshot's or of an orphan's days, comes to tables that rest as well: they are due
once a day until even that has passed, and then never again until something changes, or a day of theirs is
past by the contract.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Self

from common.lake.pointers import never_committed
from common.lake.specifications import LAYERS, OPERATIONS, OPERATIONS_LAYER
from common.lake.upkeep import UpkeepPolicy

WORKERS: Final = 8
"""Invocations at once at most, of 15 minutes each: two hours of work an hour."""
FEW: Final = 25
"""So many tables are looked after by one invocation; sharing them out would only open more connections."""
_AGAIN: Final = timedelta(days=1)


@dataclass(frozen=True)
class Place:
    """One table: ``<layer>_<topic>`` in the catalog."""

    topic: str
    layer: str

    @property
    def name(self) -> str:
        """The table's name."""
        return f"{self.layer}_{self.topic}"

    @property
    def item(self) -> str:
        """Id of the item that remembers it."""
        return f"{self.topic}#upkeep-{self.layer}"

    @classmethod
    def of(cls, name: str) -> Self:
        """The place of a table's name."""
        layer, _, topic = name.partition("_")
        return cls(topic, layer)


@dataclass(frozen=True)
class Kept:
    """When a table was looked after last. Times in seconds since 1970; zero for never.

    ``pointer``: where upkeep left it. ``changed``: when it was last found changed by somebody else. ``past``:
    when rows of it will be past.
    """

    pointer: str = ""
    at: int = 0
    changed: int = 0
    past: int = 0

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        """What an item says; nothing, where it is damaged."""
        try:
            past = int(item.get("past", {"N": "0"})["N"])
            return cls(str(item["pointer"]["S"]), int(item["at"]["N"]), int(item["changed"]["N"]), past)
        except (KeyError, TypeError, ValueError):
            return cls()

    def as_item(self) -> dict[str, Any]:
        """The attributes of the item, beside its key."""
        return {
            "pointer": {"S": self.pointer},
            "at": {"N": str(self.at)},
            "changed": {"N": str(self.changed)},
            "past": {"N": str(self.past)},
        }

    def after(self, found: str, left: str, now: int, past: int = 0) -> Self:
        """After the table was found at ``found`` and left at ``left``; ``past``: when rows of it will be."""
        return type(self)(left, now, self.changed if found == self.pointer else now, past)

    def is_due(self, pointer: str, now: int, policy: UpkeepPolicy, contract: int = 0) -> bool:
        """Whether the table, at ``pointer`` and with a contract of that time, is to be looked after."""
        if pointer != self.pointer or contract >= self.at or 0 < self.past <= now:
            return True
        until = self.changed + (max(policy.snapshots_for, policy.orphans_for) + 2 * _AGAIN).total_seconds()
        return self.at + _AGAIN.total_seconds() <= now and self.at < until


def places(topics: Sequence[str], pointers: Mapping[str, str]) -> list[Place]:
    """Tables of the topics, and of what runs did, that somebody has committed to."""
    every = [Place(topic, layer) for topic in topics for layer in LAYERS]
    every += [Place(name, OPERATIONS_LAYER) for name in OPERATIONS]
    return [place for place in every if place.name in pointers and not never_committed(pointers[place.name])]


def due(
    known: Mapping[Place, Kept],
    pointers: Mapping[str, str],
    now: int,
    policy: UpkeepPolicy,
    contracts: Mapping[str, int],
) -> list[Place]:
    """Those to be looked after, the one first that has waited longest.

    ``contracts``: when the contracts of topics were last changed, in seconds since 1970.
    """
    found = [
        place
        for place, kept in known.items()
        if kept.is_due(pointers[place.name], now, policy, contracts.get(place.topic, -1))
    ]
    return sorted(found, key=lambda place: known[place].at)


def shares(found: Sequence[Place]) -> list[list[Place]]:
    """The tables shared out: to as many workers as needed, each with its part of those that wait longest."""
    workers = min(WORKERS, -(-len(found) // FEW))
    return [list(found[number::workers]) for number in range(workers)]
