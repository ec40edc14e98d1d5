"""What one run of curation holds, in a process of its own: counted as the merge's own test counts it.

Large payloads, many columns that hardly any row has, and rows that Parquet makes tiny: each needs far more
memory than its files have bytes. All sizes are a sixteenth of what functions have: steps, batches, budgets.
"""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from common.lake.rule import EVENT_RULE
from common.lake.specifications import TableSpec
from common.lake.upkeep import CompactionPolicy, compact

SPECIFICATIONS = Path(__file__).parents[2] / "modules/storage/tables"
CURATE = """
import json, sys, tracemalloc
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from common.lake import reading
from common.lake.merge import reading as files
from common.runtime.settings import JobSettings
from common.layers.curated import curate

root, budget, portion = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
catalog = SqlCatalog("t", uri=f"sqlite:///{root}/c.db", warehouse=f"file://{root}")
settings = JobSettings("p", "e", "lake", "checkpoints", 10**9, portion, budget)
reading.BATCH_BYTES //= 16
reading.BATCH_ROWS //= 16
files.STEP_BYTES //= 16
pool, since, rows, portions = pa.default_memory_pool(), None, [], 0
tracemalloc.start()
while True:
    done = curate("t", since, "r", settings=settings, catalog=catalog, record_columns=lambda columns: None,
                  set_aside=lambda rows: None)
    rows.append(done.rows_read)
    since = done.checkpoint
    if not done.backlog_rows:
        break
held = pool.max_memory() + tracemalloc.get_traced_memory()[1]
print(json.dumps({"held": held >> 20, "arrow": pool.max_memory() >> 20, "rows": rows}))
"""
START = datetime(2026, 5, 1, tzinfo=UTC)


def lake(folder: Path, payloads: list[str], files: int) -> SqlCatalog:
    """RAW with these payloads in so many files, and an empty Curated."""
    catalog = SqlCatalog("t", uri=f"sqlite:///{folder}/c.db", warehouse=f"file://{folder}")
    catalog.create_namespace("lake")
    for layer in ("raw", "curated"):
        TableSpec.load(SPECIFICATIONS, layer).create(catalog, f"lake.{layer}_t")
    raw = catalog.load_table("lake.raw_t")
    for part in range(files):
        rows = [
            {
                "message_id": f"m{number}",
                "idempotency_key": f"k{number}",
                "topic_name": "t",
                "period_reference": "2026-05",
                "publish_time": START + timedelta(seconds=number % 3000),
                "ingestion_ts": START,
                "json_payload": payloads[number],
            }
            for number in range(part, len(payloads), files)
        ]
        raw.append(pa.Table.from_pylist(rows, schema=raw.schema().as_arrow()))
    return catalog


def run(folder: Path, budget: int, portion: int = 2**40) -> dict[str, Any]:
    arguments = [str(folder), str(budget), str(portion)]
    done = subprocess.run(
        [sys.executable, "-c", CURATE, *arguments], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_large_payloads_are_taken_in_small_batches(tmp_path: Path) -> None:
    lake(tmp_path, [json.dumps({"n": n, "text": f"{n:06}" * 20_000}) for n in range(300)], 2).close()
    found = run(tmp_path, budget=128)
    assert found["rows"] == [300]
    assert found["held"] <= 128, found  # the payloads alone are 34 MiB, and in one batch took 5 times as much


def test_columns_that_hardly_any_row_has_count_in_every_row(tmp_path: Path) -> None:
    payloads = [json.dumps({f"leaf_{n % 450:03}": n}) for n in range(10_000)]
    lake(tmp_path, payloads, 2).close()
    found = run(tmp_path, budget=128)
    assert sum(found["rows"]) == 10_000
    assert found["held"] <= 128, found  # 22 MiB of nulls a copy


def test_a_portion_ends_with_what_its_rows_take_in_memory(tmp_path: Path) -> None:
    lake(tmp_path, ['{"text": "' + "x" * 10_000 + '"}'] * 2_000, 4).close()
    found = run(tmp_path, budget=128, portion=15 * 2**19)
    assert found["rows"] == [1000, 1000]  # of 5 MiB a file, which has a few kilobytes in Parquet


@pytest.mark.parametrize("compacted", [False, True])
def test_what_parquet_makes_tiny_is_decoded_in_small_steps(tmp_path: Path, compacted: bool) -> None:
    catalog = lake(tmp_path, ['{"text": "' + "x" * 30_000 + '"}'] * 3_000, 6)
    if compacted:
        compact(catalog, "lake.raw_t", EVENT_RULE, run_id="t", policy=CompactionPolicy(files=1))
    catalog.close()
    found = run(tmp_path, budget=128)
    assert sum(found["rows"]) == 3_000
    assert found["held"] <= 128, found  # 86 MiB of text
