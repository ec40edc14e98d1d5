"""What the thresholds of the merge engine and the grain of its delete files cost, on a store with latency.

    python tests/benchmarks/merge/bench_thresholds.py [--work DIRECTORY] [--merges 24] [--write]

A table of 100,000 rows takes 24 merges of 2,000 rows, on a local disk whose opens and creates take 30 ms more, as
requests to S3 do. Each line changes one choice of the engine. Written, read and rewritten is counted over all
merges; the scans are pyiceberg's, of one column after the last merge.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import workload
from pyiceberg.catalog.sql import SqlCatalog

from common.deduplication import EVENT_RULE
from common.merge import merge, streams, tiers
from common.merge.attempt import Attempt
from common.merge.positions import write_deletes

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from page import write_section  # noqa: E402 - the page is one folder up, beside the other benchmarks

TABLE_ROWS, BATCH_ROWS = 100_000, 2_000
SCANS = 3


@dataclass(frozen=True)
class Choice:
    """One setting of the engine; the defaults are the product's."""

    label: str
    files_left_alone: int = tiers.FILES_LEFT_ALONE
    growth: float = tiers.GROWTH
    deleted_share: float = tiers.DELETED_SHARE
    concurrency: int = streams.REMOTE_CONCURRENCY
    delete_file_each: bool = False

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The engine with this choice."""
        with (
            mock.patch.object(tiers, "FILES_LEFT_ALONE", self.files_left_alone),
            mock.patch.object(tiers, "GROWTH", self.growth),
            mock.patch.object(tiers, "DELETED_SHARE", self.deleted_share),
            mock.patch.object(streams, "LOCAL_CONCURRENCY", self.concurrency),
        ):
            if not self.delete_file_each:
                yield
                return
            with mock.patch.object(Attempt, "_write_deletes", one_delete_file_a_data_file):
                yield


def one_delete_file_a_data_file(attempt: Attempt) -> None:
    """In place of ``Attempt._write_deletes``: the finest grain, old delete files stay beside the new ones."""
    target, files = attempt._target, {f.path: f for f in attempt.live.files}
    attempt._removed |= attempt._dangling()
    rows = {p: positions for p, positions in attempt._deleted.items() if p not in attempt._removed}
    attempt._added += attempt._pool.map(
        lambda path: write_deletes(
            target,
            attempt._new_path(target.directory(files[path].file.partition), "deletes.parquet"),
            files[path].file.partition,
            {path: rows[path]},
        ),
        rows,
    )


CHOICES = (
    Choice("as chosen"),
    Choice("a delete file for each data file, never folded", delete_file_each=True),
    Choice("files are never taken along", files_left_alone=10**6, deleted_share=2.0),
    Choice("taken along from 2 files on", files_left_alone=2),
    Choice("taken along from 8 files on", files_left_alone=8),
    Choice("growth 1", growth=1.0),
    Choice("growth 3", growth=3.0),
    Choice("worn from a tenth of deleted rows on", deleted_share=0.1),
    Choice("8 requests at once", concurrency=8),
    Choice("64 requests at once", concurrency=64),
)


def measure(root: Path, choice: Choice, merges: int) -> str:
    """A line of the table."""
    name = "thresholds"
    shutil.rmtree(root / name, ignore_errors=True)
    before = workload.data_tree(root, TABLE_ROWS)
    location = workload.clone(root, TABLE_ROWS, name)
    lake = SqlCatalog(
        "bench",
        uri=str(location.engine.url),
        **{"py-io-impl": "slow_store.SlowFileIO", "warehouse": "file:///"},
    )
    seconds, written, rewritten = [], 0, 0
    with choice.applied():
        for number in range(merges):
            batch = workload.build_batch(root, TABLE_ROWS, BATCH_ROWS, number)
            started = time.perf_counter()
            outcome = merge(
                lake,
                workload.IDENTIFIER,
                workload.read_batch(batch),
                rule=EVENT_RULE,
                checkpoint=None,
                run_id=f"{number}",
                evolve=False,
                memory_budget_mb=512,
            )
            seconds.append(time.perf_counter() - started)
            written += outcome.bytes_written
            rewritten += outcome.rewritten_files
    table = lake.load_table(workload.IDENTIFIER)
    scans = []
    for _ in range(SCANS):
        started = time.perf_counter()
        table.scan(selected_fields=("status",)).to_arrow()
        scans.append(time.perf_counter() - started)
    tasks = list(table.scan().plan_files())
    most = max(Counter(str(t.file.partition) for t in tasks).values())
    deletes = len({d.file_path for t in tasks for d in t.delete_files})
    workload.remove_new_files(root, TABLE_ROWS, before)
    shutil.rmtree(root / name)
    return (
        f"| {choice.label} | {statistics.median(seconds[-8:]):.2f} s | {written / 1e6:.1f} MB | {rewritten} "
        f"| {len(tasks)} | {most} | {deletes} | {statistics.median(scans):.2f} s |"
    )


def main() -> None:
    """Print the table, and write it into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lean-ops-merge-bench")
    parser.add_argument("--merges", type=int, default=24)
    parser.add_argument("--write", action="store_true", help="write the figures into docs/benchmarks.md")
    options = parser.parse_args()
    workload.build_table(options.work, TABLE_ROWS)
    lines = [
        "| choice | last merges, median | written | files rewritten | data files | most | deletes | scan |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for choice in CHOICES:
        lines.append(measure(options.work, choice, options.merges))
        print(lines[-1], flush=True)
    if options.write:
        text = (
            f"{options.merges} merges of {BATCH_ROWS:,} rows into {TABLE_ROWS:,}, every open and create of a file "
            "30 ms slower, as on S3.\n\n" + "\n".join(lines)
        )
        write_section(
            "Thresholds of merging", "python tests/benchmarks/merge/bench_thresholds.py --write", text
        )


if __name__ == "__main__":
    main()
