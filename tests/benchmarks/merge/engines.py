"""The engines that are compared. Each merges one batch into a clone of the table and commits; only that is timed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import rest_catalog
import workload
from duckdb_extensions import import_extension
from pyiceberg.catalog.sql import SqlCatalog

from common.deduplication import EVENT_RULE
from common.merge import merge
from common.merge.source import conform
from common.merge.target import Target

COLUMNS = [
    "message_id",
    "idempotency_key",
    "topic_name",
    "period_reference",
    "correlation_id",
    "publish_time",
    "ingestion_ts",
    *workload.LEAVES,
]
NEWER = """s.message_id <> t.message_id and (s.publish_time > t.publish_time
  or (s.publish_time = t.publish_time and s.ingestion_ts > t.ingestion_ts))"""
FIRST_COPIES = (
    "(select *, row_number() over (partition by message_id order by ingestion_ts) nth from {batch})"
)
WINNERS = f"""(select * from (select *, row_number() over (partition by idempotency_key
  order by publish_time desc, ingestion_ts desc, message_id desc) place from {FIRST_COPIES} f where nth = 1) w
  where place = 1)"""
MERGE_SQL = f"""merge into {{table}} t using (select {", ".join(COLUMNS)} from {WINNERS} x) s
  on t.idempotency_key = s.idempotency_key
  when matched and {NEWER} then update set {", ".join(f"{c} = s.{c}" for c in COLUMNS)}, _merge_seq = 2
  when not matched then insert ({", ".join(COLUMNS)}, _merge_seq)
    values ({", ".join(f"s.{c}" for c in COLUMNS)}, 2)"""


def lean_ops(lake: SqlCatalog, batch: Path, _root: Path) -> float:
    """This project's engine."""
    started = time.perf_counter()
    merge(
        lake,
        workload.IDENTIFIER,
        workload.read_batch(batch),
        rule=EVENT_RULE,
        checkpoint=None,
        run_id="bench",
        evolve=True,
        memory_budget_mb=2048,
    )
    return time.perf_counter() - started


def duckdb_merge(lake: SqlCatalog, batch: Path, _root: Path) -> float:
    """DuckDB's own MERGE INTO on an attached Iceberg REST catalog: merge-on-read."""
    connection = duckdb.connect(config={"threads": 2, "memory_limit": "6GB"})
    for extension in ("avro", "httpfs", "iceberg"):
        import_extension(extension, con=connection)
        connection.execute(f"load {extension}")
    # DuckDB writes no sorted tables; without this it refuses the merge.
    connection.execute("set timezone = 'UTC'; set unsafe_iceberg_ignore_sort_order = true")
    endpoint = rest_catalog.serve(lake)
    connection.execute(
        f"attach 'wh' as lake (type iceberg, endpoint '{endpoint}', authorization_type 'none')"
    )
    started = time.perf_counter()
    connection.execute(MERGE_SQL.format(table=f"lake.{workload.IDENTIFIER}", batch=repr(str(batch))))
    return time.perf_counter() - started


def pyiceberg_upsert(lake: SqlCatalog, batch: Path, _root: Path) -> float:
    """pyiceberg's upsert. It has no condition, so it is given only the rows that must win."""
    table = lake.load_table(workload.IDENTIFIER)
    winners = pq.read_table(workload.winners_file(batch))
    rows = conform(winners, Target.check(table, EVENT_RULE), 2)
    started = time.perf_counter()
    table.upsert(rows, join_cols=["idempotency_key"])
    return time.perf_counter() - started


def spark(lake: SqlCatalog, batch: Path, root: Path) -> float:
    """Spark's MERGE INTO, merge-on-read, local[2]; needs BENCH_SPARK_PYTHON and BENCH_SPARK_JARS."""
    with lake.engine.begin() as connection:  # what Iceberg's JDBC catalog of schema V1 expects
        connection.exec_driver_sql("update iceberg_tables set iceberg_type = 'TABLE', catalog_name = 'bench'")
    work = {
        "memory": "6g",
        "jars": os.environ["BENCH_SPARK_JARS"],
        "database": str(lake.engine.url.database),
        "warehouse": f"file://{root}/warehouse",
        "table": workload.IDENTIFIER,
        "batch": str(batch),
        "merge": MERGE_SQL,
    }
    done = subprocess.run(
        [os.environ["BENCH_SPARK_PYTHON"], str(Path(__file__).with_name("spark_merge.py")), json.dumps(work)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


ENGINES: dict[str, Callable[[SqlCatalog, Path, Path], float]] = {
    "lean-ops": lean_ops,
    "duckdb": duckdb_merge,
    "upsert": pyiceberg_upsert,
    "spark": spark,
}


if __name__ == "__main__":
    engine, database, batch_path, result = sys.argv[1:]
    directory = Path(database).parent
    seconds = ENGINES[engine](workload.catalog(directory), Path(batch_path), directory)
    Path(result).write_text(json.dumps({"seconds": seconds}))
