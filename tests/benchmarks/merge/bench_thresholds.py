"""What the thresholds of the merge engine and the grain of its delete files cost.

    python tests/benchmarks/merge/bench_thresholds.py [--work DIRECTORY] [--merges 6] [--write]

First the rule of which files go along (``common/lake/merge/tiers.py``), counted over a day of 96 merges into one
partition. Then requests: a table of 100,000 rows in 500 files takes merges of 2,000 rows on a local disk
whose opens and creates take 30 ms more, as requests to S3 do; each line changes one choice of the engine. The
scan is pyiceberg's, of one column after the last merge.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import workload
from pyiceberg.catalog.sql import SqlCatalog

from common.lake.merge import StagedSource, engine, merge, streams, tiers
from common.lake.merge.planning import Basis, DeletePlan
from common.lake.merge.positions import Positions
from common.lake.rule import EVENT_RULE

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from page import write_section  # noqa: E402 - the page is one folder up, beside the other benchmarks

TABLE_ROWS, BATCH_ROWS = 100_000, 2_000
DAY = 96


@dataclass(frozen=True)
class Choice:
    """One setting of the engine; the defaults are the product's."""

    label: str
    concurrency: int = streams.REMOTE_CONCURRENCY
    delete_file_each: bool = False

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The engine with this choice."""
        with (
            mock.patch.object(streams, "LOCAL_CONCURRENCY", self.concurrency),
        ):
            if not self.delete_file_each:
                yield
                return
            with mock.patch.object(engine, "plan_deletes", one_delete_file_a_data_file):
                yield


def one_delete_file_a_data_file(
    basis: Basis, deleted: Mapping[str, Positions], rewritten: frozenset[str]
) -> DeletePlan:
    """In place of ``plan_deletes``: the finest grain, old delete files stay beside the new ones."""
    files = {f.path: f for f in basis.live.files}
    old = {d for path in rewritten for d in files[path].delete_paths}
    return DeletePlan(
        tuple((files[p].file.partition, {p: deleted[p]}) for p in deleted if p not in rewritten),
        frozenset(old - basis.live.needed_deletes(rewritten)),
    )


CHOICES = (
    Choice("as chosen: 32 at once, a delete file for each partition"),
    Choice("a delete file for each data file, never folded", delete_file_each=True),
    Choice("8 requests at once", concurrency=8),
    Choice("64 requests at once", concurrency=64),
)


def count_day(files_left_alone: int, growth: float) -> str:
    """A line: files and rewrites of one partition that takes 96 merges of 200 to 350 rows."""
    live, most, rewritten, total = [tiers.FileState("base", 10**7, 20_000, 0)], 0, 0, 0
    with (
        mock.patch.object(tiers, "FILES_LEFT_ALONE", files_left_alone),
        mock.patch.object(tiers, "GROWTH", growth),
    ):
        for number in range(DAY):
            rows = 200 + number * 37 % 150
            taken = tiers.files_to_rewrite(live, rows)
            gone = sum(f.rows for f in live if f.path in taken)
            live = [f for f in live if f.path not in taken]
            live.append(tiers.FileState(str(number), 1000, rows + gone, 0))
            most, rewritten, total = max(most, len(live)), rewritten + gone, total + rows
    chosen = " (chosen)" if (files_left_alone, growth) == (tiers.FILES_LEFT_ALONE, tiers.GROWTH) else ""
    return f"| {files_left_alone} | {growth:g}{chosen} | {most} | {rewritten / total:.1f} |"


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
    seconds, written = [], 0
    with choice.applied():
        for number in range(merges):
            batch = workload.build_batch(root, TABLE_ROWS, BATCH_ROWS, number)
            started = time.perf_counter()
            with StagedSource.of(workload.read_batch(batch), EVENT_RULE, memory_budget_mb=512) as rows:
                outcome = merge(
                    lake, workload.IDENTIFIER, rows, checkpoint=None, run_id=f"{number}", evolve=False
                )
            seconds.append(time.perf_counter() - started)
            written += outcome.bytes_written
    table = lake.load_table(workload.IDENTIFIER)
    started = time.perf_counter()
    table.scan(selected_fields=("status",)).to_arrow()
    scan = time.perf_counter() - started
    tasks = list(table.scan().plan_files())
    deletes = len({d.file_path for t in tasks for d in t.delete_files})
    workload.remove_new_files(root, TABLE_ROWS, before)
    shutil.rmtree(root / name)
    return (
        f"| {choice.label} | {statistics.median(seconds):.2f} s | {min(seconds):.2f} to {max(seconds):.2f} s "
        f"| {written / 1e6:.1f} MB | {len(tasks)} | {deletes} | {scan:.1f} s |"
    )


def main() -> None:
    """Print the table, and write it into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lean-ops-merge-bench")
    parser.add_argument("--merges", type=int, default=6)
    parser.add_argument("--write", action="store_true", help="write the figures into docs/benchmarks.md")
    options = parser.parse_args()
    workload.build_table(options.work, TABLE_ROWS)
    lines = [
        "One partition in a day of 96 merges:",
        "",
        "| files left alone | growth | most files | times a row is written again |",
        "|---|---|---|---|",
        *(count_day(files, growth) for files in (2, 4, 8) for growth in (1, 1.5, 2, 3)),
        "",
        f"{options.merges} merges of {BATCH_ROWS:,} rows into {TABLE_ROWS:,} in 500 files, every open and create",
        "30 ms slower, as on S3:",
        "",
        "| choice | merge, median | fastest to slowest | written | data files | delete files | scan after it |",
        "|---|---|---|---|---|---|---|",
    ]
    for choice in CHOICES:
        lines.append(measure(options.work, choice, options.merges))
        print(lines[-1], flush=True)
    text = "\n".join(lines)
    print(text)
    if options.write:
        write_section(
            "Thresholds of merging", "python tests/benchmarks/merge/bench_thresholds.py --write", text
        )


if __name__ == "__main__":
    main()
