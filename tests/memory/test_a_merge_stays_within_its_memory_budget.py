"""Peak memory of a merge in a process of its own, whose source is larger than its budget.

Bytes that are held are counted, Arrow's by its memory pool and Python's and numpy's by tracemalloc: what the
operating system calls resident also has what allocators have not given back yet, which depends on the load.
"""

import json
import subprocess
import sys
from pathlib import Path

MERGE = """
import json, sys, tracemalloc
import numpy as np, pyarrow as pa
from pathlib import Path
from pyiceberg.catalog.sql import SqlCatalog
from common.lake.rule import EVENT_RULE
from common.lake.merge import StagedSource, merge
from common.lake.specifications import TableSpec

root, specifications, batches, rows, budget = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
catalog = SqlCatalog("t", uri=f"sqlite:///{root}/c.db", warehouse=f"file://{root}")
catalog.create_namespace("lake")
for name in ("lake.warm", "lake.curated_t"):
    TableSpec.load(specifications, "curated").create(catalog, name)
chance = np.random.default_rng(1)
kinds = {"publish_time": pa.timestamp("us", "UTC"), "ingestion_ts": pa.timestamp("us", "UTC")}
names = ["idempotency_key", "message_id", "period_reference", *kinds, "leaf"]
schema = pa.schema([(n, kinds.get(n, pa.string())) for n in names])
WIDTH = 1500

def batch(number):
    text = chance.integers(97, 123, rows * WIDTH, dtype=np.uint8)
    ends = np.arange(0, (rows + 1) * WIDTH, WIDTH, dtype=np.int32)
    leaf = pa.StringArray.from_buffers(rows, pa.py_buffer(ends), pa.py_buffer(text))
    keys = pa.array([f"k{number}-{n}" for n in range(rows)])
    times = pa.array(np.full(rows, 1_768_435_200_000_000 + number)).cast(kinds["publish_time"])
    months = pa.array(["2026-01"]).take(np.zeros(rows, int))
    return pa.record_batch([keys, keys, months, times, times, leaf], schema=schema)

def merged(name, parts):
    with StagedSource.of(parts, EVENT_RULE, budget) as source:
        return merge(catalog, name, source, checkpoint=None, run_id="r", evolve=True)

one = batch(0)
merged("lake.warm", [one.slice(0, 10)])  # imports and caches are no part of the measure
pool = pa.default_memory_pool()
tracemalloc.start()
outcome = merged("lake.curated_t", (batch(n) for n in range(batches)))
source_mib = batches * one.nbytes // 2**20
held = pool.max_memory() + tracemalloc.get_traced_memory()[1]
print(json.dumps({"held": held // 2**20, "arrow": pool.max_memory() // 2**20, "source": source_mib,
                  "rows": outcome.inserted}))
"""

SPECIFICATIONS = Path(__file__).parents[2] / "modules" / "storage" / "tables"


def test_a_source_three_times_the_budget_goes_to_disk_and_memory_stays_within(tmp_path: Path) -> None:
    batches, rows, budget = 40, 8000, 160
    arguments = [str(a) for a in (tmp_path, SPECIFICATIONS, batches, rows, budget)]
    done = subprocess.run(
        [sys.executable, "-c", MERGE, *arguments], check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    assert found["rows"] == batches * rows
    assert found["source"] > 2.8 * budget
    assert budget // 4 < found["arrow"] <= found["held"] <= budget
