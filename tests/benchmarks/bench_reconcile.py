"""What it takes to find one row in a million that is missing, and one that is there twice.

    python tests/benchmarks/bench_reconcile.py [--rows 1000000] [--runs 3] [--write]

RAW holds ``--rows`` events, half of them corrections, Curated and Semantic what the jobs made of it; then
one row is taken out of Curated and one is put in twice. Beside ``reconcile`` stands what a user would
write: an anti-join of RAW and Curated, and a count of keys, with DuckDB, which sees neither Semantic nor
ties, retention or erasures. Processor time and peak of a process of its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import duckdb
from bench_semantic import SETTINGS, Lake, events
from page import write_section

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


def measured(folder: Path, way: str) -> dict[str, Any]:
    """One measurement in this process: seconds, peak in MiB, and what was found."""
    lake = Lake.__new__(Lake)
    lake.connect(folder)
    start = time.process_time()
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
    seconds = time.process_time() - start
    return {
        "seconds": seconds,
        "mib": peak_kib() / 1024,
        "found": found,
    }


def peak_kib() -> int:
    """Of this process since it began; ``getrusage`` would give the parent's, where that is more."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write the figures into docs/benchmarks.md")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(Path(options.one[0]), options.one[1])))
        return
    lines = [
        f"{options.rows:,} events in RAW.",
        "",
        "| | median, CPU | fastest to slowest | peak | found |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        tampered(Path(folder), options.rows)
        for way in ("reconcile", "an anti-join in DuckDB"):
            of = [_alone(folder, way) for _ in range(options.runs)]
            seconds = [one["seconds"] for one in of]
            found = ", ".join(f"{what}: {keys}" for what, keys in sorted(of[0]["found"].items()))
            lines.append(
                f"| {way} | {statistics.median(seconds):.1f} s | {min(seconds):.1f} to {max(seconds):.1f} s "
                f"| {max(one['mib'] for one in of):,.0f} MiB | {found} |"
            )
    text = "\n".join(lines)
    print(text)
    if options.write:
        write_section("Reconciliation", "python tests/benchmarks/bench_reconcile.py --write", text)


def _alone(folder: str, way: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", folder, way]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


if __name__ == "__main__":
    main()
