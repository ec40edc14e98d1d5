"""What was measured, kept in a file, so that parts of the benchmark can be measured one at a time."""

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

MIB = 2**20


@dataclass
class Figure:
    """Seconds of every run, peak bytes of the process tree, bytes written; or why there are none.

    ``processor``: processor seconds of every run, where the engine works in its own process.
    """

    seconds: list[float] = field(default_factory=list)
    memory: int = 0
    written: int = 0
    missing: str = ""
    processor: list[float] = field(default_factory=list)

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
    """Figures by part and case, and other facts by part; every change is written to the file at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        stored = json.loads(path.read_text()) if path.exists() else {}
        self._cases = {
            part: {case: Figure(**values) for case, values in cases.items()}
            for part, cases in stored.get("cases", {}).items()
        }
        self._facts: dict[str, dict[str, float]] = stored.get("facts", {})

    def put(self, part: str, cases: Mapping[str, Figure], facts: Mapping[str, float] | None = None) -> None:
        """Replace what is known of a part."""
        self._cases[part], self._facts[part] = dict(cases), dict(facts or {})
        cases_as_json = {p: {c: asdict(f) for c, f in of.items()} for p, of in self._cases.items()}
        self._path.write_text(json.dumps({"cases": cases_as_json, "facts": self._facts}, indent=1))

    def case(self, part: str, label: str) -> Figure:
        """A figure, or one that says that it was not measured."""
        return self._cases.get(part, {}).get(label, Figure(missing="not measured"))

    def fact(self, part: str, name: str) -> float | None:
        """A fact of a part, or None."""
        return self._facts.get(part, {}).get(name)

    def cases(self) -> list[tuple[str, str, Figure]]:
        """Part, case and figure of everything measured."""
        return [(part, case, f) for part, cases in self._cases.items() for case, f in cases.items()]
