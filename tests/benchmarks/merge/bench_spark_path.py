"""A backlog of RAW into Curated: portions of a function, the same work on Spark, and Spark's own MERGE INTO.

    python tests/benchmarks/merge/bench_spark_path.py --rows 1000000 --table 1000000 [--write]

Each way is a process of its own, and all that it starts counts: wall time, processor time (of the whole tree, by
looking every quarter of a second), and the most memory that the tree had. Start-up of Spark counts in processor
time and not in wall time, which begins with the work. MERGE INTO is given rows that are flattened already, which
the other ways read as JSON. On a machine that others use too, compare processor time.

MERGE INTO needs what ``make bench-spark`` fetches (``spark_parts``), the Spark path what ``make test-spark`` does.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import engines
import psutil
import spark_parts
import workload

from common.layers.curated import curate, flatten_here
from common.runtime.settings import JobSettings
from lean_ops.local import spark

ROOT = Path(__file__).parents[3]
SETTINGS = {
    "LEAN_OPS_PROJECT": "lean-ops",
    "LEAN_OPS_ENV": "bench",
    "LEAN_OPS_DATABASE": "lake",
    "LEAN_OPS_CHECKPOINTS_TABLE": "checkpoints",
}
FUNCTION = JobSettings.from_environment(
    SETTINGS
    | {
        "LEAN_OPS_BATCH_ROWS": "1000000",
        "LEAN_OPS_BATCH_BYTES": "536870912",
        "LEAN_OPS_MEMORY_BUDGET_MB": "2048",
    }
)
ALL = JobSettings.from_environment(
    SETTINGS
    | {
        "LEAN_OPS_BATCH_ROWS": "1000000000",
        "LEAN_OPS_BATCH_BYTES": str(2**50),
        "LEAN_OPS_MEMORY_BUDGET_MB": "2048",
    }
)


def curated(lake: Any, settings: JobSettings, staging: Any) -> dict[str, Any]:
    """Curate until nothing is left; gives seconds, commits and rows."""
    since, commits, rows, begun = None, 0, 0, time.perf_counter()
    while True:
        done = curate(
            "events",
            since,
            "bench",
            settings=settings,
            catalog=lake,
            record_columns=lambda _found: None,
            set_aside=print,
            staging=staging,
        )
        since, rows, commits = done.checkpoint, rows + done.rows_read, commits + 1
        if not done.backlog_rows:
            return {"seconds": time.perf_counter() - begun, "commits": commits, "rows": rows}


def functions(lake: Any, _root: Path) -> dict[str, Any]:
    """As a function does it: portions of 512 MiB, each a commit."""
    return curated(lake, FUNCTION, flatten_here)


def on_spark(cores: int) -> Callable[[Any, Path], dict[str, Any]]:
    """The job, on so many cores of this machine."""

    def run(lake: Any, root: Path) -> dict[str, Any]:
        os.environ.update(spark.environment())
        sys.path.append(str(spark.HOME))
        from pyspark import SparkConf, SparkContext

        from spark.cluster import Cluster

        settings = {**spark.settings(root / "spark"), "spark.ui.showConsoleProgress": "false"}
        conf = SparkConf().setMaster(f"local[{cores},4]").setAppName("bench").setAll(list(settings.items()))
        context = SparkContext(conf=conf)
        context.setLogLevel("ERROR")
        try:
            return curated(lake, ALL, Cluster(context).flatten)
        finally:
            context.stop()

    return run


def merge_into(lake: Any, root: Path) -> dict[str, Any]:
    """Spark's own, of rows that are flattened already."""
    batch = next(root.parent.glob("batch_*.parquet"))
    seconds, _ = engines.spark(lake, batch, root)
    return {"seconds": seconds, "commits": 1}


WAYS: dict[str, Callable[[Any, Path], dict[str, Any]]] = {
    "portions of a function": functions,
    "the job on Spark, 1 core": on_spark(1),
    "the job on Spark, 2 cores": on_spark(2),
    "MERGE INTO of Spark, 2 cores": merge_into,
}


@dataclass(frozen=True)
class Measured:
    """Seconds of work and of processors, the peak of memory, and what the way said."""

    seconds: float
    processor_s: float
    peak_bytes: int
    said: dict[str, Any]


def measure(way: str, root: Path, folder: Path) -> Measured:
    """Run one way in a process of its own."""
    result = folder / "result.json"
    process = subprocess.Popen([sys.executable, __file__, "--way", way, str(root), str(folder), str(result)])
    spent: dict[tuple[int, float], float] = {}
    peak = 0
    while process.poll() is None:
        held = 0
        try:
            tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            break
        for one in tree:
            try:
                times = one.cpu_times()
                spent[one.pid, one.create_time()] = times.user + times.system
                held += one.memory_info().rss - one.memory_info().shared
            except psutil.NoSuchProcess:
                continue
        peak = max(peak, held)
        time.sleep(0.25)
    assert process.returncode == 0, f"{way} failed"
    said = json.loads(result.read_text())
    return Measured(said["seconds"], sum(spent.values()), peak, said)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--table", type=int, default=1_000_000)
    parser.add_argument("--only", action="append")
    parser.add_argument("--keep", type=Path, help="a folder that keeps tables and batches for the next time")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    root = arguments.keep or Path(tempfile.mkdtemp())
    root.mkdir(parents=True, exist_ok=True)
    workload.build_raw(root, arguments.table, arguments.rows)
    lines = [
        f"{arguments.rows:,} events (90 % new, 8 % corrections, 2 % copies) into a Curated of {arguments.table:,} rows.",
        "",
        "| way | seconds | processor seconds | rows a processor second | commits | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    for way in arguments.only or WAYS:
        if way.startswith("MERGE") and (lacks := spark_parts.missing()):
            lines.append(f"| {way} | not measured: {lacks} | | | | |")
            continue
        before = workload.data_tree(root, arguments.table)
        folder = Path(tempfile.mkdtemp(dir=root))
        folder.rmdir()
        workload.clone(root, arguments.table, folder.name, arguments.rows)
        found = measure(way, root, folder)
        lines.append(
            f"| {way} | {found.seconds:.0f} | {found.processor_s:.0f} | {arguments.rows / found.processor_s:,.0f} "
            f"| {found.said['commits']} | {found.peak_bytes / 2**30:.1f} GiB |"
        )
        print(lines[-1], flush=True)
        workload.remove_new_files(root, arguments.table, before)
        shutil.rmtree(folder)
    text = "\n".join(lines)
    print(text)
    if arguments.write:
        sys.path.append(str(ROOT / "tests/benchmarks"))
        from page import write_section

        write_section("A backlog on Spark", f"{' '.join(['bench_spark_path.py', *sys.argv[1:]])}", text)


if __name__ == "__main__":
    if sys.argv[1] == "--way":
        _, _, name, _root, where, answer = sys.argv
        Path(answer).write_text(json.dumps(WAYS[name](workload.catalog(Path(where)), Path(where))))
    else:
        main()
