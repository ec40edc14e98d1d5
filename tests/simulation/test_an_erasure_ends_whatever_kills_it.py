"""An erasure that is killed at any of its calls ends as if nothing had happened, once it is repeated."""

import json
import os
import shutil
import warnings
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest

from common.lake.upkeep import remove_orphans
from common.layers.erased import Hasher
from common.runtime.errors import InvalidInput

from ..support.searching import files_with
from .front import body_of
from .queues import LETTERS
from .services import TOPIC
from .world import World

ERASE = ("erase", "--key", "person-4711", "--yes", "--json", "--reason", "INC-1")
# Every call in the long profile (``make test-operations-long``).
KILLS = 1_000 if "SIMULATED_LONG" in os.environ else 2
CLEAR = ("person-4711", "secret-message")


def fill(world: World, turn: int) -> None:
    """Events of the person in all places, a run after them."""
    mine = [
        {**world.event(), "idempotency_key": "person-4711", "message_id": f"secret-message-{turn}-{number}"}
        for number in range(2)
    ]
    world.deliver(mine)
    world.queues.put(LETTERS, body_of(mine[0]))
    world.objects[f"dead-letters/2026-06-01/{turn}.ndjson"] = (
        json.dumps(
            {"message_id": "m", "sent_ms": 1, "receive_count": 1, "attributes": {}, "body": body_of(mine[1])}
        ).encode()
        + b"\n"
    )
    world.send(2)
    assert world.command("run").error is None


def certificates(world: World) -> list[dict[str, Any]]:
    kept = {key: body for key, body in world.objects.items() if key.startswith("erasures/certificates/")}
    return [json.loads(body) for body in kept.values()]


def assert_gone(world: World) -> None:
    assert files_with(world.folder / world.target.database, *CLEAR) == {}
    everything = json.dumps({key: repr(body) for key, body in world.objects.items()})
    assert not [text for text in CLEAR if text in everything]
    assert not [m for m in world.queues.waiting[LETTERS].values() if "person-4711" in m.body]
    found = certificates(world)
    assert found and all(one["complete"] and not one["searched"]["unread"] for one in found), found
    assert Hasher(b"key", TOPIC)("person-4711") in json.dumps(found)
    assert not [key for key in world.objects if key.startswith("erasures/work/")]


def test_killed_at_any_call_and_repeated_it_ends_the_same(world: World) -> None:
    world.erased = {"person-4711"}
    fill(world, 0)
    whole = world.command(*ERASE)
    assert_gone(world)
    world.command(*ERASE)  # given twice
    assert_gone(world)
    places = range(whole.calls // KILLS // 2, whole.calls, max(1, whole.calls // KILLS))
    for turn, at in enumerate(places, start=1):
        fill(world, turn)
        killed = world.command(*ERASE, kill_at=at, answered=turn % 2 == 0)
        assert killed.killed or at > killed.calls, at
        world.clock += 1000
        assert world.command(*ERASE).error is None, at
        assert_gone(world)
        for key in [key for key in world.objects if key.startswith("erasures/certificates/")]:
            del world.objects[key]
    world.take_queue()
    assert world.command("run").error is None
    expected = {key: event["message_id"] for key, event in world.expected().items()}
    assert {row["idempotency_key"]: row["message_id"] for row in world.rows("curated")} == expected


def test_beside_a_run_and_upkeep_it_ends_the_same(world: World) -> None:
    world.erased = {"person-4711"}
    fill(world, 0)
    upkeep = ("maintain", "--snapshot-days", "0", "--reason", "x")
    world.beside([ERASE, ("run",), upkeep])
    world.clock += 1000
    assert world.command(*(word for word in ERASE if word != "--json")).error is None
    assert_gone(world)


def test_a_rebuild_in_progress_and_files_without_a_table_go_too(world: World) -> None:
    world.erased = {"person-4711"}
    fill(world, 0)
    assert world.command("rebuild", "--layer", "curated", "--json", "--reason", "INC-1").error is None
    tables = world.folder / world.target.database
    copies = {}
    for layer in ("raw", "curated"):
        holding = next(
            path for path in files_with(tables / f"{layer}_{TOPIC}", *CLEAR) if path.suffix == ".parquet"
        )
        copies[layer] = holding.with_name("left-behind.parquet")
        copies[layer].write_bytes(holding.read_bytes())
    others = pq.read_table(copies["raw"]).num_rows - 2
    assert world.command(*ERASE).error is None
    assert_gone(world)
    assert [
        name[-1] for name in world.catalog.list_tables(world.target.database) if "rebuild" in name[-1]
    ] == []
    assert not copies["curated"].exists()
    # Rows of others may be wanted: Firehose names such files in its error objects.
    assert (pq.read_table(copies["raw"]).num_rows if copies["raw"].exists() else 0) == others


def test_a_key_that_nothing_has_costs_no_table_its_history(world: World) -> None:
    layers = ("raw", "curated", "semantic", "quarantine")
    before = {layer: world.snapshots(layer) for layer in layers}
    assert len(before["curated"]) > 1
    nobody = ("erase", "--key", "nobody-of-this-name", "--yes", "--json", "--reason", "INC-1")
    assert world.command(*nobody).error is None
    assert {layer: world.snapshots(layer) for layer in layers} == before
    assert [one["complete"] for one in certificates(world)] == [True]


def test_statistics_that_quote_a_key_which_no_file_has_any_more_go(world: World) -> None:
    world.erased = {"a-person"}  # the least of all keys, and so a bound
    event = {
        **world.event(),
        "idempotency_key": "a-person",
        "json_payload": '{"reading": 1}',
        "operation": None,
    }
    world.deliver([event])
    assert world.command("run").error is None
    for layer in ("raw", "curated", "semantic"):
        table = world.catalog.load_table(world.target.settings.table(layer, TOPIC))
        with warnings.catch_warnings(action="ignore"):  # pyiceberg says what it does not implement
            table.delete("idempotency_key = 'a-person'")
    assert world.command("maintain", "--snapshot-days", "0", "--reason", "x").error is None
    for layer in ("raw", "curated", "semantic"):
        table = world.catalog.load_table(world.target.settings.table(layer, TOPIC))
        table.maintenance.expire_snapshots().by_ids(
            [s.snapshot_id for s in table.snapshots() if s != table.current_snapshot()]
        ).commit()
        remove_orphans(world.catalog, world.target.settings.table(layer, TOPIC), older_than=datetime.now(UTC))
    assert files_with(world.folder / world.target.database, "a-person")  # in manifests
    command = ("erase", "--key", "a-person", "--yes", "--json", "--reason", "INC-1")
    assert world.command(*command).error is None
    assert files_with(world.folder / world.target.database, "a-person") == {}
    assert [one["complete"] for one in certificates(world)] == [True]


def test_a_topic_without_a_contract_is_erased_too(world: World) -> None:
    world.erased = {"person-4711"}
    fill(world, 0)
    for layer in ("semantic", "quarantine"):
        world.catalog.drop_table(world.target.settings.table(layer, TOPIC))
        shutil.rmtree(world.folder / world.target.database / f"{layer}_{TOPIC}")
    assert world.command(*ERASE).error is None
    assert_gone(world)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "expected one of --key, --keys, --where and --late"),
        (("--key", "k", "--late"), "found --key and --late"),
        (("--where", "idempotency_key is not null"), "--all"),
        (("--where", "true"), "names one"),
        (("--key", "k", "--yes"), "--reason"),
    ],
)
def test_what_is_not_said_well_enough_changes_nothing(
    world: World, words: tuple[str, ...], said: str
) -> None:
    before = {layer: world.snapshots(layer) for layer in ("raw", "curated", "semantic")}
    refused = world.command("erase", *words, "--json")
    assert isinstance(refused.error, InvalidInput)
    assert said in str(refused.error)
    for look in (("--key", "k1"), ("--late", "--yes", "--reason", "INC-1"), ("--where", "reading = 'none'")):
        assert world.command("erase", *look).error is None
    assert {layer: world.snapshots(layer) for layer in ("raw", "curated", "semantic")} == before
    assert world.objects == {}


def test_a_certificate_is_found_by_its_id_and_only_with_its_own_keys(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.erased = {"person-4711"}
    fill(world, 0)
    assert world.command(*ERASE).error is None
    (certificate,) = certificates(world)
    name = str(certificate["id"])
    assert world.command("erase", "verify", name, "--key", "person-4711", "--json").error is None
    for words, said in (
        ((name, "--key", "another"), "expected its 1 keys"),
        (("no-such-id",), "found neither"),
        ((__file__,), "found something else"),
    ):
        refused = world.command("erase", "verify", *words, "--json")
        assert isinstance(refused.error, InvalidInput)
        assert said in str(refused.error)
    capsys.readouterr()
    world.objects["dead-letters/2026-06-01/back.ndjson"] = (
        b'{"body": "{\\"idempotency_key\\": \\"person-4711\\"}"}'
    )
    world.command("erase", "verify", name, "--json")
    assert [one["key"] for one in json.loads(capsys.readouterr().out)["found"]] == [
        "dead-letters/2026-06-01/back.ndjson"
    ]


def hidden_by_others(world: World, *, seconds: int) -> None:
    """Somebody else has received the letters, one of the erased key among them."""
    held = world.target.client("sqs").receive_message(
        QueueUrl=LETTERS, MaxNumberOfMessages=10, VisibilityTimeout=seconds
    )["Messages"]
    assert any("person-4711" in message["Body"] for message in held)


def test_letters_that_others_hold_are_not_certified_to_be_gone(world: World) -> None:
    """The archive, a replay or a killed pass hides them for minutes: nobody sees whether one is meant."""
    fill(world, 1)
    hidden_by_others(world, seconds=300)
    assert world.command(*ERASE).error is None
    assert [one["complete"] for one in certificates(world)] == [False]
    world.clock += 301
    assert world.command(*ERASE).error is None
    assert certificates(world)[-1]["complete"]
    assert not [m for m in world.queues.waiting[LETTERS].values() if "person-4711" in m.body]


def test_a_letter_that_others_give_back_meanwhile_is_seen_and_goes(world: World) -> None:
    """It was hidden from the pass, and is hidden no more when the queue's count says so."""
    fill(world, 1)
    hidden_by_others(world, seconds=50)
    assert world.command(*ERASE).error is None
    assert [one["complete"] for one in certificates(world)] == [True]
    assert not [m for m in world.queues.waiting[LETTERS].values() if "person-4711" in m.body]
