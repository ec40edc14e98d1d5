"""The page that benchmarks write their figures into: ``docs/benchmarks.md``, one section each."""

from datetime import UTC, datetime
from pathlib import Path

import psutil

PAGE = Path(__file__).parents[2] / "docs/benchmarks.md"


def write_section(title: str, command: str, text: str) -> None:
    """Replace the section ``title`` of the page, or add it at its end; says when, where and how measured."""
    memory = psutil.virtual_memory().total / 2**30
    measured = (
        f"Measured {datetime.now(UTC):%Y-%m-%d} with `{command}` on {psutil.cpu_count()} cores, "
        f"{memory:.0f} GiB; load average {psutil.getloadavg()[1]:.1f} over the five minutes before the end."
    )
    section = f"## {title}\n\n{measured}\n\n{text.strip()}\n"
    whole = PAGE.read_text() if PAGE.exists() else "# Benchmarks\n"
    head, found, rest = whole.partition(f"## {title}\n")
    after = rest[rest.find("\n## ") + 1 :] if found and "\n## " in rest else ""
    PAGE.write_text("\n\n".join(part.strip() for part in (head, section, after) if part.strip()) + "\n")
