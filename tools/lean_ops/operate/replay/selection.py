"""Which waiting events an operator means, and what is to be said about them: pure decisions on values."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from common.runtime.errors import InvalidInput

UNKNOWN_TOPIC: Final = "?"
_TOPIC: Final = re.compile(r"[a-z][a-z0-9_]*")
_AGO: Final = re.compile(r"([0-9]+)([mhd])")
_UNIT: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


@dataclass(frozen=True)
class Waiting:
    """An event that waits somewhere, as far as operators select and see it.

    ``topic`` is UNKNOWN_TOPIC where the event does not say. ``at``: since when it waits. ``ids``: every name
    it goes by, the one to show first. ``payload`` is shown on request only.
    """

    reason: str
    topic: str
    at: datetime
    ids: tuple[str, ...]
    detail: str = ""
    payload: str = field(default="", repr=False)


@dataclass(frozen=True)
class Selection:
    """Filters on waiting events; an empty one lets everything pass. ``since`` is included, ``until`` not."""

    reasons: frozenset[str] = frozenset()
    topic: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    ids: frozenset[str] = frozenset()

    @classmethod
    def parse(
        cls,
        reasons: Iterable[str] = (),
        topic: str | None = None,
        since: str | None = None,
        until: str | None = None,
        ids: Iterable[str] = (),
        *,
        now: datetime,
        known_reasons: frozenset[str] | None = None,
    ) -> "Selection":
        """A selection from an operator's words; raises InvalidInput naming the option that is wrong.

        Times are ISO 8601 with an offset, or an age: ``30m``, ``12h``, ``3d``. ``known_reasons``: every
        reason there is, None where the list is open.
        """
        for reason in reasons:
            if known_reasons is not None and reason not in known_reasons:
                raise InvalidInput(
                    f"--reason: expected one of {', '.join(sorted(known_reasons))}, found {reason!r}"
                )
        if topic is not None and not (_TOPIC.fullmatch(topic) or topic == UNKNOWN_TOPIC):
            raise InvalidInput(
                f"--topic: expected the name of a topic, or {UNKNOWN_TOPIC} for events that name none, "
                f"found {topic!r}"
            )
        begin, end = _time("--since", since, now), _time("--until", until, now)
        if begin is not None and end is not None and begin >= end:
            raise InvalidInput(f"--since, --until: expected a time before another, found {since} and {until}")
        return cls(frozenset(reasons), topic, begin, end, frozenset(ids))

    def takes(self, waiting: Waiting) -> bool:
        """Whether ``waiting`` is meant."""
        return (
            (not self.reasons or waiting.reason in self.reasons)
            and (self.topic is None or waiting.topic == self.topic)
            and (self.since is None or waiting.at >= self.since)
            and (self.until is None or waiting.at < self.until)
            and (not self.ids or not self.ids.isdisjoint(waiting.ids))
        )

    def as_json(self) -> dict[str, Any]:
        """The filters that are set, as JSON values."""
        everything = {
            "reason": sorted(self.reasons),
            "topic": self.topic,
            "since": self.since.isoformat() if self.since else None,
            "until": self.until.isoformat() if self.until else None,
            "id": sorted(self.ids),
        }
        return {name: value for name, value in everything.items() if value}


@dataclass
class Tally:
    """Waiting events counted by reason and topic, their time span, and the first few of each reason."""

    samples_each: int = 3
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    oldest: datetime | None = None
    newest: datetime | None = None
    samples: list[Waiting] = field(default_factory=list)
    _of_reason: Counter[str] = field(default_factory=Counter, repr=False)

    @property
    def total(self) -> int:
        """All events counted."""
        return self.counts.total()

    def add(self, waiting: Waiting) -> None:
        """Count one event."""
        self.counts[waiting.reason, waiting.topic] += 1
        self.oldest = min(self.oldest or waiting.at, waiting.at)
        self.newest = max(self.newest or waiting.at, waiting.at)
        self._of_reason[waiting.reason] += 1
        if self._of_reason[waiting.reason] <= self.samples_each:
            self.samples.append(waiting)

    def as_json(self, *, payload: bool) -> dict[str, Any]:
        """Counts, times and samples as JSON values; payloads only with ``payload``."""
        return {
            "messages": self.total,
            "counts": [
                {"reason": reason, "topic": topic, "messages": count}
                for (reason, topic), count in sorted(self.counts.items())
            ],
            "oldest": self.oldest,
            "newest": self.newest,
            "samples": [
                {
                    "reason": sample.reason,
                    "topic": sample.topic,
                    "at": sample.at,
                    "ids": sample.ids,
                    "detail": sample.detail,
                    **({"payload": sample.payload} if payload else {}),
                }
                for sample in self.samples
            ],
        }


def _time(option: str, text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    try:
        if age := _AGO.fullmatch(text):
            return now - int(age[1]) * _UNIT[age[2]]
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except OverflowError as error:  # the calendar has the years 1 to 9999, by UTC
        raise InvalidInput(f"{option}: expected a time of the calendar, found {text[:40]!r}") from error
    except ValueError:
        pass  # said below: it is neither form
    raise InvalidInput(
        f"{option}: expected a time with its offset (2026-02-28T12:00:00Z) or an age (30m, 12h, 3d), "
        f"found {text[:40]!r}"
    )
