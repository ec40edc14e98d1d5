"""Of a table with many manifests the doctor reads the newest, says so, and reads all where it is asked to."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import ManifestFile

from common.lake.history import committed
from common.lake.specifications import TableSpec
from common.runtime.settings import LakeSettings
from lean_ops.environment.repository import TABLE_SPECIFICATIONS
from lean_ops.operate.doctor import lake
from lean_ops.operate.doctor.findings import Finding, Severity

COMMITS = 7
BOUND = 3


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Any]:
    """An environment whose RAW table has one manifest a commit; the doctor's bound is below that."""
    catalog = SqlCatalog("test", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("lake")
    settings = LakeSettings("lean-ops", "test", "lake", "checkpoints")
    table = TableSpec.load(TABLE_SPECIFICATIONS, "raw").create(catalog, settings.table("raw", "events"))
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    row = {"idempotency_key": "k", "period_reference": "2026-03", "publish_time": at, "ingestion_ts": at}
    for _ in range(COMMITS):
        table.append(pa.Table.from_pylist([row], schema=table.schema().as_arrow()))
    absent = SimpleNamespace(head_object=lambda **_: {}, get_object=lambda **_: {"Body": None})
    yield SimpleNamespace(
        topics=("events",),
        settings=settings,
        deploy_advice="run `lean-ops up`",
        lake_bucket="lake",
        catalog=lambda: catalog,
        client=lambda _service: absent,
    )
    catalog.close()


@pytest.fixture(autouse=True)
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the manifests that are read."""
    paths: list[str] = []
    read = ManifestFile.fetch_manifest_entry

    def noting(manifest: ManifestFile, *arguments: Any, **options: Any) -> Any:
        paths.append(manifest.manifest_path)
        return read(manifest, *arguments, **options)

    monkeypatch.setattr(ManifestFile, "fetch_manifest_entry", noting)
    monkeypatch.setattr(lake, "MANIFESTS", BOUND)
    monkeypatch.setattr(lake, "_contract", lambda *_: None)
    monkeypatch.setattr(lake, "OPERATIONS", ())
    return paths


def of_raw(target: Any, *, thorough: bool = False) -> list[Finding]:
    found = lake.tables(target, thorough=thorough)
    return [one for one in found if one.subject == target.settings.table("raw", "events")]


def newest_first(target: Any) -> list[str]:
    table = target.catalog().load_table(target.settings.table("raw", "events"))
    manifests = table.current_snapshot().manifests(table.io)
    return [one.manifest_path for one in sorted(manifests, key=lambda one: -one.sequence_number)]


def test_the_newest_are_read_and_it_says_of_how_many(target: Any, reads: list[str]) -> None:
    (found,) = of_raw(target)
    assert found.severity is Severity.NOTE
    assert found.found == f"looked at the newest {BOUND} of its {COMMITS} manifests"
    assert "`lean-ops doctor --thorough` reads all" in found.advice
    assert reads == newest_first(target)[:BOUND]


def test_all_are_read_where_it_is_to_be_thorough(target: Any, reads: list[str]) -> None:
    assert of_raw(target, thorough=True) == []
    assert reads == newest_first(target)


def test_no_more_manifests_are_read_however_many_there_are(target: Any, reads: list[str]) -> None:
    of_raw(target)
    few = len(reads)
    table = target.catalog().load_table(target.settings.table("raw", "events"))
    for _ in range(COMMITS):
        table.append(table.scan(limit=1).to_arrow())
    reads.clear()
    of_raw(target)
    assert len(reads) == few


@pytest.mark.parametrize("place", [0, COMMITS - 1])
def test_a_damaged_one_is_found_by_who_reads_it(target: Any, place: int) -> None:
    path = newest_first(target)[place]
    Path(path.removeprefix("file://")).write_bytes(b"")
    assert [path in one.found for one in of_raw(target)] == [place == 0]
    assert [path in one.found for one in of_raw(target, thorough=True)] == [True]


def test_a_checkpoint_in_the_history_is_found_without_any_manifest(target: Any, reads: list[str]) -> None:
    table = target.catalog().load_table(target.settings.table("raw", "events"))
    row = table.scan(limit=1).to_arrow()
    table.append(row, snapshot_properties={"lean-ops.source-token": "1", "lean-ops.source-position": "p"})
    reads.clear()
    assert committed(table) is not None
    assert reads == []
