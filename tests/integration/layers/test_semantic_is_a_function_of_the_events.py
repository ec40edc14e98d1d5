"""However events are cut, ordered, repeated or judged, Semantic holds every key's newest good version."""

import json
import random
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from common.lake.checkpoints import SourceCheckpoint
from common.lake.incremental import appended

from ...support.contracts import up_to
from ...support.generated import cases
from ...support.oracle import Event, newest_good
from ...support.topic import DELETE, TopicLake, event

STRICT, MENDED = up_to(99), up_to(999, "1.1.0")
UNIT = "      - name: unit\n        description: Its unit\n        logicalType: string\n"


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[TopicLake]:
    lake = TopicLake(tmp_path, STRICT)
    yield lake
    lake.close()


def expected(events: Iterable[Event], maximum: int) -> dict[str, tuple[str, datetime, int]]:
    """What ``TopicLake.semantic`` must give under a contract."""

    def accepted(payload: dict[str, Any]) -> bool:
        return isinstance(payload["value"], int) and payload["value"] <= maximum

    return {
        key: (e["message_id"], e["publish_time"], json.loads(e["json_payload"])["value"])
        for key, e in newest_good(events, accepted).items()
    }


G1, G2 = event("k", "g1", 0, 1), event("k", "g2", 3, 2)
B = event("k", "b", 5, "bad")
D2, D7 = event("k", "d2", 2, DELETE), event("k", "d7", 7, DELETE)


@pytest.mark.parametrize(
    "cuts",
    [
        [[G1, B]],
        [[G1], [B]],
        [[B], [G1]],
        [[G1], [G2, B]],
        [[B], [G2], [G1]],
        [[B], [G1], [G2]],
        [[G2], [B], [G1]],
        [[G1, D2]],
        [[G1], [D2]],
        [[D2], [G1]],
        [[D2], [G1], [G2]],
        [[G1], [D2, B]],
        [[D2], [B], [G1]],
        [[B], [D2], [G1]],
        [[B], [G1], [D2]],
        [[G2, B], [D7]],
        [[B], [D7], [G2]],
        [[D7], [event("k", "g9", 9, 9)], [B]],
    ],
    ids=lambda cuts: " | ".join("+".join(e["message_id"] for e in cut) for cut in cuts),
)
def test_the_newest_good_version_stands_however_runs_are_cut(
    lake: TopicLake, cuts: list[list[Event]]
) -> None:
    for cut in cuts:
        lake.run(*cut)
    assert lake.semantic() == expected([e for cut in cuts for e in cut], 99)


# All of one moment, but for what is refused: good versions, a delete, and copies of each.
MOMENT = [
    *(event("k", "good", 3, 1, second) for second in (1, 5, 7)),
    event("k", "other", 3, 2, 2),
    *(event("k", "delete", 3, DELETE, second) for second in (3, 8)),
    event("k", "b", 5, "bad", 4),
    event("k2", "good", 3, 1, 6),
    event("k2", "b", 5, "bad", 6),
]


@settings(max_examples=cases(12), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(order=st.lists(st.sampled_from(MOMENT), unique_by=lambda e: (e["idempotency_key"], e["ingestion_ts"])))
@example(order=[MOMENT[n] for n in (6, 0, 4, 1)])  # a copy of what was deleted meanwhile
@example(order=[MOMENT[n] for n in (6, 3, 0, 4, 1)])
def test_a_late_copy_is_no_newer_version_than_the_first(
    tmp_path_factory: pytest.TempPathFactory, order: list[Event]
) -> None:
    lake = TopicLake(tmp_path_factory.mktemp("lake"), STRICT)
    for number, one in enumerate(order, 1):
        lake.run(one)
        assert lake.semantic() == expected(order[:number], 99)
    lake.close()


def _goes_back(lake: TopicLake, first: tuple[int, SourceCheckpoint | None], kept: str) -> None:
    """Curated goes back, and how far it has read RAW: as by a rollback, or so that it is read as a whole."""
    snapshot, read = first
    lake.table("curated").manage_snapshots().rollback_to_snapshot(snapshot).commit()
    lake.raw_read = {"rolled back": read, "reset": None, "expired": SourceCheckpoint(4711, 1)}[kept]


@pytest.mark.parametrize("kept", ["rolled back", "reset", "expired"])
@pytest.mark.parametrize("rows", [1, 2, 10**9])
@pytest.mark.parametrize("between", [[], [event("k", "g3", 4, 4)], [event("k", "late", 1, 7)]])
def test_what_stood_in_is_found_again_where_curated_reads_again(
    lake: TopicLake, kept: str, rows: int, between: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Files of RAW are read as a whole by their names: in this order versions come as they came before.
    numbers = count(1)
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=next(numbers)))
    lake.run(event("other", "o", 0, 1))
    current = lake.table("curated").current_snapshot()
    assert current is not None
    first = (current.snapshot_id, lake.raw_read)
    events = [event("k", "g1", 1, 1), event("k", "b", 5, "bad", 1), event("k", "g2", 3, 2, 2)]
    for one in events:
        lake.run(one)
    assert lake.semantic()["k"][0] == "g2"
    _goes_back(lake, first, kept)
    if between:
        lake.append(between)
    lake.settle(rows)
    assert lake.semantic() == expected([event("other", "o", 0, 1), *events, *between], 99)


def test_a_newer_good_version_replaces_what_stood_in_for_a_refused_one(lake: TopicLake) -> None:
    lake.run(G1, B)
    later = event("k", "g3", 9, 3)
    lake.run(later)
    assert lake.semantic() == expected([G1, B, later], 99)


def test_a_refused_version_that_the_mended_contract_accepts_replaces_what_stood_in_for_it(
    lake: TopicLake,
) -> None:
    high = event("k", "high", 5, 500)
    lake.run(G1, high)
    assert lake.semantic()["k"][0] == "g1"
    lake.contract = MENDED
    lake.judge_again()
    assert lake.semantic()["k"][0] == "high"


def test_judging_again_finds_an_older_version_that_is_good_now(lake: TopicLake) -> None:
    lake.run(G1, event("k", "high", 3, 500), B)
    lake.contract = MENDED
    lake.judge_again()
    assert lake.semantic()["k"][0] == "high"


def test_nothing_is_looked_up_where_nothing_was_ever_refused(
    lake: TopicLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.layers.versions.appended", lambda *_: pytest.fail("RAW was read"))
    lake.run(G1)
    lake.run(G2)
    assert lake.semantic()["k"][0] == "g2"


def test_only_what_raw_received_since_is_looked_up(lake: TopicLake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.run(B, *(event(f"k{n}", "m", 0, n) for n in range(50)))
    read: list[int] = []

    def watched(*asked: Any) -> Any:
        portion = appended(*asked)
        read.append(portion.rows)
        return portion

    monkeypatch.setattr("common.layers.versions.appended", watched)
    lake.run(G1)
    assert lake.semantic()["k"][0] == "g1"
    assert sum(read) == 1


def test_refused_keys_beyond_what_is_held_at_once_are_looked_up_in_parts(
    lake: TopicLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.layers.versions._KEYS_AT_ONCE", 1)
    monkeypatch.setattr("common.lake.reading.BATCH_ROWS", 1)
    # Quarantine has a file a period.
    bad = [event(f"k{n}", "b", n * 60 * 24 * 31 + 5, "bad") for n in range(4)]
    lake.run(*bad)
    asked: list[int] = []

    def watched(*which: Any) -> Any:
        asked.append(1)
        return appended(*which)

    monkeypatch.setattr("common.layers.versions.appended", watched)
    good = [event(f"k{n}", "g", 0, n) for n in range(4)]
    lake.append(good)
    lake.curate()
    lake.publish()
    assert lake.semantic() == expected([*bad, *good], 99)
    assert len(asked) > 1


def test_an_older_version_meets_the_columns_that_the_contract_has_gained(lake: TopicLake) -> None:
    lake.run(B)
    lake.contract = up_to(99, "1.1.0", more=UNIT)
    lake.run(G1)
    assert lake.semantic()["k"][0] == "g1"


def test_a_lost_record_of_the_look_up_costs_a_look_up_and_nothing_else(lake: TopicLake) -> None:
    lake.run(B)
    lake.append([G1])
    lake.curate()
    lake.publish(lost=True)
    before = lake.table("semantic").current_snapshot()
    lake.settle()
    assert lake.table("semantic").current_snapshot() == before
    assert lake.semantic() == expected([G1, B], 99)


# Few keys, messages and times make ties, copies and corrections common; 500 is good once it is mended.
HISTORIES = st.lists(
    st.tuples(
        st.integers(0, 8),
        st.integers(0, 3),
        st.sampled_from([0, 60, 119, 120, 121, 1500]),
        st.sampled_from([1, 1, 500, "bad", "bad", DELETE]),
    ),
    min_size=1,
    max_size=25,
)


@settings(
    max_examples=cases(6),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(history=HISTORIES, data=st.data())
def test_any_cut_order_repetition_and_loss_gives_the_same_table(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[tuple[int, int, int, object]],
    data: st.DataObject,
) -> None:
    content: dict[tuple[int, int, int], object] = {}
    events = [
        # Copies carry the same payload (the event contract).
        event(f"k{key}", f"m{message}", minute, content.setdefault((message, key, minute), value), second)
        for second, (message, key, minute, value) in enumerate(history)
    ]
    draw = random.Random(data.draw(st.integers(0, 2**16), label="order"))
    shuffled = draw.sample(events, len(events))
    lake = TopicLake(tmp_path_factory.mktemp("lake"), STRICT)
    while shuffled:
        size = draw.randint(1, len(shuffled))
        lake.append(shuffled[:size])
        shuffled = shuffled[size:]
        if draw.random() < 0.7:
            lake.curate(draw.choice([1, 3, 10**9]))
        if draw.random() < 0.6:
            lake.publish(draw.choice([1, 3, 10**9]), lost=draw.random() < 0.3)
        if draw.random() < 0.15:
            lake.published = None  # everything is read again
        if draw.random() < 0.1:
            lake.raw_read = None
        if draw.random() < 0.2:
            lake.compact_raw()
    lake.settle(draw.choice([1, 4, 10**9]))
    assert lake.semantic() == expected(events, 99)
    lake.contract = MENDED
    lake.judge_again()
    assert lake.semantic() == expected(events, 999)
    lake.close()
