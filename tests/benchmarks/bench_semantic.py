"""What older versions and deletes cost: runs of Semantic with refused rows, merges of Curated with deletes.

    python tests/benchmarks/bench_semantic.py [--rows 100000] [--runs 5] [--write]

Every run takes as many events as ``--rows``: half correct what was there, half are new. Of a refused key the
run brings an older good version too, so that its look-up finds something. The same runs without looking
anything up are what Semantic did before it held the newest good version; both fill lakes of their own, in
turns, on local files. Seconds of processor time of the job, all threads.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from page import write_section
from pyiceberg.catalog.sql import SqlCatalog

from common.contract.contracts import Contract, load_contract
from common.lake.checkpoints import SourceCheckpoint
from common.lake.specifications import LAYERS, TableSpec
from common.layers.curated import curate
from common.layers.semantic import publish
from common.runtime.settings import JobSettings

SPECIFICATIONS = Path(__file__).parents[2] / "modules/storage/tables"
SETTINGS = JobSettings("p", "e", "lake", "checkpoints", 10**9, 10**12, 2048)
START = datetime(2026, 5, 1, tzinfo=UTC)
NUMBERS = tuple(f"n{number}" for number in range(10))
TEXTS = tuple(f"t{number}" for number in range(10))


def contract() -> Contract:
    """A contract of twenty columns; ``n0`` is critical."""
    properties = "".join(
        f"      - name: {name}\n        description: A column\n        logicalType: {kind}\n"
        f"        transformSourceObjects: [{name}]\n"
        + ("        criticalDataElement: true\n" if name == "n0" else "")
        for names, kind in ((NUMBERS, "integer"), (TEXTS, "string"))
        for name in names
    )
    return load_contract(
        "apiVersion: v3.2.0\nkind: DataContract\nid: bench.t\nversion: 1.0.0\nstatus: active\nschema:\n"
        f"  - name: t\n    properties:\n{properties}",
        "t",
    )


class Lake:
    """All tables of one topic, on local files."""

    def __init__(self, folder: Path) -> None:
        self.connect(folder)
        self.catalog.create_namespace("lake")
        self.contract = contract()
        self.raw_read: SourceCheckpoint | None = None
        self.published: SourceCheckpoint | None = None
        for layer in LAYERS:
            spec = TableSpec.load(SPECIFICATIONS, layer)
            if layer == "semantic":
                spec = spec.with_columns(self.contract.semantic_columns())
            spec.create(self.catalog, f"lake.{layer}_t")

    def connect(self, folder: Path) -> None:
        """Open what may be there already."""
        self.catalog = SqlCatalog("t", uri=f"sqlite:///{folder}/c.db", warehouse=f"file://{folder}")

    def deliver(self, rows: list[dict[str, Any]]) -> None:
        """Append events to RAW."""
        raw = self.catalog.load_table("lake.raw_t")
        raw.append(pa.Table.from_pylist(rows, schema=raw.schema().as_arrow()))

    def curate(self) -> float:
        """Merge into Curated; seconds of processor time."""
        start = time.process_time()
        done = curate(
            "t",
            self.raw_read,
            "run",
            settings=SETTINGS,
            catalog=self.catalog,
            record_columns=lambda _columns: None,
            set_aside=lambda _rows: None,
        )
        self.raw_read = done.checkpoint
        return time.process_time() - start

    def publish(self, *, look_up: bool) -> float:
        """Merge into Semantic; seconds of processor time."""
        start = time.process_time()
        done = publish(
            self.contract,
            self.published,
            "run",
            settings=SETTINGS,
            catalog=self.catalog,
            pii_key=b"key",
            record_uncontracted=lambda _columns: None,
            record_replaced=lambda _columns: None,
            raw_read=self.raw_read if look_up else None,
        )
        self.published = done.checkpoint
        return time.process_time() - start


def events(rows: int, turn: int, refused: float, deleted: float) -> list[dict[str, Any]]:
    """The events of one run; ``refused`` and ``deleted`` are shares of its keys."""
    dice = random.Random(turn)
    found = []
    for number in range(rows):
        key = dice.randrange(rows * (turn + 1))
        fate = dice.random()
        moment = START + timedelta(minutes=dice.randrange(2_800), days=2 * turn)
        if fate < refused:
            found.append(_event(f"k{key}", f"{turn}-{number}-old", moment - timedelta(seconds=1), number))
        value = "none" if fate < refused else number
        deletes = refused <= fate < refused + deleted
        found.append(_event(f"k{key}", f"{turn}-{number}", moment, value, deletes=deletes))
    return found


def _event(
    key: str, message: str, moment: datetime, value: object, *, deletes: bool = False
) -> dict[str, Any]:
    payload = dict.fromkeys(NUMBERS, value) | dict.fromkeys(TEXTS, f"some text {value}")
    return {
        "message_id": message,
        "idempotency_key": key,
        "topic_name": "t",
        "period_reference": moment.strftime("%Y-%m"),
        "publish_time": moment,
        "ingestion_ts": moment + timedelta(minutes=1),
        "json_payload": None if deletes else json.dumps(payload),
        "operation": "delete" if deletes else None,
    }


def _line(what: str, of: list[float], base: float) -> str:
    median = statistics.median(of)
    return f"| {what} | {median:.2f} s | {min(of):.2f} to {max(of):.2f} s | {median / base:.2f} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write the figures into docs/benchmarks.md")
    options = parser.parse_args()

    lines = [
        "Goals: 1.00 where nothing is refused, 1.2 where one row of a hundred is, 1.05 for deletes.",
        "",
        "| run of Semantic | median | fastest to slowest | to the same without look-up |",
        "|---|---|---|---|",
    ]
    for refused in (0.0, 0.01, 0.1):
        seconds: dict[bool, list[float]] = {False: [], True: []}
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            lakes = {False: Lake(Path(first)), True: Lake(Path(second))}
            for turn in range(options.runs + 1):
                brought = events(options.rows, turn, refused, 0.0)
                for look_up in (False, True) if turn % 2 else (True, False):
                    lakes[look_up].deliver(brought)
                    lakes[look_up].curate()
                    took = lakes[look_up].publish(look_up=look_up)
                    if turn:  # the first fills empty tables
                        seconds[look_up].append(took)
        base = statistics.median(seconds[False])
        lines.append(_line(f"{refused:.0%} refused, without look-up", seconds[False], base))
        lines.append(_line(f"**{refused:.0%} refused**", seconds[True], base))
    lines += ["", "| run of Curated | median | fastest to slowest | to none deleted |", "|---|---|---|---|"]
    merges: dict[float, list[float]] = {0.0: [], 0.01: [], 0.1: []}
    with tempfile.TemporaryDirectory() as folder:
        several = {}
        for deleted in merges:
            (Path(folder) / f"{deleted}").mkdir()
            several[deleted] = Lake(Path(folder) / f"{deleted}")
        for turn in range(options.runs + 1):
            for deleted, lake in several.items():
                lake.deliver(events(options.rows, turn, 0.0, deleted))
                took = lake.curate()
                if turn:
                    merges[deleted].append(took)
    base = statistics.median(merges[0.0])
    lines += [_line(f"{deleted:.0%} deletes", of, base) for deleted, of in merges.items()]
    text = "\n".join(lines)
    print(text)
    if options.write:
        write_section("Older versions and deletes", "python tests/benchmarks/bench_semantic.py --write", text)


if __name__ == "__main__":
    main()
