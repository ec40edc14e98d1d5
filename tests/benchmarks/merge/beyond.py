"""The parts of the table that are not one merge: requests, flattening, functions, the whole pipeline.

Each uses the benchmark that there is of its own (one folder up) and gives what the table says of it.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC
from pathlib import Path
from typing import Any, Final

import contracted
import pyarrow as pa
import run
import workload
from figures import Figure

HERE: Final = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[2])]

import bench_demo  # noqa: E402 - the other benchmarks are one folder up
import bench_flattening  # noqa: E402
import bench_quick  # noqa: E402
import bench_sqs_processor  # noqa: E402
import bench_start_up  # noqa: E402
from tests.support.object_store import ObjectStore, object_store  # noqa: E402

from common.lake.checkpoints import MERGE_SEQ  # noqa: E402
from common.lake.history import said_by  # noqa: E402
from common.lake.merge import StagedSource, merge  # noqa: E402
from common.lake.reading import read_rows  # noqa: E402
from common.lake.rule import EVENT_RULE  # noqa: E402
from common.lake.specifications import TableSpec  # noqa: E402
from lean_ops.environment.repository import function_catalogue  # noqa: E402
from lean_ops.local.target import LocalTarget  # noqa: E402

Measured = tuple[dict[str, Figure], dict[str, float]]
"""Figures by case, and other facts."""

ROWS: Final = 100_000
RATE: Final = 500
LATENCY_S: Final = 240
"""How long events are sent, in seconds: four runs of a schedule of one minute."""

STACK: Final = "bench-latency"
FILE_STORES: Final = {
    "now": "common.lake.files.LakeFileIO",
    "alone": "pyiceberg.io.pyarrow.PyArrowFileIO",
}


def semantic(root: Path, runs: int) -> Measured:
    """Cast and merge Curated by a contract, beside DuckDB."""
    figures = {engine: Figure() for engine in ("semantic", "duckdb-semantic")}
    for number in range(runs):
        for engine, figure in figures.items():
            name = f"clone_{engine}_{number}"
            lake = contracted.clone(root, name)
            result = root / name / "result.json"
            try:
                run.watched(figure, [engine, str(lake.engine.url.database), "-", str(result)], limit_s=900)
                if not figure.missing:
                    contracted.check(lake)
            finally:
                shutil.rmtree(root / name)
    return figures, {}


def requests(root: Path, _runs: int) -> Measured:
    """What three merges ask a store for, counted there, and what they would if Arrow were left alone."""
    facts: dict[str, float] = {}
    table = workload.build_table(root, 20_000)
    for label, implementation in FILE_STORES.items():
        with object_store() as store, tempfile.TemporaryDirectory() as folder:
            lake = workload.catalog(Path(folder), **{"py-io-impl": implementation, **store.properties})
            lake.create_namespace("lake")
            spec = TableSpec.load(workload.SPECIFICATIONS, "curated")
            spec.create(lake, workload.IDENTIFIER, "s3://bucket/curated")
            sources = [read_rows(table, columns=workload.RANDOM.columns)]
            sources += [
                workload.read_batch(workload.build_batch(root, 20_000, 2_000, number)) for number in range(2)
            ]
            for turn, source in zip(("first", "second", "third"), sources, strict=True):
                store.asked.clear()
                _merged(lake, source)
                facts[f"{turn}: {label}"] = _requests(store)
    return {}, facts


def _merged(lake: Any, rows: pa.RecordBatchReader) -> None:
    with StagedSource.of(rows, EVENT_RULE, memory_budget_mb=512) as source:
        merge(lake, workload.IDENTIFIER, source, checkpoint=None, run_id="bench", evolve=True)


def _requests(store: ObjectStore) -> float:
    """Without those for the table's metadata file, which are the catalog's."""
    return float(sum(not path.endswith((".metadata.json", "/bucket")) for _, path in store.asked))


def flattening(_root: Path, runs: int) -> Measured:
    """Processor seconds of one core for 100,000 payloads."""
    texts = pa.array(bench_flattening.payloads(ROWS, spaced=False))
    ours = bench_quick.processor(lambda: bench_flattening.by_shape(texts))
    duckdb = bench_quick.processor(lambda: bench_flattening.in_duckdb(texts))
    return _in_turns({"by shape": ours, "duckdb": duckdb}, runs)


def sqs_processor(_root: Path, runs: int) -> Measured:
    """Processor seconds for 100,000 messages."""
    batches, sink = bench_sqs_processor.lambda_events(ROWS), bench_sqs_processor._Sink()
    quick, usual = bench_sqs_processor.ours(sink), bench_sqs_processor.usual_way(sink)
    ways = {
        "ours": bench_quick.processor(lambda: [quick(batch) for batch in batches]),
        "usual": bench_quick.processor(lambda: [usual(batch) for batch in batches]),
    }
    return _in_turns(ways, runs)


def start(_root: Path, runs: int) -> Measured:
    """Seconds to import in a fresh interpreter what Lambda would: libraries have bytecode, our code has none."""
    (curation,) = (entry for entry in function_catalogue() if entry.name == "curation")
    ways = {
        "curation": lambda: bench_start_up.start(curation)[0],
        "curation, no bytecode": lambda: bench_start_up.start(curation, bytecode=False)[0],
        "yardstick": bench_quick.started,
    }
    return _in_turns(ways, runs)


def _in_turns(ways: Mapping[str, Callable[[], float]], runs: int) -> Measured:
    figures = {name: Figure() for name in ways}
    for way in ways.values():
        way()  # what is loaded on first use is in no figure
    for _ in range(runs):
        for name, way in ways.items():
            figures[name].seconds.append(way())
    return figures, {}


def demo(_root: Path, runs: int) -> Measured:
    """The whole demonstration; the largest process of it."""
    figure = Figure()
    for _ in range(min(runs, 3)):
        report = bench_demo.run(ROWS)
        figure.seconds.append(report["seconds"]["all"])
        figure.memory = max(figure.memory, *report["peak_memory"].values())
    return {"demo": figure}, {}


def latency(_root: Path, _runs: int) -> Measured:
    """From the queue's acceptance of an event to the commit by which Semantic shows it, in seconds.

    ``RATE`` events a second for ``LATENCY_S`` seconds, a run begun every minute. Each row of Semantic says when
    the queue accepted its event, and by which merge it came; a key that was corrected counts with what it
    holds in the end.
    """
    _lean_ops("up")
    try:
        sending = _begin("send", "--events", RATE * LATENCY_S, "--rate", RATE, "--days", 0.05)
        due = time.monotonic()
        while sending.poll() is None:
            due += 60
            time.sleep(max(0.0, due - time.monotonic()))
            _lean_ops("run")
        if sending.returncode:
            raise SystemExit(f"sending ended with exit code {sending.returncode}")
        for _ in range(2):  # the rest: buffered deliveries, then what they brought
            time.sleep(60)
            _lean_ops("run")
        seconds = sorted(_latencies())
    finally:
        _lean_ops("down", "--wipe")
    cuts = statistics.quantiles(seconds, n=100)
    return {}, {"p50": cuts[49], "p99": cuts[98], "events": len(seconds)}


def _latencies() -> Iterator[float]:
    target = LocalTarget.running(Path(".lean-ops") / STACK)
    table = target.catalog().load_table(target.settings.table("semantic", "events"))
    committed = {
        int(said_by(snapshot)[MERGE_SEQ]): snapshot.timestamp_ms / 1000
        for snapshot in table.metadata.snapshots
        if MERGE_SEQ in said_by(snapshot)
    }
    rows = read_rows(table, columns=["ingestion_ts", "_merge_seq"]).read_all()
    for arrived, merge_seq in zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True):
        yield committed[merge_seq] - arrived.astimezone(UTC).timestamp()


def _begin(*arguments: object) -> "subprocess.Popen[bytes]":
    command = [str(bench_demo.LEAN_OPS), *map(str, arguments), "--stack", STACK]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def _lean_ops(*arguments: object) -> None:
    if code := _begin(*arguments).wait():
        raise SystemExit(f"lean-ops {arguments[0]} ended with exit code {code}")


PARTS: dict[str, Callable[[Path, int], Measured]] = {
    "requests": requests,
    "semantic": semantic,
    "flattening": flattening,
    "sqs_processor": sqs_processor,
    "start": start,
    "demo": demo,
    "latency": latency,
}
LONG = ("latency",)
"""Parts of minutes that take their time whatever is measured."""
