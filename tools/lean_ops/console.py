"""What commands print: tables and sentences for people, one JSON document for programs (``--json``).

Values come from devices and cannot be trusted to be harmless on a terminal: control characters, which
could move the cursor or rewrite what stands above, are shown as escapes.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

# Into a file or a pipe, lines are as long as they need to be.
_PIPED_WIDTH = 160
# Characters of a column, its frame included, below which values break into a letter a line.
_READABLE_COLUMN = 10
out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _PIPED_WIDTH)


def show_json(document: object) -> None:
    """Print ``document`` as JSON. Times become ISO 8601 text; whatever JSON has no form for becomes text."""
    print(json.dumps(document, default=_plain, ensure_ascii=False, indent=1))


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their column names; numbers are set to the right."""
    listed = [list(row) for row in rows]
    if title:
        out.print(Text(title, style="bold"), soft_wrap=True)
    table = Table(header_style="bold")
    for position, name in enumerate(columns):
        numeric = bool(listed) and all(isinstance(row[position], int | float | None) for row in listed)
        table.add_column(harmless(name), justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        table.add_row(*(Text(_cell(value)) for value in row))
    out.print(table)


def show_result(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as a table, or where its columns would be too narrow to read, each row as one of its own."""
    if len(columns) * _READABLE_COLUMN <= out.width:
        show_table("", columns, rows)
        return
    for number, row in enumerate(rows, start=1):
        values = [(name, _cell(value)) for name, value in zip(columns, row, strict=True)]
        show_table(f"row {number}", ["column", "value"], values)
    if not rows:
        say(f"No rows; columns: {', '.join(columns)}")


def say(text: str, style: str = "") -> None:
    """Print one line for people."""
    out.print(Text(harmless(text)), style=style, soft_wrap=True)


def complain(text: str) -> None:
    """Print one line to standard error."""
    err.print(Text(f"lean-ops: {harmless(text)}"), style="red")


def progress(*, quiet: bool) -> Progress:
    """A progress bar on standard error that disappears when done; none with ``quiet``."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=quiet,
    )


def harmless(text: str) -> str:
    """``text`` with control characters (but line end and tab) shown as escapes."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def human_bytes(size: float) -> str:
    """A size in the unit that reads best, for example ``1.5 MB`` (10^6 bytes)."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return harmless(str(value))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
