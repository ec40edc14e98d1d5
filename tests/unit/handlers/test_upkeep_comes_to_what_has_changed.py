"""Upkeep comes to tables that have changed, once more when only time has passed, and is shared out evenly."""

from collections import Counter
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from common.lake.upkeep import UpkeepPolicy
from maintenance.due import FEW, WORKERS, Kept, Place, due, places, shares

POLICY = UpkeepPolicy(snapshots_for=timedelta(days=5), orphans_for=timedelta(days=7))
DAY = 86_400
NOW = 1_800_000_000
PLACE = Place("events", "raw")


def at(pointer: str) -> str:
    return f"s3://lake/raw_events/metadata/{pointer}.metadata.json"


def is_due(kept: Kept, pointer: str, now: int = NOW, contract: int | None = None) -> bool:
    contracts = {} if contract is None else {PLACE.topic: contract}
    return due({PLACE: kept}, {PLACE.name: pointer}, now, POLICY, contracts) == [PLACE]


def test_a_table_is_due_when_somebody_has_committed_to_it() -> None:
    kept = Kept().after(at("00001-a"), at("00002-b"), NOW)
    assert is_due(Kept(), at("00001-a"))
    assert not is_due(kept, at("00002-b"), NOW + 3_600)
    assert is_due(kept, at("00003-c"), NOW + 3_600)


def test_a_table_that_rests_is_due_daily_until_its_snapshots_and_orphans_are_gone_and_then_never() -> None:
    kept, times = Kept().after(at("00001-a"), at("00002-b"), NOW), []
    for hour in range(24 * 60):
        now = NOW + hour * 3_600
        if is_due(kept, kept.pointer, now):
            times.append((now - NOW) // DAY)
            kept = kept.after(kept.pointer, at(f"{hour + 10:05}-own"), now)  # its own commits are no change
    assert times == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_a_table_that_rests_is_due_when_a_day_of_it_is_past() -> None:
    later = NOW + 400 * DAY
    kept = Kept().after(at("00001-a"), at("00002-b"), NOW, past=later)
    rested = kept.after(kept.pointer, kept.pointer, NOW + 30 * DAY, past=later)
    assert not is_due(rested, kept.pointer, later - 1)
    assert is_due(rested, kept.pointer, later)
    assert not is_due(rested.after(kept.pointer, kept.pointer, later), kept.pointer, later + DAY)


def test_a_table_that_rests_is_due_when_its_contract_has_changed() -> None:
    kept = Kept().after(at("00001-a"), at("00002-b"), NOW)
    assert not is_due(kept, kept.pointer, NOW + 60, contract=NOW - 60)
    assert is_due(kept, kept.pointer, NOW + 120, contract=NOW + 60)
    assert not is_due(kept.after(kept.pointer, kept.pointer, NOW + 180), kept.pointer, NOW + 240, NOW + 60)


def test_tables_that_nobody_has_committed_to_are_left_alone() -> None:
    pointers = {
        "raw_a": at("00000-x"),
        "curated_a": at("00004-x"),
        "raw_b": at("00001-x"),
        "rebuild_raw_b": at("9"),
    }
    assert [place.name for place in places(["a", "b"], pointers)] == ["curated_a", "raw_b"]


def test_a_damaged_memory_is_none() -> None:
    for item in (
        {},
        {"pointer": {"S": "x"}},
        {"pointer": {"S": "x"}, "at": {"N": "?"}, "changed": {"N": "1"}},
    ):
        assert Kept.of(item) == Kept()
    assert Kept.of({"pointer": {"S": "p"}, "at": {"N": "5"}, "changed": {"N": "3"}}) == Kept("p", 5, 3)
    kept = Kept("p", 5, 3, 7)
    assert Kept.of(kept.as_item()) == kept


def test_a_name_is_a_place_again() -> None:
    place = Place("weather_stations", "quarantine")
    assert Place.of(place.name) == place


@given(st.integers(0, 3_000))
def test_every_table_is_one_workers_and_no_worker_has_much_more_than_another(count: int) -> None:
    found = [Place(f"t{number}", "raw") for number in range(count)]
    parts = shares(found)
    assert len(parts) <= WORKERS
    assert Counter(place for part in parts for place in part) == Counter(found)
    if parts:
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= FEW or len(parts) == WORKERS
        # Those that wait longest are begun first, whoever has them.
        assert [part[0] for part in parts] == found[: len(parts)]
