"""The engine on the Glue catalog and S3 of the local stack, with the catalog that the functions use."""

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.lake.history import said_by
from common.lake.rule import EVENT_RULE
from common.lake.specifications import TableSpec
from common.lake.upkeep import CompactionPolicy, compact
from common.runtime.errors import CommitConflict
from lean_ops.environment.target import Target
from lean_ops.local.target import LocalTarget

from ....support.lake import merge_rows
from .conftest import Lake

SPECIFICATIONS = Path(__file__).parents[4] / "modules" / "storage" / "tables"


@pytest.fixture
def identifier(target: Target) -> Iterator[str]:
    """A Curated table in Glue, in a bucket of its own."""
    name = f"merge-{uuid.uuid4().hex[:8]}"
    target.client("s3").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    database = name.replace("-", "_")
    catalog = target.catalog()
    catalog.create_namespace(database)
    spec = TableSpec.load(SPECIFICATIONS, "curated")
    spec.create(catalog, f"{database}.curated_events", f"s3://{name}/curated_events")
    yield f"{database}.curated_events"
    catalog.drop_table(f"{database}.curated_events")
    catalog.drop_namespace(database)


def test_writers_in_glue_lose_nothing_and_a_compaction_fits_between(
    lake: Lake, target: LocalTarget, identifier: str
) -> None:
    def write(writer: int) -> None:
        catalog = target.catalog()
        for turn in range(3):
            events = [lake.event(f"k{n}", f"w{writer}t{turn}", publish=turn * 2 + writer) for n in range(9)]
            for _ in range(5):
                try:
                    rows = lake.reader([*events, lake.event(f"own-{writer}-{turn}")])
                    merge_rows(catalog, identifier, rows, run_id=f"{writer}-{turn}")
                    break
                except CommitConflict:
                    continue

    threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    compact(target.catalog(), identifier, EVENT_RULE, run_id="tidy", policy=CompactionPolicy(files=1))
    for thread in threads:
        thread.join()
    table = target.catalog().load_table(identifier)
    said = [said_by(snapshot) for snapshot in table.snapshots()]
    assert all(int(one["lean-ops.puts"]) >= 3 for one in said), "a data file, a manifest, a list"
    rows = table.scan().to_arrow().to_pylist()
    found = {r["idempotency_key"]: r["message_id"] for r in rows}
    assert len(found) == len(rows) == 9 + 6
    assert {found[f"k{n}"] for n in range(9)} == {"w1t2"}
