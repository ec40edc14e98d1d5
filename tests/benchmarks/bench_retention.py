"""What it costs to drop one of thirty days: time, and bytes of data that are written for it (none).

    python tests/benchmarks/bench_retention.py [--rows 20000] [--runs 5] [--write]

Curated with ``--rows`` rows a day, merged day by day, on local files; each run drops the oldest day that is
left. Beside it the same day deleted as a user would with pyiceberg (``Table.delete``), from a copy of the
lake, and a merge of late rows for a dropped day and for one that is kept.
"""

import argparse
import shutil
import statistics
import tempfile
import time
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from page import write_section
from pyiceberg.catalog.sql import SqlCatalog

from common.lake.merge import StagedSource, merge
from common.lake.rule import EVENT_RULE
from common.lake.specifications import TableSpec
from common.lake.upkeep import RowRetention, drop_past

SPECIFICATIONS = Path(__file__).parents[2] / "modules/storage/tables"
START = datetime(2026, 5, 1, tzinfo=UTC)
NAME = "lake.curated_t"
DAYS = 30


def catalog(folder: Path) -> SqlCatalog:
    """The lake in a folder."""
    return SqlCatalog("t", uri=f"sqlite:///{folder}/c.db", warehouse=f"file://{folder}")


def rows_of(day: int, rows: int, prefix: str = "k") -> list[dict[str, Any]]:
    """Rows of a day, of ten texts each."""
    start = START + timedelta(days=day)
    return [
        {
            "message_id": f"{prefix}{day}-{number}",
            "idempotency_key": f"{prefix}{day}-{number}",
            "topic_name": "t",
            "period_reference": start.strftime("%Y-%m"),
            "publish_time": start + timedelta(seconds=number % 86_000),
            "ingestion_ts": start + timedelta(seconds=number % 86_000 + 60),
            **{f"t{column}": f"some text {number * column}" for column in range(10)},
        }
        for number in range(rows)
    ]


def put(lake: SqlCatalog, rows: list[dict[str, Any]]) -> float:
    """Merge rows; seconds."""
    with StagedSource.of(pa.Table.from_pylist(rows).to_batches(), EVENT_RULE, 1024) as source:
        start = time.perf_counter()
        merge(lake, NAME, source, checkpoint=None, run_id="bench", evolve=True)
        return time.perf_counter() - start


def parquet(folder: Path) -> dict[Path, int]:
    """Data and delete files with their sizes."""
    return {path: path.stat().st_size for path in folder.rglob("*.parquet")}


def drop(folder: Path, day: int) -> tuple[float, int, int]:
    """Drop a day by retention: seconds, bytes of data written, bytes dropped."""
    before, lake = parquet(folder), catalog(folder)
    start = time.perf_counter()
    retention = RowRetention(DAYS, START + timedelta(days=DAYS + day + 1, hours=1))
    past = drop_past(lake, NAME, retention, run_id="bench")
    took = time.perf_counter() - start
    lake.close()
    assert past.rows
    return took, sum(parquet(folder).values()) - sum(before.values()), past.bytes


def delete(folder: Path, day: int) -> tuple[float, int]:
    """Delete a day's rows with pyiceberg: seconds, bytes of data written."""
    before, lake = parquet(folder), catalog(folder)
    start = time.perf_counter()
    with warnings.catch_warnings(action="ignore"):
        end = (START + timedelta(days=day + 1)).isoformat()
        lake.load_table(NAME).delete(f"publish_time < '{end}'")
    took = time.perf_counter() - start
    lake.close()
    return took, sum(parquet(folder).values()) - sum(before.values())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000, help="a day")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write the figures into docs/benchmarks.md")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as place:
        first, other = Path(place) / "a", Path(place) / "b"
        first.mkdir()
        lake = catalog(first)
        lake.create_namespace("lake")
        TableSpec.load(SPECIFICATIONS, "curated").create(lake, NAME)
        for day in range(DAYS):
            put(lake, rows_of(day, options.rows))
        lake.close()
        # The catalog names files by their place: the other lake is the same folder, put there in its turn.
        shutil.copytree(first, other)
        dropped = [drop(first, day) for day in range(options.runs)]
        lake = catalog(first)
        kept_day, past_day = options.runs, options.runs - 1
        late = [put(lake, rows_of(past_day, options.rows, f"late{n}")) for n in range(options.runs)]
        in_time = [put(lake, rows_of(kept_day, options.rows, f"timely{n}")) for n in range(options.runs)]
        lake.close()
        shutil.rmtree(first)
        shutil.move(other, first)
        deleted = [delete(first, day) for day in range(options.runs)]

    def line(what: str, seconds: list[float], written: int) -> str:
        spread = f"{min(seconds):.2f} to {max(seconds):.2f} s"
        return f"| {what} | {statistics.median(seconds):.2f} s | {spread} | {written:,} |"

    size = statistics.median(took[2] for took in dropped)
    lines = [
        f"{DAYS} days of {options.rows:,} rows in 16 buckets; a day is {size / 2**20:.1f} MiB.",
        "",
        "| one of thirty days | median | fastest to slowest | bytes of data written |",
        "|---|---|---|---|",
        line("**dropped by retention**", [took[0] for took in dropped], sum(took[1] for took in dropped)),
        line("deleted with pyiceberg", [took[0] for took in deleted], sum(took[1] for took in deleted)),
        "",
        "| merge of a day's rows | median | fastest to slowest |",
        "|---|---|---|",
        *(
            f"| {what} | {statistics.median(of):.2f} s | {min(of):.2f} to {max(of):.2f} s |"
            for what, of in (("of a day that was dropped", late), ("of a day that is kept", in_time))
        ),
    ]
    text = "\n".join(lines)
    print(text)
    if options.write:
        write_section("Rows that are past", "python tests/benchmarks/bench_retention.py --write", text)


if __name__ == "__main__":
    main()
