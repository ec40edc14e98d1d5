"""What commands print: tables and sentences for people, one JSON document for programs (``--json``).

Values come from devices and cannot be trusted to be harmless on a terminal: control characters, which
could move the cursor or rewrite what stands above, are shown as escapes.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

# Into a file or a pipe, lines are as long as they need to be.
_PIPED_WIDTH = 160
# Characters of a column, its frame included, below which values break into a letter a line.
_READABLE_COLUMN = 10
_BEYOND_ASCII = re.compile(r"[^\x20-\x7e\n]")
out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _PIPED_WIDTH)


def show_json(document: object) -> None:
    """Print ``document`` as JSON (see ``json_text``)."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json_text(document, indent=1, only_ascii=not unicode))


def json_text(document: object, indent: int | None = None, *, only_ascii: bool = False) -> str:
    """``document`` as JSON that any parser reads and that is harmless on a terminal.

    Times become ISO 8601 text; whatever JSON has no form for (NaN, a key that is no text) becomes text.
    Characters that cannot be printed, or that turn the direction of what is printed, are escapes.
    """
    text = json.dumps(_plain(document), ensure_ascii=only_ascii, allow_nan=False, indent=indent)
    return _BEYOND_ASCII.sub(
        lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text
    )


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
    err.print(Text(f"lean-ops: {harmless(text)}"), style="red", soft_wrap=True)


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
    """``value`` in the types that JSON has."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {
            name if isinstance(name, str) else str(_plain(name)): _plain(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime) else str(value)
