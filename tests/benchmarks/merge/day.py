"""A day of the pipeline: 96 merges of 10,000 rows, compaction, then reading everything.

    python tests/benchmarks/merge/day.py --work DIRECTORY [--table-rows 1000000] [--batch-rows 10000]

Prints JSON: ``scans``, seconds of full scans by DuckDB's Iceberg reader and by pyiceberg of the table after the
day, after maintenance, and of the same rows written afresh (the last two in turns); ``facts``, seconds of the
first and last merges and of the compaction, and numbers of files.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections import Counter
from functools import cache
from pathlib import Path

import duckdb
import workload
from duckdb_extensions import import_extension
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from common.lake.merge import StagedSource, merge
from common.lake.rule import EVENT_RULE
from common.lake.upkeep import CompactionPolicy, compact

RUNS = 96
SCANS = 5


def scan(table: Table, seconds: dict[str, list[float]]) -> None:
    """Time one full scan of all columns by DuckDB, and of key and one leaf by pyiceberg."""
    columns = ", ".join(f"max({c})" for c in ("idempotency_key", "publish_time", *workload.LEAVES))
    query = f"select {columns} from iceberg_scan('{table.metadata_location}')"
    started = time.perf_counter()
    iceberg_reader().sql(query).fetchall()
    seconds.setdefault("DuckDB", []).append(time.perf_counter() - started)
    started = time.perf_counter()
    table.scan(selected_fields=("idempotency_key", "status")).to_arrow()
    seconds.setdefault("pyiceberg", []).append(time.perf_counter() - started)


@cache
def iceberg_reader() -> duckdb.DuckDBPyConnection:
    """DuckDB with its Iceberg extension."""
    connection = duckdb.connect(config={"threads": 2})
    for extension in ("avro", "iceberg"):
        import_extension(extension, con=connection)
        connection.execute(f"load {extension}")
    return connection


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
    with StagedSource.of(source.scan().to_arrow_batch_reader(), EVENT_RULE, memory_budget_mb=16_384) as rows:
        merge(copy, workload.IDENTIFIER, rows, checkpoint=None, run_id="fresh", evolve=False)
    return table.refresh()


def main() -> None:
    """Run the day."""
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
    scans: dict[str, dict[str, list[float]]] = {"after the day": {}, "after maintenance": {}, "fresh": {}}
    merges = [merge_batch(options.work, rows, options.batch_rows, lake, number) for number in range(RUNS)]
    table = lake.load_table(workload.IDENTIFIER)
    worn, checksum = shape(table), workload.checksum(table)
    for _ in range(SCANS):
        scan(table, scans["after the day"])
    started = time.perf_counter()
    compact(lake, workload.IDENTIFIER, EVENT_RULE, run_id="night", policy=CompactionPolicy(files=1))
    compaction = time.perf_counter() - started
    tables = {"after maintenance": lake.load_table(workload.IDENTIFIER), "fresh": fresh_copy(root, lake)}
    for state, one in tables.items():
        if workload.checksum(one) != checksum:
            raise SystemExit(f"{state}: other rows than before")
    for _ in range(SCANS):
        for state, one in tables.items():
            scan(one, scans[state])
    facts = {
        "first merges": round(statistics.median(merges[:10]), 2),
        "last merges": round(statistics.median(merges[-10:]), 2),
        "compaction": round(compaction, 1),
        "most files in a partition": worn["most_in_a_partition"],
        "data files": worn["data_files"],
        "delete files": worn["delete_files"],
        "data files compacted": shape(tables["after maintenance"])["data_files"],
    }
    print(json.dumps({"scans": scans, "facts": facts}))
    workload.remove_new_files(options.work, rows, before)
    shutil.rmtree(root)


def merge_batch(work: Path, table_rows: int, batch_rows: int, lake: SqlCatalog, number: int) -> float:
    """Merge one of the day's batches; gives its seconds."""
    batch = workload.build_batch(work, table_rows, batch_rows, number)
    started = time.perf_counter()
    with StagedSource.of(workload.read_batch(batch), EVENT_RULE, memory_budget_mb=512) as rows:
        merge(lake, workload.IDENTIFIER, rows, checkpoint=None, run_id=f"day-{number}", evolve=False)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
