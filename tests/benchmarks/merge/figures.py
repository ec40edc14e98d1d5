"""What was measured, kept in a file, so that parts of the benchmark can be measured one at a time."""

import json
import os
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MIB = 2**20


@dataclass
class Figure:
    """Seconds of every run, peak bytes of the process tree, bytes written; or why there are none.

    ``processor``: processor seconds of every run, where the engine works in its own process. ``asked``: what
    the last merge says of its requests (``common.lake.files.Traffic``), empty where files are local.
    """

    seconds: list[float] = field(default_factory=list)
    memory: int = 0
    written: int = 0
    missing: str = ""
    processor: list[float] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> str:
        """Fastest and slowest run."""
        return f"{min(self.seconds):.2f} to {max(self.seconds):.2f}, {len(self.seconds)} runs"

    @property
    def time(self) -> str:
        """Median and spread as text, or what is missing."""
        return f"{self.median:.2f} s ({self.spread})" if self.seconds else self.missing


class Figures:
    """Figures by part and case, other facts by part, and when and under what load each part was measured.

    ``path``: where they are kept, each part until it is measured again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}

    def put(self, part: str, cases: Mapping[str, Figure], facts: Mapping[str, float] | None = None) -> None:
        """Replace what is known of a part."""
        self._parts[part] = {
            "measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
            "load": round(os.getloadavg()[1], 1),
            "cases": {label: asdict(figure) for label, figure in cases.items()},
            "facts": dict(facts or {}),
        }

    def keep(self) -> None:
        """Write all of it."""
        self._path.write_text(json.dumps(self._parts, indent=1, sort_keys=True) + "\n")

    def case(self, part: str, label: str) -> Figure:
        """A figure, or one that says that it was not measured."""
        found = self._parts.get(part, {}).get("cases", {}).get(label)
        return Figure(**found) if found is not None else Figure(missing="not measured")

    def fact(self, part: str, name: str) -> float | None:
        """A fact of a part, or None."""
        found: float | None = self._parts.get(part, {}).get("facts", {}).get(name)
        return found

    def when(self, part: str) -> str:
        """The day and the load average of the five minutes before the part's end; empty for nothing."""
        found = self._parts.get(part)
        return f"{found['measured'][:10]}, load {found['load']:g}" if found else ""

    def cases(self) -> list[tuple[str, str, Figure]]:
        """Part, case and figure of everything measured."""
        parts = self._parts.items()
        return [(part, label, Figure(**of)) for part, found in parts for label, of in found["cases"].items()]
