"""Semantic holds typed rows under the contract; a row that breaks it is kept aside, a good one stays."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from common.contract.casting import UNPROCESSABLE
from common.contract.contracts import Contract, load_contract
from common.lake.checkpoints import SourceCheckpoint
from common.lake.merge.datafiles import DataFileWriter
from common.lake.specifications import LAYERS, TableSpec
from common.layers.semantic import Published, publish
from common.runtime.settings import JobSettings

from ..support.lake import merge_rows

ROOT = Path(__file__).parents[2]
SETTINGS = JobSettings("p", "e", ("t",), "lake", "checkpoints", 10**9, 10**12, 512)
CONTRACT = """
apiVersion: v3.2.0
kind: DataContract
id: test.t
version: 1.0.0
status: active
schema:
  - name: t
    properties:
      - name: value
        description: A number
        logicalType: number
        physicalType: decimal(10,2)
        required: true
        criticalDataElement: true
        transformSourceObjects: [value]
"""
START = datetime(2026, 5, 1, tzinfo=UTC)


class Lake:
    """Curated, Semantic and Quarantine of one topic, on local files."""

    def __init__(self, folder: Path) -> None:
        self.catalog = SqlCatalog("t", uri=f"sqlite:///{folder}/c.db", warehouse=f"file://{folder}")
        self.catalog.create_namespace("lake")
        self.contract = load_contract(CONTRACT, "t")
        for layer in LAYERS:
            spec = TableSpec.load(ROOT / "modules/storage/tables", layer)
            if layer == "semantic":
                spec = spec.with_columns(self.contract.semantic_columns())
            spec.create(self.catalog, f"lake.{layer}_t")
        self.uncontracted: list[str] = []
        self.replaced: list[str] = []

    def curate(self, *rows: tuple[str, int, str | None], **extra: str) -> None:
        """Merge (key, version, value) into Curated: a greater version is a correction."""
        listed = [
            {
                "message_id": f"{key}-{version}",
                "idempotency_key": key,
                "topic_name": "t",
                "period_reference": "2026-05",
                "publish_time": START + timedelta(minutes=version),
                "ingestion_ts": START + timedelta(minutes=version),
                "value": value,
                **extra,
            }
            for key, version, value in rows
        ]
        merge_rows(self.catalog, "lake.curated_t", pa.Table.from_pylist(listed).to_batches())

    def publish(
        self, since: SourceCheckpoint | None = None, contract: Contract | None = None, rows: int = 10**9
    ) -> Published:
        def note(columns: Sequence[str]) -> None:
            self.uncontracted += columns

        return publish(
            contract or self.contract,
            since,
            "run",
            settings=replace(SETTINGS, batch_rows=rows),
            catalog=self.catalog,
            pii_key=b"key",
            record_uncontracted=note,
            record_replaced=self.replaced.extend,
        )

    def rows(self, layer: str) -> dict[str, dict[str, Any]]:
        found = self.catalog.load_table(f"lake.{layer}_t").scan().to_arrow().to_pylist()
        return {row["idempotency_key"]: row for row in found}

    def values(self) -> dict[str, Any]:
        return {key: row["value"] for key, row in self.rows("semantic").items()}


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake(tmp_path)
    yield lake
    lake.catalog.close()


def test_good_rows_are_typed_and_bad_rows_are_kept_aside_with_the_reason(lake: Lake) -> None:
    lake.curate(("a", 1, "1.10"), ("b", 1, "warm"), ("c", 1, None))
    done = lake.publish()
    assert lake.values() == {"a": Decimal("1.10")}
    quarantined = lake.rows("quarantine")
    assert quarantined.keys() == {"b", "c"}
    (reason,) = json.loads(quarantined["b"]["reasons"])
    assert reason["column"] == "value"
    assert "warm" in quarantined["b"]["row_json"]
    assert done.quarantined == 2


def test_a_row_that_makes_the_merge_fail_is_quarantined_and_all_others_are_published(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = DataFileWriter.write_partition

    def fail(writer: DataFileWriter, partition: Any, rows: pa.Table, new_path: Any) -> Any:
        if "value" in rows.column_names and Decimal("6.66") in rows["value"].to_pylist():
            raise IndexError("6.66")
        return honest(writer, partition, rows, new_path)

    lake.curate(("a", 1, "1.10"), ("b", 1, "6.66"), ("c", 1, "warm"), ("d", 1, "4"))
    monkeypatch.setattr(DataFileWriter, "write_partition", fail)
    done = lake.publish()
    assert lake.values() == {"a": Decimal("1.10"), "d": Decimal(4)}
    quarantined = lake.rows("quarantine")
    assert quarantined.keys() == {"b", "c"}
    (reason,) = json.loads(quarantined["b"]["reasons"])
    assert (reason["rule"], done.quarantined, done.set_aside) == (UNPROCESSABLE, 2, 1)
    assert "6.66" not in reason["found"]
    assert lake.publish(done.checkpoint).rows_read == 0


def test_a_good_row_stays_when_its_correction_is_bad(lake: Lake) -> None:
    lake.curate(("a", 1, "1"))
    since = lake.publish().checkpoint
    lake.curate(("a", 2, "broken"))
    lake.publish(since)
    assert lake.values() == {"a": Decimal(1)}
    assert "a" in lake.rows("quarantine")


def test_a_later_good_version_settles_a_quarantined_row(lake: Lake) -> None:
    lake.curate(("a", 1, "broken"))
    since = lake.publish().checkpoint
    lake.curate(("a", 2, "2"))
    lake.publish(since)
    semantic, quarantine = lake.rows("semantic"), lake.rows("quarantine")
    assert semantic["a"]["_source_merge_seq"] > quarantine["a"]["_source_merge_seq"]


def test_reading_in_portions_ends_with_the_same_table(lake: Lake) -> None:
    for number in range(1, 6):
        lake.curate((f"a{number}", 1, "1"), (f"b{number}", 1, "2"))
    since, runs = None, 0
    while (done := lake.publish(since, rows=2)).merge is not None:
        since, runs = done.checkpoint, runs + 1
    assert runs == 5
    assert len(lake.values()) == 10


def test_reading_everything_again_changes_nothing(lake: Lake) -> None:
    lake.curate(("a", 1, "1"), ("b", 1, "broken"))
    lake.publish()
    tables = [lake.catalog.load_table(f"lake.{layer}_t") for layer in ("semantic", "quarantine")]
    lake.publish()
    for table in tables:
        before = table.current_snapshot()
        table.refresh()
        assert table.current_snapshot() == before


def test_rows_that_a_later_merge_left_alone_are_not_read_again(lake: Lake) -> None:
    lake.curate(*((f"k{n}", 1, "1") for n in range(50)))
    since = lake.publish().checkpoint
    lake.curate(("k3", 2, "2"))
    assert lake.publish(since).rows_read == 1


def test_a_column_that_the_contract_leaves_out_is_noted_and_not_published(lake: Lake) -> None:
    lake.curate(("a", 1, "1"), secret="x")  # noqa: S106 - a column's name
    lake.publish()
    assert lake.uncontracted == ["secret"]
    assert "secret" not in lake.rows("semantic")["a"]


def test_a_new_contract_column_appears_and_a_type_widens(lake: Lake) -> None:
    lake.curate(("a", 1, "1"))
    since = lake.publish().checkpoint
    text = CONTRACT.replace("1.0.0", "1.1.0").replace("decimal(10,2)", "decimal(12,2)")
    text += "      - name: unit\n        description: Its unit\n        logicalType: string\n"
    lake.curate(("b", 1, "1234567890.25"), unit="C")
    lake.publish(since, load_contract(text, "t"))
    assert lake.values() == {"a": Decimal(1), "b": Decimal("1234567890.25")}
    assert lake.rows("semantic")["b"]["unit"] == "C"


def test_going_back_to_a_contract_before_a_widening_keeps_the_wider_column(lake: Lake) -> None:
    lake.curate(("a", 1, "12345678.25"))
    since = lake.publish().checkpoint
    lake.curate(("b", 1, "1.5"), ("c", 1, "12345678"))
    done = lake.publish(since, load_contract(CONTRACT.replace("decimal(10,2)", "decimal(5,2)"), "t"))
    assert lake.values() == {"a": Decimal("12345678.25"), "b": Decimal("1.50")}
    assert done.quarantined == 1
    assert lake.replaced == []


def test_a_type_that_cannot_widen_replaces_the_column_and_says_so(lake: Lake) -> None:
    lake.curate(("a", 1, "1"))
    since = lake.publish().checkpoint
    text = CONTRACT.replace("1.0.0", "2.0.0").replace("        physicalType: decimal(10,2)\n", "")
    lake.curate(("b", 1, "2"))
    lake.publish(since, load_contract(text, "t"))
    assert lake.values() == {"a": None, "b": 2.0}
    assert lake.replaced == ["value"]
    lake.publish(since, load_contract(text, "t"))
    assert lake.replaced == ["value"], "the column has the contract's type now"


def test_a_column_that_was_dropped_and_comes_back_with_another_type_is_published(lake: Lake) -> None:
    lake.curate(("a", 1, "1"))
    since = lake.publish().checkpoint
    without = CONTRACT.replace("name: value", "name: other").replace("1.0.0", "2.0.0")
    lake.curate(("b", 1, "2"))
    since = lake.publish(since, load_contract(without, "t")).checkpoint
    again = CONTRACT.replace("logicalType: number", "logicalType: string").replace(
        "        physicalType: decimal(10,2)\n", ""
    )
    lake.curate(("c", 1, "3.0"))
    lake.publish(since, load_contract(again, "t"))
    assert lake.values() == {"a": None, "b": None, "c": "3.0"}


def test_a_changed_description_becomes_the_columns_comment(lake: Lake) -> None:
    lake.curate(("a", 1, "1"))
    since = lake.publish().checkpoint
    block = "|\n          What it\n          measures\n"
    lake.curate(("b", 1, "2"))
    lake.publish(since, load_contract(CONTRACT.replace("A number\n", block), "t"))
    schema = lake.catalog.load_table("lake.semantic_t").schema()
    assert schema.find_field("value").doc == "What it measures"
