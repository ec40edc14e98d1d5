"""A backlog of RAW cleared by the state machine: with functions, and on Spark with a driver killed meanwhile.

    python tests/benchmarks/bench_backlog.py [--events 10000000] [--keep FOLDER] [--write]

A simulated history (corrections, retries, deletes, late and refused readings, leaves that come later) is read
as the queue's function reads it and lies in RAW; nothing of it has been curated. Each way has a stack of its
own and clears it to the last row of Semantic:

    functions   portions of a function, round by round
    Spark       jobs, whose first driver is killed (SIGKILL) in the middle of writing Curated

Then all tables of both are compared, row by row: of each column the sum of the hashes of key and value, and
the number of rows. What two ways may number differently is left out (``NUMBERED``), and of Quarantine the
rows that are settled: what one portion refuses and a later one puts right is there, what one portion sees
together is not.

Seconds are wall time; processor time is that of all processes that a way started, with the emulator's, and
of the drivers by themselves: on a machine that others use too, compare that. Needs what ``make test-spark``
does.
"""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from page import write_section

from common.intake.events import EventParser
from common.runtime.errors import RejectedEvent
from lean_ops.environment.target import Target
from lean_ops.local import spark
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget, keep_spark
from lean_ops.operate import jobs, pipeline
from lean_ops.operate.pipeline import Engine
from lean_ops.simulate.history import History, Scenario

TOPIC = "events"
END = datetime(2026, 6, 1, tzinfo=UTC)
FLEETS = 10
"""Fleets that send the same history, each under keys, ids and device names of its own: to simulate one takes
longer than to work on it. Rows that are alike cost as much as others, except that files are smaller."""
COMMIT = 163_840
"""Events of one commit of RAW: about what fills Firehose's buffer of 128 MiB."""
NUMBERED = {"_merge_seq", "_source_merge_seq"}
"""Columns that count merges, of which functions need more."""
KEY = "0" * 64
LAYERS = ("curated", "semantic", "quarantine")
_LOOK_S = 0.5


def scenario(events: int) -> Scenario:
    """The history of one fleet, the same whenever it is simulated."""
    return Scenario(events=events // FLEETS, seed=17, end=END, days=30, devices=5_000)


def deliver(path: Path, first: int, events: int) -> None:
    """Write (once) what RAW receives of all fleets' messages from position ``first`` of their history on."""
    if path.exists():
        return
    parser, history = EventParser({TOPIC}), History(scenario(events))
    received = int(END.timestamp() * 1e6)
    records: list[dict[str, Any]] = []
    messages = history.messages(first)
    for position in range(first, min(first + COMMIT // FLEETS, events // FLEETS)):
        try:
            _, record = parser.parse(next(messages).body, received + position)
        except RejectedEvent:  # a dead letter, which never reaches RAW
            continue
        records.append(msgspec.json.decode(record))
    table = pa.Table.from_pylist(records)
    for name in ("publish_time", "ingestion_ts"):
        place = table.column_names.index(name)
        table = table.set_column(place, name, table[name].cast(pa.timestamp("us", "UTC")))
    renamed = f"""
        select t.* replace (
            fleet || '-' || message_id as message_id, fleet || '-' || idempotency_key as idempotency_key,
            replace(json_payload, '"device":{{"id":"', '"device":{{"id":"' || fleet || '-') as json_payload)
        from t cross join range({FLEETS}) f(fleet)"""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("set timezone = 'UTC'")
    connection.register("t", table)
    pq.write_table(connection.sql(renamed).to_arrow_table(), path.with_suffix(".part"), compression="zstd")
    path.with_suffix(".part").rename(path)


def delivered(folder: Path, events: int) -> list[Path]:
    """The files of all commits of RAW, simulated on two processes where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    steps = range(0, events // FLEETS, COMMIT // FLEETS)
    places = {folder / f"{events}-{first:09d}.parquet": first for first in steps}
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(partial(deliver, events=events), places, places.values()))
    return sorted(places)


@dataclass
class Spent:
    """Processor seconds and the most memory of a group of processes."""

    by_process: dict[tuple[int, float], float] = field(default_factory=dict)
    peak_bytes: int = 0

    @property
    def processor_s(self) -> float:
        """Of all of them, ended or not."""
        return sum(self.by_process.values())


class Watch(threading.Thread):
    """Looks at all that a stack's emulator has started: functions, and each driver with what is below it."""

    def __init__(self, emulator: int) -> None:
        super().__init__(daemon=True)
        self.functions = Spent()
        self.drivers: dict[int, Spent] = {}
        self._root, self._ended = psutil.Process(emulator), threading.Event()

    def run(self) -> None:
        """Look, until ``end``."""
        while not self._ended.wait(_LOOK_S):
            held: dict[int, int] = defaultdict(int)
            for process in [self._root, *self._root.children(recursive=True)]:
                try:
                    group = self._driver(process)
                    spent = self.functions if group is None else self.drivers.setdefault(group, Spent())
                    times, memory = process.cpu_times(), process.memory_info()
                    spent.by_process[process.pid, process.create_time()] = times.user + times.system
                    held[group or 0] += memory.rss - memory.shared
                except psutil.NoSuchProcess:
                    continue
            for group, size in held.items():
                spent = self.drivers[group] if group else self.functions
                spent.peak_bytes = max(spent.peak_bytes, size)

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self.join()

    def _driver(self, process: psutil.Process) -> int | None:
        for one in [process, *process.parents()]:
            if one == self._root:
                return None
            with contextlib.suppress(psutil.NoSuchProcess):  # a zombie has no command line
                if "spark.job" in one.cmdline():
                    return one.pid
        return None


@dataclass(frozen=True)
class Cleared:
    """How one way went, and what its tables hold."""

    seconds: float
    watch: Watch
    commits: dict[str, int]
    rows: dict[str, int]
    digests: dict[str, dict[str, str]]
    killed_at: str


def take_portions(target: LocalTarget, rows: int) -> None:
    """Let the functions take so many rows at once: several portions of a small history, too."""
    client = target.client("lambda")
    for name in ("curation", "semantic"):
        known = client.get_function_configuration(FunctionName=target.function(name))["Environment"][
            "Variables"
        ]
        changed = known | {"LEAN_OPS_BATCH_ROWS": str(rows)}
        client.update_function_configuration(
            FunctionName=target.function(name), Environment={"Variables": changed}
        )


def clear(
    folder: Path, files: list[Path], engine: Engine, *, kill: bool, portion: int | None = None
) -> Cleared:
    """A stack of its own: fill RAW, clear it, and read what came of it."""
    stack = Stack(folder, tied_to_parent=True, wait_scale=0.01)
    stack.up()
    keep_spark(folder, wanted=engine is not Engine.LAMBDA)
    target = LocalTarget.running(folder)
    provision(target, Tuning())
    # Personal data is hashed with the stack's own key: with the same one, the hashes are the same.
    target.client("secretsmanager").put_secret_value(SecretId=target.pii_key_secret, SecretString=KEY)
    if portion is not None:
        take_portions(target, portion)
    raw = target.catalog().load_table(f"{target.database}.raw_{TOPIC}")
    names = raw.schema().as_arrow()
    for path in files:
        found = pq.read_table(path)
        for name in set(names.names) - set(found.column_names):
            found = found.append_column(name, pa.nulls(len(found), names.field(name).type))
        raw.append(found.select(names.names).cast(names))
    say(f"{engine}: RAW holds {count(target, 'raw'):,} events in {len(files)} commits")
    watch = Watch(target_emulator(folder))
    watch.start()
    begun = time.perf_counter()
    killed_at = run(target, engine, kill=kill)
    seconds = time.perf_counter() - begun
    watch.end()
    say(f"{engine}: cleared in {seconds:.0f} s")
    answer = Cleared(
        seconds,
        watch,
        {layer: commits(target, layer) for layer in LAYERS},
        {layer: count(target, layer) for layer in LAYERS},
        {layer: digest(target, layer) for layer in LAYERS},
        killed_at,
    )
    stack.down(wipe=True)
    return answer


def target_emulator(folder: Path) -> int:
    """The process id of a stack's emulator."""
    known = Stack(folder).status().record
    assert known is not None
    return known.emulator.pid


def run(target: LocalTarget, engine: Engine, *, kill: bool) -> str:
    """Run the pipeline to its end, with whatever execution goes on; gives where a driver was killed."""
    arn = pipeline.start(target, TOPIC, engine=engine)
    killed_at = ""
    said = None
    while running := executions(target):
        progress = jobs.progress(target, TOPIC, arn)
        if progress != said and progress is not None:
            said = progress
            say(f"  {progress}")
        if kill and not killed_at and progress and progress.stage == "writing" and progress.tasks_done:
            killed_at = f"{progress.tasks_done} of {progress.tasks} shards were written"
            for driver in drivers():
                with contextlib.suppress(psutil.NoSuchProcess):
                    driver.kill()
            say(f"  killed: {killed_at}")
        time.sleep(_LOOK_S)
    for one in running or [arn]:
        ended = pipeline.outcome(target, one)
        assert ended.succeeded, ended
    assert killed_at or not kill, "the job was done before it could be killed: take more events"
    return killed_at


def executions(target: Target) -> list[str]:
    """Those that run now; raises where one failed."""
    client = target.client("stepfunctions")
    listed = client.list_executions(stateMachineArn=target.state_machine_arn, maxResults=100)["executions"]
    failed = [one for one in listed if one["status"] not in {"RUNNING", "SUCCEEDED"}]
    assert not failed, pipeline.outcome(target, failed[0]["executionArn"])
    return [one["executionArn"] for one in listed if one["status"] == "RUNNING"]


def drivers() -> Iterator[psutil.Process]:
    """Drivers of jobs that this process's stack runs."""
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # ended, or a zombie
            if "spark.job" in one.cmdline():
                yield one


def commits(target: LocalTarget, layer: str) -> int:
    """Snapshots of a table."""
    return len(target.catalog().load_table(f"{target.database}.{layer}_{TOPIC}").snapshots())


def count(target: LocalTarget, layer: str) -> int:
    """Rows of a table, deleted ones not counted."""
    return target.catalog().load_table(f"{target.database}.{layer}_{TOPIC}").scan().count()


def batches(target: LocalTarget, layer: str, names: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a layer; of Quarantine those that wait still."""
    catalog = target.catalog()
    found = catalog.load_table(f"{target.database}.{layer}_{TOPIC}").scan()
    if layer != "quarantine":
        yield from found.select(*names).to_arrow_batch_reader()
        return
    key, merged = "idempotency_key", "_source_merge_seq"
    refused = found.to_arrow()
    published = catalog.load_table(f"{target.database}.semantic_{TOPIC}").scan(selected_fields=(key, merged))
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("set timezone = 'UTC'")
    connection.register("refused", refused)
    connection.register("published", published.to_arrow())
    waiting = connection.sql(
        f"""select r.{key} from refused r left join published p using ({key})
            where p.{merged} is null or p.{merged} < r.{merged}"""
    ).to_arrow_table()
    yield from refused.filter(pc.is_in(refused[key], value_set=waiting[key])).select(names).to_batches()


def digest(target: LocalTarget, layer: str) -> dict[str, str]:
    """Of each column the sum over all rows of the hash of key and value; equal for equal rows."""
    table = target.catalog().load_table(f"{target.database}.{layer}_{TOPIC}")
    names = sorted(set(table.schema().column_names) - NUMBERED)
    totals = dict.fromkeys(names, 0)
    # A value of the text differs from none, and a column's own name from that of its neighbour.
    # The refused row as JSON has the number of its merge as well.
    values = {name: f'"{name}"' for name in names}
    if "row_json" in values:
        values["row_json"] = """regexp_replace(row_json, '"_merge_seq": ?"?[0-9]+"?', '')"""
    sums = ", ".join(f"sum(hash(idempotency_key, '{name}', {value}))" for name, value in values.items())
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("set timezone = 'UTC'")
    for batch in batches(target, layer, names):
        if not batch.num_rows:
            continue
        connection.register("batch", pa.Table.from_batches([batch]))
        found = connection.sql(f"select {sums} from batch").fetchone()
        assert found is not None
        for name, value in zip(names, found, strict=True):
            totals[name] += int(value)
    return {name: f"{value % 2**128:032x}" for name, value in totals.items()}


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def differences(ways: dict[str, Cleared]) -> Iterator[str]:
    """Tables and columns in which the ways differ."""
    one, other = ways.values()
    for layer in LAYERS:
        if layer != "quarantine" and one.rows[layer] != other.rows[layer]:
            yield f"{layer}: {one.rows[layer]} and {other.rows[layer]} rows"
        for name in sorted(one.digests[layer].keys() | other.digests[layer].keys()):
            if one.digests[layer].get(name) != other.digests[layer].get(name):
                yield f"{layer}.{name}"


def report(events: int, ways: dict[str, Cleared]) -> str:
    """The section of the page."""
    differ = list(differences(ways))
    lines = [
        f"{events:,} simulated messages, of which RAW holds those that are no dead letters.",
        "",
        "| way | wall time | processor seconds | of good jobs | of the killed one | peak memory | commits |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in ways.items():
        of = list(found.watch.drivers.items())  # in the order in which they began
        lost = of[0][1].processor_s if found.killed_at else 0.0
        well = [spent.processor_s for _, spent in of[1 if found.killed_at else 0 :]]
        peak = max([spent.peak_bytes for _, spent in of], default=found.watch.functions.peak_bytes)
        whole = found.watch.functions.processor_s + lost + sum(well)
        said = " + ".join(f"{one:.0f}" for one in well) or "none"
        lines.append(
            f"| {name} | {found.seconds:.0f} s | {whole:.0f} | {said} | {lost:.0f} | {peak / 2**30:.1f} GiB "
            f"| {found.commits['curated']}, {found.commits['semantic']} |"
        )
    spark_way = list(ways.values())[-1]
    lines += [
        "",
        f"The first job's driver was killed when {spark_way.killed_at}; the state machine began it again.",
        f"Rows afterwards: {', '.join(f'{layer} {n:,}' for layer, n in spark_way.rows.items())}.",
        f"**The ways differ** in {', '.join(differ)}."
        if differ
        else "Both ways hold the same tables, row by row.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, compare and print; exit code 1 where the tables differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--keep", type=Path, help="a folder that keeps what was simulated for the next time")
    parser.add_argument("--portion", type=int, help="rows that functions take at once, in place of a million")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if lacks := spark.missing() or spark.install():
        sys.exit(lacks)
    root = Path(tempfile.mkdtemp(prefix="backlog-"))
    try:
        files = delivered(arguments.keep or root / "delivered", arguments.events)
        say(f"{len(files)} commits of RAW simulated")
        ways = {
            "jobs on Spark": clear(
                root / "spark",
                files,
                Engine.SPARK if arguments.events < 5_000_000 else Engine.AUTO,
                kill=True,
            ),
            "functions": clear(
                root / "functions", files, Engine.LAMBDA, kill=False, portion=arguments.portion
            ),
        }
    finally:
        shutil.rmtree(root, ignore_errors=True)
    ways = dict(reversed(ways.items()))
    text = report(arguments.events, ways)
    print(text)
    print(json.dumps({name: found.digests for name, found in ways.items()}, indent=1))
    if arguments.write:
        write_section(
            "A backlog through the state machine",
            f"bench_backlog.py --events {arguments.events}",
            text,
        )
    sys.exit(1 if list(differences(ways)) else 0)


if __name__ == "__main__":
    main()
