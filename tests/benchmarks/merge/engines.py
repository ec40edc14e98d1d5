"""The engines that are compared. Each merges one batch into a clone of the table and commits; only that is timed."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import contracted
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import rest_catalog
import spark_parts
import workload
from duckdb_extensions import import_extension
from pyiceberg.catalog.sql import SqlCatalog

from common.lake.merge import StagedSource, merge, streams
from common.lake.merge.source import conform
from common.lake.merge.target import Target
from common.lake.rule import EVENT_RULE
from common.lake.specifications import TableSpec
from common.layers.curated import curate
from common.layers.semantic import publish
from common.runtime.settings import JobSettings

MEMORY_BUDGET_MB = 2048  # as modules/compute/functions.json gives it to the functions

NEWER = """s.message_id <> t.message_id and (s.publish_time > t.publish_time
  or (s.publish_time = t.publish_time and s.ingestion_ts > t.ingestion_ts))"""
FIRST_COPIES = (
    "(select *, row_number() over (partition by message_id order by ingestion_ts) nth from {batch})"
)
WINNERS = f"""(select * from (select *, row_number() over (partition by idempotency_key
  order by publish_time desc, ingestion_ts desc, message_id desc) place from {FIRST_COPIES} f where nth = 1) w
  where place = 1)"""


def merge_sql(catalog: str, source: str, columns: Sequence[str]) -> str:
    """The merge as a statement; ``columns``: those of the source."""
    return f"""merge into {catalog}.{workload.IDENTIFIER} t
  using (select {", ".join(columns)} from {WINNERS.format(batch=source)} x) s
  on t.idempotency_key = s.idempotency_key
  when matched and {NEWER} then update set {", ".join(f"{c} = s.{c}" for c in columns)}, _merge_seq = 2
  when not matched then insert ({", ".join(columns)}, _merge_seq)
    values ({", ".join(f"s.{c}" for c in columns)}, 2)"""


# What flattening does, with the paths known beforehand; json_extract_string turns 27.90 into 27.9.
FLATTEN_SQL = f"""(select * exclude (json_payload, leaves), {
    ", ".join(f"leaves[{i}] as {name}" for i, name in enumerate(workload.LEAVES, 1))
} from (select *, json_extract_string(json_payload, [{
    ", ".join(repr("$." + name.replace("__", ".")) for name in workload.LEAVES)
}]) leaves from lake.{workload.RAW_IDENTIFIER}))"""


Spent = tuple[float, float]
"""Seconds, and processor seconds of this process."""


def now() -> Spent:
    """Both clocks."""
    return time.perf_counter(), time.process_time()


def since(started: Spent) -> Spent:
    """What was spent since then."""
    seconds, processor = now()
    return seconds - started[0], processor - started[1]


def lean_ops(lake: SqlCatalog, batch: Path, root: Path) -> Spent:
    """This project's engine."""
    warm_up(root)
    started = now()
    with StagedSource.of(workload.read_batch(batch), EVENT_RULE, MEMORY_BUDGET_MB) as rows:
        merge(lake, workload.IDENTIFIER, rows, checkpoint=None, run_id="bench", evolve=True)
    return since(started)


def on_slow_store(_lake: SqlCatalog, batch: Path, root: Path) -> Spent:
    """This project's engine on a store that takes as long as one on the network (``slow_store.py``)."""
    slow = workload.catalog(root, **{"py-io-impl": "slow_store.SlowFileIO"})
    # Its files lie on the local disk, of which the engine would not ask for as many at once.
    with mock.patch.object(streams, "LOCAL_CONCURRENCY", streams.REMOTE_CONCURRENCY):
        return lean_ops(slow, batch, root)


def warm_up(root: Path) -> None:
    """Merge one row into a table of its own: what is loaded on first use is not timed, as for the others."""
    lake = workload.catalog(root / "warm_up")
    lake.create_namespace("lake")
    TableSpec.load(workload.SPECIFICATIONS, "curated").create(lake, "lake.small")
    row = {"idempotency_key": "k", "message_id": "m", "period_reference": "2026-01", "publish_time": 0}
    rows = pa.Table.from_pylist([{**row, "ingestion_ts": 0}]).to_batches()
    with StagedSource.of(rows, EVENT_RULE, memory_budget_mb=64) as source:
        merge(lake, "lake.small", source, checkpoint=None, run_id="warm-up", evolve=False)


SETTINGS = JobSettings.from_environment(
    {
        "LEAN_OPS_PROJECT": "lean-ops",
        "LEAN_OPS_ENV": "bench",
        "LEAN_OPS_DATABASE": "lake",
        "LEAN_OPS_CHECKPOINTS_TABLE": "checkpoints",
        "LEAN_OPS_BATCH_ROWS": "1000000",
        "LEAN_OPS_BATCH_BYTES": str(2**40),
        "LEAN_OPS_MEMORY_BUDGET_MB": str(MEMORY_BUDGET_MB),
    }
)


def curation(lake: SqlCatalog, _batch: Path, root: Path) -> Spent:
    """This project's curation job: RAW into Curated."""
    warm_up(root)
    started = now()
    done = curate(
        "events",
        None,
        "bench",
        settings=SETTINGS,
        catalog=lake,
        record_columns=lambda _found: None,
        set_aside=print,
    )
    spent = since(started)
    assert not done.backlog_rows
    return spent


def semantic(lake: SqlCatalog, _batch: Path, root: Path) -> Spent:
    """This project's semantic job: Curated into Semantic, by a contract."""
    warm_up(root)
    contract = contracted.contract()
    started = now()
    done = publish(
        contract,
        None,
        "bench",
        settings=SETTINGS,
        catalog=lake,
        pii_key=b"key",
        record_uncontracted=lambda _columns: None,
        record_replaced=lambda _columns: None,
        raw_read=None,
    )
    spent = since(started)
    assert not done.backlog_rows
    assert not done.quarantined
    return spent


def duckdb_semantic(lake: SqlCatalog, _batch: Path, _root: Path) -> Spent:
    """The same in one statement of DuckDB, whose casts are not exact."""
    return _in_duckdb(lake, contracted.duckdb_sql())


def duckdb_merge(lake: SqlCatalog, batch: Path, _root: Path) -> Spent:
    """DuckDB's own MERGE INTO on an attached Iceberg REST catalog: merge-on-read."""
    return _in_duckdb(lake, merge_sql("lake", repr(str(batch)), pq.read_schema(batch).names))


def duckdb_curation(lake: SqlCatalog, _batch: Path, _root: Path) -> Spent:
    """RAW into Curated in one statement of DuckDB; numbers lose their text."""
    return _in_duckdb(lake, merge_sql("lake", FLATTEN_SQL, workload.RANDOM.columns))


def _in_duckdb(lake: SqlCatalog, statement: str) -> Spent:
    connection = duckdb.connect(config={"threads": 2, "memory_limit": "6GB"})
    for extension in ("avro", "httpfs", "iceberg"):
        import_extension(extension, con=connection)
        connection.execute(f"load {extension}")
    connection.execute("load json")
    # DuckDB writes no sorted tables, and files of no target size; without these it refuses the merge.
    connection.execute("set timezone = 'UTC'; set unsafe_iceberg_ignore_sort_order = true")
    connection.execute("set ignore_target_file_size_for_partitioned_tables = true")
    endpoint = rest_catalog.serve(lake)
    connection.execute(
        f"attach 'wh' as lake (type iceberg, endpoint '{endpoint}', authorization_type 'none')"
    )
    started = now()
    connection.execute(statement)
    return since(started)


def pyiceberg_upsert(lake: SqlCatalog, batch: Path, _root: Path) -> Spent:
    """pyiceberg's upsert. It has no condition, so it is given only the rows that must win."""
    table = lake.load_table(workload.IDENTIFIER)
    winners = pq.read_table(workload.winners_file(batch))
    rows = conform(winners, Target.check(table, EVENT_RULE), 2)
    started = now()
    table.upsert(rows, join_cols=["idempotency_key"])
    return since(started)


def spark(lake: SqlCatalog, batch: Path, root: Path) -> Spent:
    """Spark's MERGE INTO, merge-on-read, local[2]."""
    statement = merge_sql("bench", "batch", pq.read_schema(batch).names)
    work = {"table": workload.IDENTIFIER, "batch": str(batch), "merge": statement}
    answer = spark_parts.run("spark_merge.py", lake, root, work)
    return float(answer["seconds"]), 0.0  # its processor seconds are those of other processes


def peak_bytes() -> int:
    """The most memory that this process had (``ru_maxrss`` would count its parent's before the start, too)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


ENGINES: dict[str, Callable[[SqlCatalog, Path, Path], Spent]] = {
    "lean-ops": lean_ops,
    "slow-store": on_slow_store,
    "duckdb": duckdb_merge,
    "upsert": pyiceberg_upsert,
    "spark": spark,
    "curation": curation,
    "duckdb-curation": duckdb_curation,
    "semantic": semantic,
    "duckdb-semantic": duckdb_semantic,
}


if __name__ == "__main__":
    engine, database, batch_path, result = sys.argv[1:]
    directory = Path(database).parent
    lake = workload.catalog(directory)
    seconds, processor = ENGINES[engine](lake, Path(batch_path), directory)
    Path(result).write_text(json.dumps({"seconds": seconds, "processor": processor, "peak": peak_bytes()}))
