"""What changed is held against RAW once an hour; a fault rings until it is mended, and hides no topic."""

import json
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError

from common.lake.specifications import LAYERS
from common.layers import reconciling
from common.layers.marks import FIRST, LONGEST, OVERLAP, Mark
from common.layers.reconciling import Reconciled
from common.layers.reports import Waiting
from common.runtime.settings import ReconciliationSettings
from common.runtime.topics import Registry, Topic
from reconciliation import handler as reconciliation

from ...support.topic import START, TopicLake, event

SETTINGS: Final = ReconciliationSettings("p", "e", "lake", "checkpoints", "lake-bucket", "dlq-url", "pii-key")
RECEIVED: Final = START + timedelta(days=1)
"""When events of the tests are received, seconds added (``event``)."""


class Items:
    """The checkpoints table, and the lakes' own checkpoints in it."""

    def __init__(self, lakes: dict[str, TopicLake]) -> None:
        self.lakes = lakes
        self.kept: dict[str, dict[str, Any]] = {}
        self.noted: dict[str, float] = {}
        self.reports: dict[str, list[str]] = {}

    def get_item(self, **request: Any) -> dict[str, Any]:
        topic, _, kind = request["Key"]["checkpoint_id"]["S"].partition("#")
        if topic in self.lakes and kind in ("curated", "semantic"):
            return dict(self.lakes[topic].get_item(**request))
        item = self.kept.get(f"{topic}#{kind}")
        return {"Item": item} if item else {}

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:
        keys = RequestItems["checkpoints"]["Keys"]
        found = [{**key, **item} for key in keys if (item := self.get_item(Key=key).get("Item"))]
        return {"Responses": {"checkpoints": found}}

    def put_item(self, Item: dict[str, Any], **_table: Any) -> None:
        self.kept[Item["checkpoint_id"]["S"]] = Item

    def update_item(self, **request: Any) -> None:
        names, values = request["ExpressionAttributeNames"], request["ExpressionAttributeValues"]
        topic, _, kind = request["Key"]["checkpoint_id"]["S"].partition("#")
        if kind == "reports":
            self.reports.setdefault(topic, []).extend(values[":more"]["SS"])
            return
        assert request["Key"] == {"checkpoint_id": {"S": "worst#rows-unreconciled"}}
        self.noted = {
            name.removeprefix("topic "): float(values[f":v{place[2:]}"]["L"][0]["N"])
            for place, name in names.items()
        }


class World:
    """Two topics, and the hours that pass."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lakes: dict[str, TopicLake] = {}
        for topic in ("a", "b"):
            (root / topic).mkdir()
            self.lakes[topic] = TopicLake(root / topic)
            self.lakes[topic].run(*(event(f"k{n}", f"m{n}", n, 1, n) for n in range(3)))
        self.items = Items(self.lakes)
        self.now = RECEIVED + timedelta(hours=1)
        self.left_ms = iter([10**6] * 10**6)
        reconcile = reconciling.reconcile

        def of_lake(topic: str, *arguments: Any, **options: Any) -> Any:
            lake = self.lakes[topic]
            options |= {"catalog": lake.catalog, "settings": lake.settings, "dynamodb": lake}
            return reconcile(lake.topic, *arguments, **options)

        monkeypatch.setattr(reconciliation, "reconcile", of_lake)
        monkeypatch.setattr(reconciliation, "_settings", lambda: SETTINGS)
        monkeypatch.setattr(reconciliation, "_client", self.client)
        monkeypatch.setattr(reconciliation, "lake_catalog", lambda: None)
        monkeypatch.setattr(reconciliation, "pointers", lambda *_: self.pointers())
        monkeypatch.setattr(reconciliation, "set_aside_since", lambda *_, **__: ())
        topics = {topic: Topic(contract=True, watched=topic == "b") for topic in self.lakes}
        topics["never"] = Topic()
        monkeypatch.setattr(reconciliation, "read_registry", lambda *_: Registry(1, topics))

    def client(self, service: str) -> Any:
        if service == "dynamodb":
            return self.items
        return SimpleNamespace(get_object=self.nothing_is_stored)

    def nothing_is_stored(self, **_request: Any) -> Any:
        raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")

    def pointers(self) -> dict[str, str]:
        found = {"raw_never": "s3://b/00000-x.metadata.json"}
        for topic, lake in self.lakes.items():
            found |= {f"{layer}_{topic}": lake.table(layer).metadata_location for layer in LAYERS}
        return found

    def look(self, hours: float = 1) -> dict[str, int]:
        self.now += timedelta(hours=hours)
        context: Any = SimpleNamespace(
            aws_request_id="r", get_remaining_time_in_millis=lambda: next(self.left_ms)
        )
        found: dict[str, int] = reconciliation.handler({"time": self.now.isoformat()}, context)["topics"]
        return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(tmp_path, monkeypatch)
    yield world
    for lake in world.lakes.values():
        lake.close()


def take_away(lake: TopicLake, key: str) -> None:
    with warnings.catch_warnings(action="ignore"):  # pyiceberg says what it does not implement
        lake.table("curated").delete(f"idempotency_key == '{key}'")


def rung(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """What was counted as wrong: by topic, of the environment under no name."""
    found = {}
    for line in capsys.readouterr().out.splitlines():
        said = json.loads(line)
        if "RowsUnreconciled" in said:
            found[said.get("topic", "")] = said["RowsUnreconciled"][0]
    return found


def test_what_rests_is_looked_at_once(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.look() == {"a": 0, "b": 0}
    assert rung(capsys) == {"": 0, "b": 0}
    assert world.look() == {}
    world.lakes["a"].run(event("k9", "m9", 9, 1, 9))
    assert world.look() == {"a": 0}


def test_what_a_look_found_is_left_to_be_told(world: World) -> None:
    world.look()
    world.look()  # of which nothing is to be told
    rows = Waiting(world.items.reports["a"]).rows("a")["reconciliation"]
    assert [(row["events"], row["wrong"]) for row in rows] == [(3, 0)]
    assert rows[0]["publish_time"] == RECEIVED + timedelta(hours=2)
    take_away(world.lakes["a"], "k0")
    world.look()
    rows = Waiting(world.items.reports["a"][1:]).rows("a")["reconciliation"]
    assert [(row["events"], row["missing"], row["wrong"]) for row in rows] == [(3, 1, 1)]
    assert world.items.reports.keys() == {"a", "b"}


def test_a_fault_rings_until_it_is_mended(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.look()
    world.lakes["b"].append([event("k8", "m8", 8, 1, 8)])
    world.lakes["b"].settle()
    take_away(world.lakes["b"], "k8")
    rung(capsys)
    for _ in range(3):
        assert world.look(hours=5) == {"b": 1}
        assert rung(capsys) == {"": 1, "b": 1}
        assert world.items.noted == {"b": 1}
    world.lakes["b"].raw_read = None
    world.lakes["b"].settle()
    assert world.look() == {"b": 0}
    assert rung(capsys) == {"": 0, "b": 0}
    assert world.look() == {}


def test_what_waits_is_seen_again_when_it_was_read(world: World) -> None:
    world.look()
    late = world.lakes["a"]
    late.append([event("k7", "m7", 7, 1, 7)])
    assert world.look() == {"a": 0}
    late.settle()
    take_away(late, "k7")
    assert world.look(hours=48) == {"a": 1}


def test_a_topic_that_cannot_be_read_hides_no_other(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    take_away(world.lakes["b"], "k1")
    metadata = Path(world.lakes["a"].table("curated").metadata_location.removeprefix("file://"))
    for manifest in metadata.parent.glob("snap-*.avro"):
        manifest.unlink()
    with pytest.raises(reconciliation.TopicsUnreconciled, match="found a: "):
        world.look()
    assert rung(capsys)["b"] == 1


def test_where_the_time_is_over_the_rest_comes_first_next_time(world: World) -> None:
    world.left_ms = iter([10**6, 10**6, 0, *[10**6] * 100])
    assert world.look() == {"a": 0}
    assert world.look() == {"b": 0}


@pytest.mark.parametrize("damaged", [{}, {"standing": {"S": "x"}}, {"upto": {"N": "soon"}}])
def test_a_damaged_mark_is_none(damaged: dict[str, Any]) -> None:
    assert Mark.of(damaged) == Mark()


def test_a_mark_begins_a_little_before_it_and_never_too_long_ago() -> None:
    now = datetime(2026, 6, 2).astimezone()
    assert Mark().since(now) == now - FIRST
    yesterday = int((now - timedelta(days=1)).timestamp())
    assert Mark(upto=yesterday).since(now) == now - timedelta(days=1) - OVERLAP
    assert Mark(upto=1).since(now) == now - LONGEST
    mark = Mark("s", yesterday, 5, 2)
    assert Mark.of(mark.as_item()) == mark


def test_a_mark_goes_back_to_what_is_open_alone() -> None:
    at = datetime(2026, 6, 2, tzinfo=UTC)

    def done(**found: Any) -> Reconciled:
        return Reconciled("t", at - OVERLAP, **{"until": at - OVERLAP, **found})

    mark = Mark("before", int(at.timestamp()))
    later = at + timedelta(hours=1)
    assert mark.after(done(), "s", later).upto == mark.upto  # nothing was received since
    assert mark.after(done(until=later), "s", later).upto == int(later.timestamp())
    open_since = at - timedelta(hours=2)
    assert mark.after(done(until=later, open_since=open_since), "s", later).upto == int(
        open_since.timestamp()
    )
    stopped = mark.after(done(complete=False), "s", later)
    assert (stopped.upto, stopped.standing) == (int((at - OVERLAP).timestamp()), "")


def test_upkeep_of_a_topic_without_new_events_makes_no_look_longer_than_the_last(world: World) -> None:
    marks = []
    for _ in range(3):
        world.look(hours=30)
        marks.append(world.items.kept["a#reconciled"]["upto"])
        with world.lakes["a"].table("raw").transaction() as change:  # its pointer moves
            change.set_properties({"looked.after": str(len(marks))})
    assert marks == marks[:1] * 3
