"""A query's rows as a new file: CSV, NDJSON or Parquet, written whole or not at all."""

import csv
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from common.runtime.errors import InvalidInput
from lean_ops.console.printing import json_text
from lean_ops.environment.fetched import Rows

_SUFFIXES: Final = (".csv", ".ndjson", ".parquet")


def check_export(path: Path) -> None:
    """Raise InvalidInput for a file that ``export`` will not write: of another kind, or there already."""
    if path.suffix.lower() not in _SUFFIXES:
        raise InvalidInput(
            f"--write-to: expected a name ending in {', '.join(_SUFFIXES)}; found {str(path)!r}"
        )
    if path.exists() or path.is_symlink():
        raise InvalidInput(
            f"--write-to: expected a new file, found {str(path)!r} there; remove it or name another"
        )
    if not path.parent.is_dir():
        raise InvalidInput(f"--write-to: expected an existing folder, found none at {str(path.parent)!r}")


def export(result: Rows, path: Path) -> int:
    """Write every row of ``result`` to ``path``, which nobody but its owner may read; returns how many."""
    writers: dict[str, Callable[[Rows, Path], int]] = {
        ".csv": _csv,
        ".ndjson": _ndjson,
        ".parquet": _parquet,
    }
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # readable by its owner alone
    os.close(handle)
    draft = Path(name)
    try:
        rows = writers[path.suffix.lower()](result, draft)
        os.link(draft, path)  # unlike a rename it replaces nothing that appeared meanwhile
    except FileExistsError as error:
        raise InvalidInput(f"--write-to: expected a new file, found {str(path)!r} there by now") from error
    finally:
        draft.unlink(missing_ok=True)
    return rows


def _csv(result: Rows, draft: Path) -> int:
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(result.columns)
        return sum(1 for row in result.rows() if writer.writerow([_cell(value) for value in row]))


def _parquet(result: Rows, draft: Path) -> int:
    reader = result.arrow()
    rows = 0
    with pq.ParquetWriter(draft, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _ndjson(result: Rows, draft: Path) -> int:
    rows = 0
    with draft.open("w", encoding="utf-8") as file:
        for row in result.rows():
            file.write(json_text(dict(zip(result.columns, row, strict=True))) + "\n")
            rows += 1
    return rows


def _cell(value: object) -> str:
    """One value as text: nothing for null, texts as they are, all others as in JSON."""
    if value is None:
        return ""
    text = json_text(value)
    return value if isinstance(value, str) else json.loads(text) if text.startswith('"') else text
