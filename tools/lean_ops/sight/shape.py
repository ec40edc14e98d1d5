"""The shape of one table: its partitions with files and rows, as a heat map."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from lean_ops.environment import lake
from lean_ops.environment.target import Target

ROWS: Final = 31
COLUMNS: Final = 16


@dataclass(frozen=True)
class Cell:
    """One partition, or several that are drawn as one."""

    files: int = 0
    rows: int = 0


@dataclass(frozen=True)
class HeatMap:
    """Partitions of a table. ``names`` of the lines, the newest first; ``columns``: names of the columns.

    ``older``: lines that are not shown. ``state``: rows, files and snapshots of the table.
    """

    state: lake.TableState
    by: str
    across: str
    names: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    older: int

    @property
    def most(self) -> int:
        """Files of the fullest cell."""
        return max((cell.files for line in self.cells for cell in line), default=0)


def read(target: Target, name: str) -> HeatMap:
    """The heat map of the table ``name``; raises TableMissing, TableUnreadable."""
    table = lake.open_whole(target.catalog(), f"{target.database}.{name}")
    fields = table.spec().fields
    labels = [field.name for field in fields]
    # The bucket of the key goes across; all before it make one line.
    across = 1 if len(fields) > 1 and str(fields[-1].transform).startswith("bucket") else 0
    files: Counter[tuple[str, str]] = Counter()
    rows: Counter[tuple[str, str]] = Counter()
    for task in table.scan().plan_files() if table.current_snapshot() else ():
        values = (
            [
                field.transform.to_human_string(
                    table.schema().find_type(field.source_id), task.file.partition[number]
                )
                for number, field in enumerate(fields)
            ]
            if table.specs()[task.file.spec_id] == table.spec()
            else ["of an earlier spec"] * len(fields)
        )
        line = " · ".join(dict.fromkeys(values[: len(values) - across])) or "all"
        column = values[-1] if across else ""
        files[line, column] += 1
        rows[line, column] += task.file.record_count
    names = sorted({line for line, _ in files}, reverse=True)
    columns = sorted({column for _, column in files}, key=_in_order)[:COLUMNS]
    return HeatMap(
        lake.state(table),
        " · ".join(labels[: len(labels) - across]),
        labels[-1] if across else "",
        tuple(names[:ROWS]),
        tuple(columns),
        tuple(
            tuple(Cell(files[line, column], rows[line, column]) for column in columns)
            for line in names[:ROWS]
        ),
        max(0, len(names) - ROWS),
    )


def _in_order(name: str) -> tuple[int, Any]:
    return (0, int(name)) if name.isdigit() else (1, name)
