"""Semantic holds typed rows under the contract; a row that breaks it is kept aside, a good one stays."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from common.contract.casting import UNPROCESSABLE
from common.contract.contracts import Contract, load_contract
from common.lake.checkpoints import SourceCheckpoint
from common.lake.merge.datafiles import DataFileWriter
from common.layers.semantic import Published

from ...support.lake import LocalLake

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


class Lake(LocalLake):
    """Curated, Semantic and Quarantine of one topic, and what runs told of them."""

    def __init__(self, root: Path) -> None:
        self.contract: Contract = load_contract(CONTRACT, "t")
        super().__init__(root, contract=self.contract)
        self.uncontracted: list[str] = []
        self.replaced: list[str] = []

    def curate(self, *rows: tuple[str, int, str | None], **extra: str) -> None:
        """Merge (key, version, value) into Curated: a greater version is a correction."""
        self.merge(
            [
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
        )

    def publish(
        self, since: SourceCheckpoint | None = None, contract: Contract | None = None, rows: int = 10**9
    ) -> Published:
        return self.run_publication(
            contract or self.contract,
            since,
            rows,
            record_uncontracted=self.uncontracted.extend,
            record_replaced=self.replaced.extend,
        )

    def values(self) -> dict[str, Any]:
        return {key: row["value"] for key, row in self.by_key("semantic").items()}


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with closing(Lake(tmp_path)) as lake:
        yield lake


def test_good_rows_are_typed_and_bad_rows_are_kept_aside_with_the_reason(lake: Lake) -> None:
    lake.curate(("a", 1, "1.10"), ("b", 1, "warm"), ("c", 1, None))
    done = lake.publish()
    assert lake.values() == {"a": Decimal("1.10")}
    quarantined = lake.by_key("quarantine")
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
    quarantined = lake.by_key("quarantine")
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
    assert "a" in lake.by_key("quarantine")


def test_a_later_good_version_settles_a_quarantined_row(lake: Lake) -> None:
    lake.curate(("a", 1, "broken"))
    since = lake.publish().checkpoint
    lake.curate(("a", 2, "2"))
    lake.publish(since)
    semantic, quarantine = lake.by_key("semantic"), lake.by_key("quarantine")
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
    assert "secret" not in lake.by_key("semantic")["a"]


def test_a_new_contract_column_appears_and_a_type_widens(lake: Lake) -> None:
    lake.curate(("a", 1, "1"))
    since = lake.publish().checkpoint
    text = CONTRACT.replace("1.0.0", "1.1.0").replace("decimal(10,2)", "decimal(12,2)")
    text += "      - name: unit\n        description: Its unit\n        logicalType: string\n"
    lake.curate(("b", 1, "1234567890.25"), unit="C")
    lake.publish(since, load_contract(text, "t"))
    assert lake.values() == {"a": Decimal(1), "b": Decimal("1234567890.25")}
    assert lake.by_key("semantic")["b"]["unit"] == "C"


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
    schema = lake.table("semantic").schema()
    assert schema.find_field("value").doc == "What it measures"
