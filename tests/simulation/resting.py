"""What must hold when everything rests: of tables, queues, records and files, whatever has happened before.

the ledger balances       every message that producers were told is taken is in RAW as it was sent, or a
                          letter with its reason; RAW holds what Firehose delivered, neither more nor less
one row a key             Curated and Semantic are those of a single pass over what was delivered
nothing is forgotten      what the contract refuses is in Quarantine; letters are sent once
nothing is left           no table of a rebuild, nobody holds anything, records say how an operation ended
no live file is removed   every file of every snapshot that a table knows is there, and its metadata as it
                          was committed
erased stays erased       in no file, queue or object
the queue is taken on     at the pace that was set, by a breaker that is closed
"""

import json
from collections import Counter
from datetime import datetime
from typing import Any

from common.lake.upkeep.retention import referenced_files
from lean_ops.environment import audit
from lean_ops.operate.holds import Place

from ..support.catalog import metadata_of
from ..support.searching import files_with
from .clock import AtOnce
from .front import body_of
from .queues import LETTERS, SOURCE
from .services import MAPPING, TOPIC
from .world import World

LAYERS = ("raw", "curated", "semantic", "quarantine")


def check(world: World) -> None:
    """All of it."""
    mapping = {name: world.front.mapping[name] for name in MAPPING}
    assert (world.front.mapping["State"], mapping) == ("Enabled", MAPPING), "the queue is not taken as before"
    assert not world.metrics["RowsSetAside"], "the code fails on rows that nothing is wrong with"
    erased_stays_erased(world)
    the_ledger_balances(world)
    tables_are_those_of_a_single_pass(world)
    letters_are_accounted_for(world)
    nothing_is_left(world)
    every_file_is_there(world)
    world.watch.raise_faults()


def the_ledger_balances(world: World) -> None:
    """Nothing that was taken is lost, changed or made up."""
    assert not world.queues.waiting[SOURCE]
    sent = [_content(json.loads(body)) for body in set(world.front.told) - world.front.broken]
    sent += [
        _content(json.loads(body)) for _, body in set(world.queues.sent) if body not in world.front.broken
    ]
    sent += [_content(json.loads(body_of(event))) for event in world.letters]
    sent = [one for one in sent if one[1] not in world.erased]
    delivered = [_content(event) for event in world.kept()]
    lost = {one[0] for one in sent} - {one[0] for one in delivered}
    assert not lost, f"messages that were taken are in no table: {sorted(lost)}"
    assert set(sent) == set(delivered), "events are in RAW that nobody has sent as they are"
    letters = {message.body for message in world.queues.waiting[LETTERS].values()}
    letters |= set(world.queues.expired)
    # An erasure takes also those that nobody can read, where they name its key.
    kept = {body for body in world.front.broken if not any(f'"{key}"' in body for key in world.erased)}
    assert kept <= letters, "a message that cannot be read is in no queue"
    for message in world.queues.waiting[LETTERS].values():
        assert "error_code" in message.attributes, "a letter does not say why it is one"
    good = letters - world.front.broken - set(world.queues.expired)
    assert not good, "a good message is still a letter"
    assert not world.front.undelivered, "records are under the error prefix, and nobody replays them"
    for event in world.sent:
        took = world.queues.took.get(event["message_id"])
        assert took is None or event["ingestion_ts"] in took, "an event was ingested when nobody sent it"
    for event in world.sent:
        payload = world.payloads[event["message_id"]]
        assert event["json_payload"] == payload, f"a payload is not as it was sent: {event['message_id']}"
    raw = Counter(_stored(row) for row in world.rows("raw"))
    assert raw == Counter(_stored(event) for event in world.kept()), "RAW is not what was delivered"


def _stored(row: dict[str, Any]) -> tuple[Any, ...]:
    return (*_content(row), row["ingestion_ts"])


def _content(event: dict[str, Any]) -> tuple[Any, ...]:
    """What a sender says in an event; from a message, a record or a row."""
    published = event["publish_time"]
    payload = event.get("json_payload", event.get("payload"))
    return (
        event["message_id"],
        event["idempotency_key"],
        event["topic_name"],
        datetime.fromisoformat(published) if isinstance(published, str) else published,
        event.get("operation"),
        json.dumps(json.loads(payload) if isinstance(payload, str) else payload),
    )


def tables_are_those_of_a_single_pass(world: World) -> None:
    """Curated and Semantic are functions of what was delivered."""
    expected = world.expected()
    rows = world.rows("curated")
    found = {row["idempotency_key"]: row for row in rows}
    assert {key: row["message_id"] for key, row in found.items()} == {
        key: event["message_id"] for key, event in expected.items()
    }, "Curated is not that of a single pass"
    assert len(rows) == len(found), "a key has two rows"
    for key, event in expected.items():
        payload = json.loads(event["json_payload"]) if event["json_payload"] else {}
        stored = {name: found[key].get(name) for name in payload}
        assert stored == {name: str(value) for name, value in payload.items()}, (
            f"Curated lost a leaf of {key}"
        )
        assert bool(found[key].get("_tombstone")) == (event["json_payload"] is None), key
        assert found[key]["ingestion_ts"] == event["ingestion_ts"], f"a copy of {key} counts as the first"
    semantic = world.rows("semantic")
    published = {row["idempotency_key"]: row["reading"] for row in semantic}
    assert published == world.published(), "Semantic is not that of a single pass"
    assert len(semantic) == len(published), "a key has two rows in Semantic"
    refused = {row["idempotency_key"] for row in world.rows("quarantine")}
    unkept = {key for key in expected if key.startswith("bad")} - refused
    assert not unkept, f"Quarantine lacks rows that the contract refuses: {sorted(unkept)}"
    logged = world.drift_entries()
    leaves = {name for row in rows for name, value in row.items() if name.startswith("leaf") and value}
    assert {f"new-column#{name}" for name in leaves} <= logged, "nobody was told of a new column"


def letters_are_accounted_for(world: World) -> None:
    """A letter is sent once, and again only where it came back or its replay was killed before removing it.

    One whose sender saw no answer is sent again at once, as by any client of a queue. Both together leave two
    letters of one body, which the next replay sends both. What producers send may be a letter several times:
    of that the ledger says enough.
    """
    replays = [p for p in world.processes.values() if p.what.startswith("replay dlq")]
    killed = {process.number for process in replays if process.killed or process.met}
    unanswered = {process.number for process in replays if any("answer lost" in met for met in process.met)}
    again = sum("--from-archive" in process.what for process in replays)  # the archive keeps what is sent
    for number, _ in world.queues.unsent:
        what = world.processes[number].what
        assert what.startswith("erase"), f"{what} has removed a letter that nobody has sent"
    sent, returned = world.queues.sent, world.queues.returned
    alone = [(number, body) for number, body in sent if body not in world.front.told]
    for (number, body), times in Counter(alone).items():
        assert times == 1 or number in unanswered or (killed and body in returned) or again, (
            f"process {number} has sent a letter twice"
        )
    # Each time that its sender saw no answer may have sent it once more.
    more = sum("answer lost" in met for process in replays for met in process.met)
    for body, times in Counter(body for _, body in alone).items():
        most = (1 + (body in returned)) * (1 + again) * (1 + len(killed) + more)
        assert times <= most, "sent again and again"
    told = [e for e in audit.entries(world.target, operation="replay.dlq") if e.outcome == "succeeded"]
    by_others = [number for number, _ in sent if number not in killed]
    if all(process.error is None for process in replays if not process.killed):
        assert len(by_others) <= sum(entry.counts["sent"] for entry in told) <= len(sent)


def nothing_is_left(world: World) -> None:
    """Nobody holds anything, no rebuild is left, and records say how operations ended."""
    places = [Place(world.target, TOPIC, kind) for kind in ("lease", "rebuild-curated", "rebuild-semantic")]
    assert [place.holds() for place in places] == [(), (), ()]
    for layer in ("curated", "semantic"):
        assert not world.catalog.table_exists(world.target.settings.rebuild_table(layer, TOPIC))
        assert not list(world.folder.rglob(f"rebuild_{layer}_{TOPIC}/**/*.json"))
    open_records = [e for e in audit.entries(world.target) if e.outcome is audit.Outcome.STARTED]
    assert len(open_records) <= sum(p.killed or bool(p.met) for p in world.processes.values())
    assert not world.stepfunctions.pending


def erased_stays_erased(world: World) -> None:
    """No event of an erased key is in any file or queue."""
    gone = {event["message_id"] for event in world.sent if event["idempotency_key"] in world.erased}
    gone -= {event["message_id"] for event in world.kept()}
    if not gone:
        return
    assert files_with(world.folder / world.target.database, *gone) == {}
    everywhere = json.dumps([m.body for queue in world.queues.waiting.values() for m in queue.values()])
    everywhere += json.dumps({key: repr(body) for key, body in world.objects.items()})
    assert not [name for name in gone if name in everywhere], "an erased event waits to come back"


def every_file_is_there(world: World) -> None:
    """Of every snapshot that a table knows."""
    for layer in LAYERS:
        table = world.catalog.load_table(world.target.settings.table(layer, TOPIC))
        written = metadata_of(table.metadata_location)
        assert written == table.metadata, f"{layer}: its metadata file says other than was committed"
        pool: Any = AtOnce()
        for path in referenced_files(table, pool):
            assert table.io.new_input(path).exists(), f"{layer}: a file that a snapshot needs is gone: {path}"
