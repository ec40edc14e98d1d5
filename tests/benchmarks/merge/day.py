"""A day of the pipeline: 96 merges of 10,000 rows, compaction, then reading everything.

    python tests/benchmarks/merge/day.py --work DIRECTORY [--table-rows 1000000] [--batch-rows 10000]

Prints seconds of the first and last merges, files a partition, and the time of a full scan by DuckDB's Iceberg
reader and by pyiceberg: of the table as the day began, as the day left it, compacted, and of the same rows
written afresh.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import duckdb
import workload
from duckdb_extensions import import_extension
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from common.deduplication import EVENT_RULE
from common.maintenance import CompactionPolicy, compact
from common.merge import merge

RUNS = 96
SCANS = 3


def scan_seconds(table: Table) -> dict[str, float]:
    """Best of three full scans, all columns by DuckDB, key and one leaf by pyiceberg."""
    connection = duckdb.connect(config={"threads": 2})
    for extension in ("avro", "iceberg"):
        import_extension(extension, con=connection)
        connection.execute(f"load {extension}")
    columns = ", ".join(f"max({c})" for c in ("idempotency_key", "publish_time", *workload.LEAVES))
    query = f"select {columns} from iceberg_scan('{table.metadata_location}')"
    timings: dict[str, list[float]] = {"duckdb": [], "pyiceberg": []}
    for _ in range(SCANS):
        started = time.perf_counter()
        connection.sql(query).fetchall()
        timings["duckdb"].append(time.perf_counter() - started)
        started = time.perf_counter()
        table.scan(selected_fields=("idempotency_key", "status")).to_arrow()
        timings["pyiceberg"].append(time.perf_counter() - started)
    return {name: round(min(values), 3) for name, values in timings.items()}


def shape(table: Table) -> dict[str, int]:
    """Data files, the most of them in one partition, delete files, manifests."""
    tasks = list(table.scan().plan_files())
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return {
        "data_files": len(tasks),
        "most_in_a_partition": max(Counter(str(t.file.partition) for t in tasks).values()),
        "delete_files": len({d.file_path for t in tasks for d in t.delete_files}),
        "manifests": len(snapshot.manifests(table.io)),
    }


def fresh_copy(root: Path, lake: SqlCatalog) -> Table:
    """The same rows, written afresh: one file a partition, no deletes, one commit."""
    source = lake.load_table(workload.IDENTIFIER)
    copy = workload.catalog(root / "fresh")
    copy.create_namespace("lake")
    table = copy.create_table(
        workload.IDENTIFIER,
        source.schema(),
        partition_spec=source.spec(),
        properties={k: v for k, v in source.properties.items() if "lean-ops" not in k},
    )
    merge(
        copy,
        workload.IDENTIFIER,
        source.scan().to_arrow_batch_reader(),
        rule=EVENT_RULE,
        checkpoint=None,
        run_id="fresh",
        evolve=False,
        memory_budget_mb=16_384,
    )
    return table.refresh()


def main() -> None:
    """Run the day and print what happened as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lean-ops-merge-bench")
    parser.add_argument("--table-rows", type=int, default=1_000_000)
    parser.add_argument("--batch-rows", type=int, default=10_000)
    options = parser.parse_args()
    root, rows = options.work / "day", options.table_rows
    shutil.rmtree(root, ignore_errors=True)
    before = workload.data_tree(options.work, rows)
    lake = workload.clone(options.work, rows, "day")
    found = {
        "before": {
            **shape(lake.load_table(workload.IDENTIFIER)),
            **scan_seconds(lake.load_table(workload.IDENTIFIER)),
        }
    }
    seconds = []
    for number in range(RUNS):
        batch = workload.build_batch(options.work, rows, options.batch_rows, number)
        started = time.perf_counter()
        merge(
            lake,
            workload.IDENTIFIER,
            workload.read_batch(batch),
            rule=EVENT_RULE,
            checkpoint=None,
            run_id=f"day-{number}",
            evolve=False,
            memory_budget_mb=512,
        )
        seconds.append(time.perf_counter() - started)
        print(number, round(seconds[-1], 2), flush=True)
    table = lake.load_table(workload.IDENTIFIER)
    found["after 96 merges"] = {**shape(table), **scan_seconds(table)}
    checksum = workload.checksum(table)
    started = time.perf_counter()
    compact(lake, workload.IDENTIFIER, EVENT_RULE, run_id="night", policy=CompactionPolicy(files=1))
    compaction = time.perf_counter() - started
    table = lake.load_table(workload.IDENTIFIER)
    if workload.checksum(table) != checksum:
        raise SystemExit("compaction changed the rows")
    found["compacted"] = {**shape(table), **scan_seconds(table)}
    table = fresh_copy(root, lake)
    if workload.checksum(table) != checksum:
        raise SystemExit("the fresh copy has other rows")
    found["written afresh"] = {**shape(table), **scan_seconds(table)}
    print(
        json.dumps(
            {
                "first ten merges, median s": round(statistics.median(seconds[:10]), 2),
                "last ten merges, median s": round(statistics.median(seconds[-10:]), 2),
                "compaction s": round(compaction, 1),
                **found,
            },
            indent=1,
        )
    )
    workload.remove_new_files(options.work, rows, before)
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
