"""Whatever one table meets, the others are kept up, and the failure names its table."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from common.lake.rule import SOURCE_RULE
from common.lake.specifications import TableSpec
from common.lake.upkeep import CompactionPolicy, Upkeep, UpkeepPolicy
from common.layers.upkeep import Failure, maintain
from common.runtime.settings import LakeSettings

from ...support.lake import merge_rows

ROOT = Path(__file__).parents[3]
SETTINGS = LakeSettings("p", "e", "lake", "checkpoints")
TOPICS = ("a", "b", "c")
TABLES = [f"lake.quarantine_{topic}" for topic in TOPICS]


def lose_manifest(table: Table) -> None:
    current = table.current_snapshot()
    assert current is not None
    for manifest in current.manifests(table.io):
        Path(manifest.manifest_path.removeprefix("file://")).unlink()


def lose_metadata(table: Table) -> None:
    Path(table.metadata_location.removeprefix("file://")).unlink()


def cut_metadata(table: Table) -> None:
    Path(table.metadata_location.removeprefix("file://")).write_text("{")


def lose_data(table: Table) -> None:
    for task in table.scan().plan_files():
        Path(task.file.file_path.removeprefix("file://")).unlink()


def damage_data(table: Table) -> None:
    for task in table.scan().plan_files():
        Path(task.file.file_path.removeprefix("file://")).write_bytes(b"PAR1 this is no Parquet PAR1")


@pytest.mark.parametrize("harm", [lose_manifest, lose_metadata, cut_metadata, lose_data, damage_data])
def test_one_broken_table_is_told_and_the_others_are_compacted(
    tmp_path: Path, harm: Callable[[Table], None]
) -> None:
    catalog = SqlCatalog("t", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("lake")
    for identifier in TABLES:
        TableSpec.load(ROOT / "modules/storage/tables", "quarantine").create(catalog, identifier)
        for number in range(3):
            rows = pa.table(
                {
                    "idempotency_key": [f"k{number}"],
                    "period_reference": ["2026-05"],
                    "_source_merge_seq": [number],
                }
            )
            merge_rows(catalog, identifier, rows.to_batches(), rule=SOURCE_RULE, evolve=False)
    harm(catalog.load_table(TABLES[0]))
    done = list(
        maintain(
            SETTINGS,
            catalog,
            cast("Any", None),  # only RAW asks for checkpoints
            places=[(topic, "quarantine") for topic in TOPICS],
            policy=UpkeepPolicy(compaction=CompactionPolicy(files=1)),
            now=datetime.now(UTC),
            run_id="r",
        )
    )
    catalog.close()
    failed = [one for one in done if isinstance(one, Failure)]
    assert [one.table for one in failed] == [TABLES[0]]
    assert {one.table: one.compacted_files for one in done if isinstance(one, Upkeep)} == {
        TABLES[1]: 3,
        TABLES[2]: 3,
    }
