"""Whatever runs on Spark and whatever in a function, the tables are the same, row by row.

Two lakes receive the same histories. One is worked on by the functions' way alone; of the other, each run
takes one engine or the other.
"""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from ..support.oracle import Event
from ..support.topic import DELETE, TopicLake, event

ROUNDS = 4


def drawn(draw: random.Random, first: int) -> list[Event]:
    """Copies, corrections into other days, ties, deletes, refused values; leaves that come, and rivals."""
    found: list[Event] = []
    for number in range(first, first + 120):
        key = f"k{draw.randint(0, 60)}"
        minute = draw.choice([0, 60, 61, 24 * 60 * draw.randint(1, 40)])
        message = f"m{draw.randint(0, 2)}" if draw.random() < 0.4 else f"m{number}"
        value = draw.choice([1, 2, 7, 500, "bad", DELETE])
        one = event(key, message, minute, value, number)
        if one["json_payload"] is not None:
            # Copies carry the same payload (the event contract): it is a function of what names them.
            of = random.Random(f"{key} {message} {minute}")
            payload: dict[str, Any] = {"value": of.choice([1, 2, 7, 500, "bad"])}
            payload |= {name: of.randint(0, 9) for name in of.sample(["a b", "a.b", "a_b", "new", "x"], 2)}
            one = {**one, "json_payload": json.dumps(payload), "operation": None}
        found.append(one)
    return _without_contradictions(found)


def _without_contradictions(events: list[Event]) -> list[Event]:
    """Of copies that differ in being a delete, those like the first."""
    kinds: dict[tuple[object, ...], bool] = {}
    return [
        one
        for one in events
        if kinds.setdefault(
            (one["idempotency_key"], one["message_id"], one["publish_time"]), one["json_payload"] is None
        )
        == (one["json_payload"] is None)
    ]


def rows(lake: TopicLake, layer: str) -> list[dict[str, Any]]:
    """All rows with what they have, by column names: the order of columns is no promise."""
    found = lake.rows(layer)
    return sorted(
        ({name: value for name, value in row.items() if value is not None} for row in found),
        key=lambda row: (row["idempotency_key"], str(row.get("_source_merge_seq"))),
    )


@pytest.mark.parametrize("seed", [11])
def test_histories_end_alike_on_either_engine_and_on_both_in_turn(
    tmp_path: Path, cluster: Any, seed: int
) -> None:
    draw = random.Random(seed)
    for name in ("plain", "other"):
        (tmp_path / name).mkdir()
    plain, other = (TopicLake(tmp_path / name) for name in ("plain", "other"))
    sent: list[Event] = []
    for number in range(ROUNDS):
        sent += (events := drawn(random.Random(f"{seed} {number}"), len(sent)))
        events = [one for one in events if _agrees(one, sent)]
        for lake in (plain, other):
            for part in (events[: len(events) // 2], events[len(events) // 2 :]):
                lake.append(part)
        plain.curate()
        plain.publish()
        engines = [{}, {"staging": cluster.flatten}], [{}, {"staging": cluster.judge}]
        flat, judged = (draw.choice(of) if number else of[1] for of in engines)
        other.raw_read = other.run_curation(other.raw_read, set_aside=other.letters.extend, **flat).checkpoint
        assert other.contract is not None
        other.published = other.run_publication(
            other.contract, other.published, raw_read=other.raw_read, **judged
        ).checkpoint
        for layer in ("curated", "semantic", "quarantine"):
            assert rows(other, layer) == rows(plain, layer), (number, layer)
        notes = [{f.name: f.doc for f in lake.table("curated").schema().fields} for lake in (plain, other)]
        assert notes[0] == notes[1]


def _agrees(one: Event, sent: list[Event]) -> bool:
    """Whether no event of before has the same name and is of another kind."""
    return all(
        (one["json_payload"] is None) == (of["json_payload"] is None)
        for of in sent
        if all(one[name] == of[name] for name in ("idempotency_key", "message_id", "publish_time"))
    )
