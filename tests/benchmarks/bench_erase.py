"""What an erasure costs: one key and a thousand keys out of RAW and Curated, and the search at the end.

    python tests/benchmarks/bench_erase.py [--rows 10000000] [--runs 3] [--write]

Both tables hold ``--rows`` events of as many keys, in portions of a million as deliveries and runs make
them, on local files. Each run erases other keys, spread over all of time. Beside it stands what a user
would pick instead: pyiceberg's ``delete`` of the same keys from a copy of RAW, its old snapshots expired,
which leaves the files and their statistics lying about. Seconds of the clock. Bytes that had to be written
again are those of data files that hold one of the keys.
"""

import argparse
import json
import random
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
from page import write_section
from pyiceberg.catalog.sql import SqlCatalog

from common.lake.merge import StagedSource, merge
from common.lake.reading import any_of
from common.lake.rule import EVENT_RULE
from common.lake.specifications import TableSpec
from common.lake.upkeep import Doomed, erase, foresee_erasure
from common.layers.erased import NOTHING_ERASED
from lean_ops.operate.erase.certificate import wanted
from lean_ops.operate.erase.letters import Meant
from lean_ops.operate.erase.objects import Objects
from lean_ops.operate.erase.search import search

SPECIFICATIONS = Path(__file__).parents[2] / "modules/storage/tables"
START = datetime(2026, 5, 1, tzinfo=UTC)
PORTION = 1_000_000
DAYS = 30


class Lake:
    """RAW twice, and Curated, on local files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = SqlCatalog("t", uri=f"sqlite:///{folder}/c.db", warehouse=f"file://{folder}")
        self.catalog.create_namespace("lake")
        for name in ("raw", "plain", "curated"):
            spec = TableSpec.load(SPECIFICATIONS, "raw" if name == "plain" else name)
            spec.create(self.catalog, f"lake.{name}_t")

    def fill(self, rows: int) -> None:
        """Deliver and merge."""
        for number, first in enumerate(range(0, rows, PORTION)):
            events = portion(number, first, min(PORTION, rows - first))
            for name in ("raw", "plain"):
                table = self.catalog.load_table(f"lake.{name}_t")
                table.append(events.cast(table.schema().as_arrow()))
            curated = events.drop_columns(["json_payload", "operation"])
            with StagedSource.of(curated.to_batches(), EVENT_RULE, 2048) as source:
                merge(self.catalog, "lake.curated_t", source, checkpoint=None, run_id="r", evolve=False)


def portion(number: int, first: int, rows: int) -> pa.Table:
    """Events of ``rows`` keys, published on all days."""
    dice = np.random.default_rng(number)
    micros = int(START.timestamp() * 1e6) + dice.integers(0, DAYS * 86_400_000_000, rows)
    numbers = range(first, first + rows)
    keys = [f"key-{key:09d}" for key in numbers]
    times = pa.array(micros, pa.timestamp("us", "UTC"))
    payload = [json.dumps({"device": {"id": f"device-{key}"}, "value": key}) for key in numbers]
    columns: dict[str, Any] = {
        "message_id": [f"message-{key:09d}" for key in range(first, first + rows)],
        "idempotency_key": keys,
        "topic_name": ["t"] * rows,
        "period_reference": ["2026-05"] * rows,
        "correlation_id": pa.nulls(rows, pa.string()),
        "publish_time": times,
        "ingestion_ts": times,
        "json_payload": payload,
        "operation": pa.nulls(rows, pa.string()),
    }
    return pa.table(columns)


def erased(lake: Lake, name: str, keys: Sequence[str]) -> tuple[float, float]:
    """Seconds, and bytes written again to those that had to be."""
    doomed = Doomed.of_keys(pa.array(keys))
    table = lake.catalog.load_table(f"lake.{name}_t")
    holding = foresee_erasure(table, doomed).live
    sizes = {task.file.file_path: task.file.file_size_in_bytes for task in table.scan().plan_files()}
    start = time.perf_counter()
    done = erase(lake.catalog, f"lake.{name}_t", EVENT_RULE, doomed, run_id="r")
    took = time.perf_counter() - start
    if done.rows < len(keys):
        raise SystemExit(f"{name}: expected {len(keys)} rows erased, found {done.rows}")
    return took, done.bytes_read / sum(sizes[path] for path in holding)


def deleted(lake: Lake, keys: Sequence[str]) -> float:
    """Seconds of a plain delete, old snapshots expired."""
    table = lake.catalog.load_table("lake.plain_t")
    start = time.perf_counter()
    with warnings.catch_warnings(action="ignore"):
        table.delete(any_of("idempotency_key", keys))
    table.maintenance.expire_snapshots().older_than(datetime.now()).commit()  # noqa: DTZ005 - pyiceberg's own form
    return time.perf_counter() - start


class Folder:
    """A folder as S3 answers, for the search."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get_paginator(self, _operation: str) -> Any:
        return SimpleNamespace(paginate=lambda **_: [{"Versions": list(self._versions())}])

    def get_object(self, Key: str, **_request: Any) -> dict[str, Any]:
        return {"Body": BytesIO((self._root / Key).read_bytes())}

    def _versions(self) -> Iterator[dict[str, Any]]:
        for path in self._root.rglob("*_t/**/*"):
            if path.is_file() and "plain_t" not in path.parts:
                key, size = str(path.relative_to(self._root)), path.stat().st_size
                yield {"Key": key, "Size": size, "IsLatest": True, "LastModified": START}


def searched(lake: Lake, keys: Sequence[str]) -> tuple[float, int]:
    """Seconds to look for keys and a value of each in everything, and the bytes of files."""
    s3: Any = Folder(lake.folder)
    objects = Objects(s3, "lake")
    until = int((START + timedelta(days=365)).timestamp() * 1e6)
    meant = Meant("t", ("t",), frozenset(keys), until, NOTHING_ERASED)
    values = [key.replace("key-", "message-") for key in keys]
    start = time.perf_counter()
    found = search(objects, wanted(meant, values), objects.versions())
    if found.found:
        raise SystemExit(f"expected nothing left, found {len(found.found)} copies")
    return time.perf_counter() - start, found.bytes


def _line(what: str, keys: int, seconds: Sequence[float], more: str) -> str:
    low, high = min(seconds), max(seconds)
    return f"| {what} | {keys:,} | {statistics.median(seconds):.2f} s | {low:.2f} to {high:.2f} s | {more} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write the figures into docs/benchmarks.md")
    options = parser.parse_args()

    lines = [
        f"Tables of {options.rows:,} rows.",
        "",
        "| what | keys | median | fastest to slowest | bytes written again ÷ that had to be |",
        "|---|---|---|---|---|",
    ]
    folder = Path(tempfile.mkdtemp(prefix="bench-erase-"))
    try:
        lake = Lake(folder)
        lake.fill(options.rows)
        dice = random.Random(0)
        left = dice.sample(range(options.rows), 1_001 * options.runs)
        for count in (1, 1_000):
            runs: dict[str, list[tuple[float, float]]] = {"raw": [], "curated": []}
            plain, looked = [], []
            for _ in range(options.runs):
                keys = [f"key-{left.pop():09d}" for _ in range(count)]
                for name, measured in runs.items():
                    measured.append(erased(lake, name, keys))
                plain.append(deleted(lake, keys))
                looked.append(searched(lake, keys))
            for name, measured in runs.items():
                ratio = statistics.median(ratio for _, ratio in measured)
                label = {"raw": "**RAW**", "curated": "**Curated**"}[name]
                lines.append(_line(label, count, [seconds for seconds, _ in measured], f"{ratio:.2f}"))
            lines.append(_line("RAW, pyiceberg's delete", count, plain, "-"))
            size = looked[-1][1] / 2**20
            lines.append(_line(f"**the search**, {size:,.0f} MiB", count, [s for s, _ in looked], "-"))
    finally:
        shutil.rmtree(folder)
    text = "\n".join(lines)
    print(text)
    if options.write:
        write_section("Erasure", "python tests/benchmarks/bench_erase.py --write", text)


if __name__ == "__main__":
    main()
