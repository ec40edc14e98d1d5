"""What it takes to find one row in a million that is missing, and one that is there twice.

    python tests/benchmarks/bench_reconcile.py [--rows 1000000] [--runs 3] [--write]

RAW holds ``--rows`` events, half of them corrections, Curated and Semantic what the jobs made of it; then
one row is taken out of Curated and one is put in twice. Beside ``reconcile`` stands what a user would
write: an anti-join of RAW and Curated, and a count of keys, with DuckDB, which sees neither Semantic nor
ties, retention or erasures. Processor time and peak of a process of its own.
"""

import warnings
from pathlib import Path
from typing import Any

import duckdb
from alone import Benchmark
from bench_semantic import SETTINGS, Lake, events

from common.layers.reconciling import reconcile

_DUCKDB = """
    WITH newest AS (SELECT idempotency_key, max(publish_time) AS at FROM raw GROUP BY ALL),
         held AS (SELECT idempotency_key, max(publish_time) AS at, count(*) AS n FROM curated GROUP BY ALL)
    SELECT count(*) FILTER (held.at IS NULL OR held.at < newest.at), count(*) FILTER (n > 1)
    FROM newest LEFT JOIN held USING (idempotency_key)"""


class Nobody:
    """DynamoDB, which has recorded nothing."""

    def get_item(self, **_request: Any) -> dict[str, Any]:
        """No item."""
        return {}


def tampered(folder: Path, rows: int) -> Lake:
    """All layers, of whose Curated one row is missing and one is there twice."""
    lake = Lake(folder)
    for turn in range(3):
        lake.deliver(events(rows // 3, turn, 0.0, 0.0))
        lake.curate()
        lake.publish(look_up=True)
    table = lake.catalog.load_table("lake.curated_t")
    some = table.scan(limit=1_000, selected_fields=("idempotency_key",)).to_arrow()
    taken, doubled = (some["idempotency_key"][row].as_py() for row in (0, 999))
    with warnings.catch_warnings(action="ignore"):  # pyiceberg says what it does not implement
        table.append(table.scan(row_filter=f"idempotency_key == '{doubled}'").to_arrow())
        table.delete(f"idempotency_key == '{taken}'")
    return lake


def measured(folder: Path, way: str) -> str:
    """What one way finds."""
    lake = Lake.__new__(Lake)
    lake.connect(folder)
    if way == "reconcile":
        done = reconcile(
            "t",
            None,
            None,
            settings=SETTINGS,
            catalog=lake.catalog,
            dynamodb=Nobody(),  # type: ignore[arg-type] # as far as it is asked
            contract=True,
            set_aside=lambda _since: (),
        )
        found = {f"{layer} {fault}": keys for (layer, fault), keys in done.faults.items()}
    else:
        for name in ("raw", "curated"):
            table = lake.catalog.load_table(f"lake.{name}_t")
            batches = table.scan(selected_fields=("idempotency_key", "publish_time")).to_arrow()
            duckdb.register(name, batches)
        missing, doubled = duckdb.sql(_DUCKDB).fetchall()[0]
        found = {"curated missing": missing, "curated doubled": doubled}
    return ", ".join(f"{what}: {keys}" for what, keys in sorted(found.items()))


BENCHMARK = Benchmark(
    __file__,
    __doc__,
    "Reconciliation",
    "{rows:,} events in RAW.",
    ("reconcile", "an anti-join in DuckDB"),
    tampered,
    measured,
)

if __name__ == "__main__":
    BENCHMARK.main()
