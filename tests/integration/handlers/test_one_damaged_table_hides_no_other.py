"""Observation sees every layer that can be seen, and names each that cannot, whatever is damaged."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from common.lake.specifications import TableSpec
from common.runtime.settings import LookUpSettings
from common.runtime.topics import Topic, registry_of
from lean_ops.environment.repository import TABLE_SPECIFICATIONS
from observation import handler as observation
from observation.handler import LayersUnseen, handler
from observation.looking import Look

TOPICS = ("events", "weather")
CONTEXT: Any = SimpleNamespace(aws_request_id="r", get_remaining_time_in_millis=lambda: 300_000)
AT = {"time": "2026-03-01T13:00:00Z"}


class Services:
    """S3 with a registry of topics with contracts; CloudWatch, DynamoDB and Glue with nothing in them."""

    def __init__(self) -> None:
        self.remembered: set[str] = set()

        self.contracts: dict[str, str] = {}
        self.changed = 0
        self.noted: set[str] = set()

    def get_object(self, **request: Any) -> dict[str, Any]:
        if (key := request["Key"]) in self.contracts:
            return {"Body": BytesIO(self.contracts[key].encode())}
        return {"Body": BytesIO(registry_of(dict.fromkeys(TOPICS, Topic(contract=True))).written())}

    def head_object(self, **request: Any) -> dict[str, Any]:
        assert request["Key"] in self.contracts
        return {}

    def update_item(self, **request: Any) -> dict[str, Any]:
        self.noted.add(request["Key"]["checkpoint_id"]["S"])
        return {}

    def get_metric_data(self, **_request: Any) -> dict[str, Any]:
        return {"MetricDataResults": []}

    def get_item(self, **_request: Any) -> dict[str, Any]:
        return {}

    def batch_get_item(self, **_request: Any) -> dict[str, Any]:
        return {"Responses": {}}

    def put_item(self, *, Item: dict[str, Any], **_request: Any) -> dict[str, Any]:
        self.remembered.add(Item["checkpoint_id"]["S"])
        return {}

    def get_paginator(self, name: str) -> Any:
        if name == "list_objects_v2":
            changed = datetime.fromtimestamp(self.changed, UTC)
            there = [{"Key": key, "LastModified": changed} for key in self.contracts]
            return SimpleNamespace(paginate=lambda **_: [{"Contents": there}])
        assert name == "get_tables"
        return SimpleNamespace(paginate=lambda **_: [{"TableList": []}])


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlCatalog]:
    settings = LookUpSettings.from_environment(
        {
            "LEAN_OPS_PROJECT": "lean-ops",
            "LEAN_OPS_ENV": "test",
            "LEAN_OPS_LAKE_BUCKET": "lake",
            "LEAN_OPS_DATABASE": "lake",
            "LEAN_OPS_CHECKPOINTS_TABLE": "checkpoints",
        }
    )
    catalog = SqlCatalog("test", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("lake")
    for topic in TOPICS:
        for layer in ("raw", "curated", "semantic"):
            # What is looked at, every layer has; pyiceberg writes no Bloom filters, which the others want.
            fill(TableSpec.load(TABLE_SPECIFICATIONS, "raw").create(catalog, settings.table(layer, topic)))
    monkeypatch.setattr(observation, "_settings", lambda: settings)
    services = Services()
    monkeypatch.setattr(observation, "_client", lambda _service: services)
    monkeypatch.setattr(observation, "lake_catalog", lambda: catalog)
    yield catalog
    catalog.close()


def fill(table: Table) -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    row = {"idempotency_key": "k", "period_reference": "2026-03", "publish_time": at, "ingestion_ts": at}
    table.append(pa.Table.from_pylist([row], schema=table.schema().as_arrow()))


def damage(catalog: SqlCatalog, layer: str, topic: str, what: str) -> None:
    table = catalog.load_table(observation._settings().table(layer, topic))
    snapshot = table.current_snapshot()
    assert snapshot is not None
    paths = {
        "metadata": table.metadata_location,
        "manifest list": snapshot.manifest_list,
        "manifest": snapshot.manifests(table.io)[0].manifest_path,
    }
    path = Path(paths[what].removeprefix("file://"))
    path.write_bytes(path.read_bytes()[:40])


def seen(topic: str) -> set[str]:
    layers = {f"{layer}_freshness_s" for layer in ("raw", "curated", "semantic")}
    return {f"{topic} {name}" for name in layers | {"curated_lag_s", "semantic_lag_s", "records_missing"}}


def look(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[set[str], str, set[str]]:
    """What was seen, by topic and name, what the error said, and which topics were remembered."""
    found: dict[str, dict[str, float]] = {}
    layers, arrivals = observation._layers, observation._arrivals

    def noting(one: Look, topic: str) -> dict[str, float]:
        found[topic] = layers(one, topic)
        return found[topic]

    def counting(one: Look) -> dict[str, int]:
        missing = arrivals(one)
        for topic, count in missing.items():
            found[topic]["records_missing"] = count
        return missing

    said = ""
    with monkeypatch.context() as patch:
        patch.setattr(observation, "_layers", noting)
        patch.setattr(observation, "_arrivals", counting)
        try:
            handler(AT, CONTEXT)
        except LayersUnseen as error:
            said = str(error)
    assert '"Observations"' in capsys.readouterr().out
    seen = {f"{topic} {name}" for topic, values in found.items() for name in values}
    return seen, said, {key.partition("#")[0] for key in observation._client("dynamodb").remembered}


@pytest.mark.usefixtures("catalog")
def test_everything_is_seen_where_nothing_is_damaged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert look(capsys, monkeypatch) == (seen("events") | seen("weather"), "", set(TOPICS))


@pytest.mark.parametrize("what", ["metadata", "manifest list", "manifest"])
@pytest.mark.parametrize("layer", ["raw", "curated", "semantic"])
def test_a_damaged_table_is_named_and_all_others_are_seen(
    catalog: SqlCatalog,
    layer: str,
    what: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    damage(catalog, layer, "events", what)
    found, said, remembered = look(capsys, monkeypatch)
    assert remembered == {"weather"}  # what could not be seen is looked at again next time
    assert seen("weather") <= found
    others = {"raw", "curated", "semantic"} - {layer}
    assert {f"events {other}_freshness_s" for other in others} <= found
    assert f"events {layer}_freshness_s" not in found
    assert f"{layer}_events" in said
    assert "weather" not in said


def test_a_table_that_is_missing_is_named_and_all_others_are_seen(
    catalog: SqlCatalog, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.drop_table(observation._settings().table("curated", "events"))
    found, said, remembered = look(capsys, monkeypatch)
    assert remembered == {"weather"}  # what could not be seen is looked at again next time
    assert seen("weather") | {"events raw_freshness_s", "events semantic_freshness_s"} <= found
    assert "TableMissing" in said


CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: x
version: 1.0.0
schema: [{{name: events, properties: [{{name: value, logicalType: integer}}]}}]
slaProperties: [{{property: latency, value: {minutes}, unit: min}}]
"""


@pytest.mark.usefixtures("catalog")
@pytest.mark.parametrize(("minutes", "late"), [(5, 1), (15, 0)])
def test_a_topic_that_is_later_than_its_contract_promises_is_counted_and_named(
    minutes: int, late: int, capsys: pytest.CaptureFixture[str]
) -> None:
    services = observation._client("s3")
    services.contracts = {"contracts/events.yaml": CONTRACT.format(minutes=minutes)}
    handler({"time": (datetime.now(UTC) + timedelta(minutes=10)).isoformat()}, CONTEXT)
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["TopicsLate"] for line in said if "TopicsLate" in line] == [[late]]
    assert ("worst#promise-broken" in services.noted) is bool(late)


@pytest.mark.usefixtures("catalog")
def test_a_contract_that_cannot_be_read_promises_nothing_and_hides_nothing() -> None:
    services = observation._client("s3")
    services.contracts = {"contracts/events.yaml": "kind: Nonsense"}
    handler({"time": (datetime.now(UTC) + timedelta(minutes=10)).isoformat()}, CONTEXT)
    assert services.remembered == {"events#observed", "weather#observed"}
