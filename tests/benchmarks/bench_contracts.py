"""What it takes to propose a contract from rows, to see what one would do to them, and to measure its rules.

    python tests/benchmarks/bench_contracts.py [--rows 1000000] [--runs 3] [--write]

Curated holds ``--rows`` rows of thirty fields. The contract to come reads all of them, a third of the values
break it, and another one is published; then one that refuses every row. Rules about all rows together are one
of each metric, on four columns, as they are measured after a commit. Processor time and peak of a process
of its own, on local files.
"""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from alone import Benchmark
from pyiceberg.catalog.sql import SqlCatalog

from common.contract.contracts import Contract, load_contract
from common.contract.quality import Bound, Metric, QualityRule
from common.lake.specifications import LAYERS, TableSpec
from common.layers.planning import plan
from common.layers.proposing import propose
from common.layers.quality import measure
from common.runtime.settings import JobSettings

SPECIFICATIONS = Path(__file__).parents[2] / "modules/storage/tables"
SETTINGS = JobSettings("p", "e", "lake", "checkpoints", 10**9, 10**12, 2048)
START = datetime(2026, 5, 1, tzinfo=UTC)
FIELDS = 10
"""Of each of three kinds."""
_AT_ONCE = 100_000
RULES = "four rules about all rows"


def contract(version: str = "1.0.0", *, day: str = "yyyy-MM-dd", most: int = 10**6) -> Contract:
    """A contract of thirty columns; ``d0`` is critical."""
    kinds = {
        "n": f"integer\n        logicalTypeOptions: {{maximum: {most}}}",
        "t": "string\n        logicalTypeOptions: {maxLength: 20}",
        "d": f"date\n        logicalTypeOptions: {{format: {day}}}",
    }
    properties = "".join(
        f"      - name: {letter}{number}\n        description: A column\n        logicalType: {kind}\n"
        + ("        criticalDataElement: true\n" if f"{letter}{number}" == "d0" else "")
        for letter, kind in kinds.items()
        for number in range(FIELDS)
    )
    return load_contract(
        f"apiVersion: v3.2.0\nkind: DataContract\nid: bench.t\nversion: {version}\nstatus: active\nschema:\n"
        f"  - name: t\n    properties:\n{properties}",
        "t",
    )


def connect(folder: Path) -> SqlCatalog:
    """The tables of one topic on local files."""
    return SqlCatalog("t", uri=f"sqlite:///{folder}/c.db", warehouse=f"file://{folder}")


def fill(folder: Path, rows: int) -> None:
    """Curated with so many rows, in several files."""
    catalog = connect(folder)
    catalog.create_namespace("lake")
    for layer in LAYERS:
        spec = TableSpec.load(SPECIFICATIONS, layer, low_volume=True)
        if layer == "semantic":
            spec = spec.with_columns(contract().semantic_columns())
        spec.create(catalog, f"lake.{layer}_t")
    table = catalog.load_table("lake.curated_t")
    with table.update_schema() as update:
        for letter in "ntd":
            for number in range(FIELDS):
                update.add_column(
                    f"{letter}{number}",
                    TableSpec.load(SPECIFICATIONS, "curated").schema.find_type("message_id"),
                )
    for first in range(0, rows, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, rows))
        texts: dict[str, Any] = {
            "n": pa.array([str(n) for n in numbers]),
            "t": pa.array([f"some text {n % 1_000}" for n in numbers]),
            "d": pa.array([f"{START + timedelta(days=n % 300):%Y-%m-%d}" for n in numbers]),
        }
        moments = pa.array(
            [START + timedelta(seconds=n) for n in range(len(numbers))], pa.timestamp("us", "UTC")
        )
        names = pa.array([f"k{n}" for n in numbers])
        columns: dict[str, Any] = {
            "message_id": names,
            "idempotency_key": names,
            "publish_time": moments,
            "ingestion_ts": moments,
            "topic_name": pa.array(["t"] * len(numbers)),
            "period_reference": pa.array(["2026-05"] * len(numbers)),
            "_merge_seq": pa.array([1] * len(numbers), pa.int64()),
        }
        columns |= {f"{letter}{n}": texts[letter] for letter in texts for n in range(FIELDS)}
        wanted = table.schema().as_arrow()
        nulls = {f.name: pa.nulls(len(numbers), f.type) for f in wanted if f.name not in columns}
        table.append(pa.table({f.name: {**columns, **nulls}[f.name] for f in wanted}).cast(wanted))


def measured(folder: Path, way: str) -> str:
    """What one way finds."""
    catalog = connect(folder)
    if way == "init":
        proposed = propose("t", settings=SETTINGS, catalog=catalog)
        kinds = Counter(line.split()[-1] for line in proposed.text.splitlines() if "logicalType:" in line)
        return ", ".join(f"{count} of type {kind}" for kind, count in sorted(kinds.items()))
    if way == RULES:
        stated: list[tuple[str, Metric, frozenset[str | None], str | None]] = [
            ("n0", "nullValues", frozenset(), None),
            ("n1", "missingValues", frozenset({"7"}), None),
            ("d0", "invalidValues", frozenset(), "^2026-"),
            ("idempotency_key", "duplicateValues", frozenset(), None),
        ]
        rules = [
            QualityRule(
                column + metric, metric, (column,), Bound("mustBe", (Decimal(0),)), values=values, pattern=re
            )
            for column, metric, values, re in stated
        ]
        table = catalog.load_table("lake.curated_t")
        took = measure(table, rules, version="1.0.0", now=START, most_rows=None)
        return f"{took.rows:,} rows, {took.bytes / 2**20:,.0f} MiB decoded"
    wrong = way == "plan, every row refused"
    new = contract("2.0.0", day="dd.MM.yyyy") if wrong else contract("2.0.0", most=700_000)
    done = plan(new, contract(), settings=SETTINGS, catalog=catalog)
    return f"{done.newly_refused:,} rows refused, {sum(v.lost for v in done.values.values()):,} values null"


BENCHMARK = Benchmark(
    __file__,
    __doc__,
    "Contracts",
    "{rows:,} rows in Curated, 30 fields.",
    ("init", "plan, ten columns tightened", "plan, every row refused", RULES),
    fill,
    measured,
)

if __name__ == "__main__":
    BENCHMARK.main()
