"""The page as one file: what was seen once, to be kept or sent; no script, and nothing from a network."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from lean_ops.environment.target import Target
from lean_ops.sight import pages
from lean_ops.sight.watching import Watch

# Of all parts together: more than any takes, so that what is slow is in the file as well.
PATIENCE_S: Final = 120.0


def write(
    find: Callable[[], Target], place: pages.Place, path: Path, *, patience_s: float = PATIENCE_S
) -> int:
    """Write the file, whole or not at all; gives its size in bytes. What is unreadable is said in place."""
    watch = Watch(find, pages.parts())
    try:
        content = pages.file(watch, place=place, patience_s=patience_s).encode()
    finally:
        watch.close()
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return len(content)
