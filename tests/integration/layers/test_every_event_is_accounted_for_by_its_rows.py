"""Reconciling finds one row of a million that is missing, doubled, old, or there for no reason; else nothing.

That it finds nothing where nothing is wrong is asked after every step of the generated histories too
(``test_histories_end_as_the_oracle_says``).
"""

import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from common.layers.reconciling import Fault

from ...support.reconciled import reconciled
from ...support.topic import DELETE, START, TopicLake, event

# The hours in which events are received (``event``): seconds after this.
RECEIVED = START + timedelta(days=1)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[TopicLake]:
    """Six keys; of them k1 was corrected, k2 is deleted and k3 refused"""
    lake = TopicLake(tmp_path)
    lake.run(*(event(f"k{number}", f"m{number}", number, 1, number) for number in range(6)))
    lake.run(
        event("k1", "n1", 101, 2, 3_601),
        event("k2", "n2", 102, DELETE, 3_602),
        event("k3", "n3", 103, "bad", 3_603),
        event("k1", "n1", 101, 2, 3_700),
    )
    yield lake
    lake.close()


def tamper(lake: TopicLake, layer: str, key: str, **changed: Any) -> None:
    """Add a copy of a key's row, with these columns changed, as another writer would."""
    table = lake.table(layer)
    rows = table.scan(row_filter=f"idempotency_key == '{key}'").to_arrow().to_pylist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        table.append(pa.Table.from_pylist([rows[0] | changed], schema=table.schema().as_arrow()))


def take_away(lake: TopicLake, layer: str, key: str) -> None:
    with warnings.catch_warnings():  # pyiceberg says what it does otherwise than the table's properties ask
        warnings.simplefilter("ignore", UserWarning)
        lake.table(layer).delete(f"idempotency_key == '{key}'")


def test_nothing_is_wrong_where_nothing_was_done(lake: TopicLake) -> None:
    found = reconciled(lake)
    assert not found.faults
    assert found.open_since is None
    first, second = found.hours[RECEIVED], found.hours[RECEIVED + timedelta(hours=1)]
    assert (first.events, first.copies, first.refused) == (6, 0, 0)
    assert (second.events, second.copies, second.refused) == (3, 1, 1)


def test_a_key_that_curated_lost_is_missing(lake: TopicLake) -> None:
    take_away(lake, "curated", "k4")
    found = reconciled(lake)
    assert found.faults == {("curated", Fault.MISSING): 1}
    assert found.hours[RECEIVED].samples == {("curated", Fault.MISSING): ["m4"]}
    assert found.open_since == RECEIVED + timedelta(seconds=4)


def test_an_older_version_in_curated_is_outdated(lake: TopicLake) -> None:
    take_away(lake, "curated", "k1")
    tamper(lake, "curated", "k0", idempotency_key="k1", message_id="m1", publish_time=START)
    found = reconciled(lake)
    assert found.faults[("curated", Fault.OUTDATED)] == 1
    assert found.hours[RECEIVED + timedelta(hours=1)].samples[("curated", Fault.OUTDATED)] == ["n1"]


@pytest.mark.parametrize("layer", ["curated", "semantic"])
def test_a_second_row_of_a_key_is_doubled(lake: TopicLake, layer: str) -> None:
    tamper(lake, layer, "k5")
    assert reconciled(lake).faults == {(layer, Fault.DOUBLED): 1}


@pytest.mark.parametrize("layer", ["curated", "semantic"])
def test_a_row_that_was_never_sent_is_named(lake: TopicLake, layer: str) -> None:
    tamper(lake, layer, "k5", idempotency_key="nobody", message_id="none")
    assert reconciled(lake).faults == {(layer, Fault.UNSENT): 1}


def test_a_good_row_that_semantic_lost_is_missing(lake: TopicLake) -> None:
    take_away(lake, "semantic", "k5")
    assert reconciled(lake).faults == {("semantic", Fault.MISSING): 1}


def test_a_refused_row_that_quarantine_lost_is_missed(lake: TopicLake) -> None:
    take_away(lake, "quarantine", "k3")
    # Semantic has the older version that stands in.
    assert reconciled(lake).faults == {("semantic", Fault.OUTDATED): 1}


def test_a_deleted_key_that_came_back_is_named(lake: TopicLake) -> None:
    tamper(lake, "semantic", "k0", idempotency_key="k2", message_id="m2", publish_time=START)
    assert reconciled(lake).faults == {("semantic", Fault.UNDELETED): 1, ("semantic", Fault.UNSENT): 1}


def test_the_wrong_winner_of_a_tie_is_outdated(lake: TopicLake) -> None:
    lake.run(event("k4", "a", 4, 3, 10_000), event("k4", "z", 4, 4, 10_000))
    assert not reconciled(lake).faults
    take_away(lake, "curated", "k4")
    tamper(
        lake, "curated", "k0", idempotency_key="k4", message_id="a", publish_time=START + timedelta(minutes=4)
    )
    assert reconciled(lake).faults[("curated", Fault.OUTDATED)] == 1


def test_what_is_on_its_way_waits_and_is_not_missed(lake: TopicLake) -> None:
    lake.append([event("k21", "m21", 121, 1, 7_300), event("k1", "o1", 122, 1, 7_301)])
    found = reconciled(lake)
    assert not found.faults
    assert found.hours[RECEIVED + timedelta(hours=2)].waiting == 2
    assert found.open_since == RECEIVED + timedelta(seconds=7_300)
    lake.curate()
    found = reconciled(lake)
    assert not found.faults
    assert found.hours[RECEIVED + timedelta(hours=2)].unpublished == 2
    lake.publish()
    assert reconciled(lake).open_since is None


def test_a_waiting_version_does_not_hide_that_the_one_before_it_is_missing(lake: TopicLake) -> None:
    take_away(lake, "curated", "k5")
    lake.append([event("k5", "o8", 122, 1, 7_301)])
    assert reconciled(lake).faults == {("curated", Fault.MISSING): 1}


def test_half_a_delivery_that_was_read_is_not_taken_for_a_whole(lake: TopicLake) -> None:
    for number in range(3):
        lake.append([event(f"p{number}", f"p{number}", 200 + number, 1, 8_000 + number)])
    lake.curate(rows=1)
    assert not reconciled(lake).faults
    lake.settle()
    assert not reconciled(lake).faults


def test_events_that_were_set_aside_are_looked_for_among_the_letters_and_only_if_missing(
    lake: TopicLake,
) -> None:
    def nobody_asks(_since: datetime) -> Iterator[str]:
        raise AssertionError

    assert not reconciled(lake, set_aside=nobody_asks).faults
    lake.run(event("x" * 5_000, "long", 130, 1, 7_200), event("k30", "m30", 131, 1, 7_201))
    assert len(lake.letters) == 1
    found = reconciled(lake)
    assert not found.faults
    assert found.hours[RECEIVED + timedelta(hours=2)].set_aside == 1
    # Nobody has the letter any more: then the event is nowhere but in RAW.
    assert reconciled(lake, set_aside=lambda _since: ()).faults == {("curated", Fault.MISSING): 1}


def test_a_span_is_looked_at_alone_and_in_parts(lake: TopicLake) -> None:
    take_away(lake, "curated", "k4")
    take_away(lake, "semantic", "k1")  # its row is of the second hour
    hour = timedelta(hours=1)
    assert reconciled(lake, until=RECEIVED + timedelta(seconds=4)).faults == {}
    assert reconciled(lake, since=RECEIVED + hour).faults == {("semantic", Fault.MISSING): 1}
    whole, told = reconciled(lake), list[tuple[int, int]]()
    parts = reconciled(lake, at_once=3, told=lambda *done: told.append(done))
    assert (parts.faults, parts.open_since) == (whole.faults, whole.open_since)
    assert told[-1] == (len(told), len(told))
    assert len(told) >= 3


def test_it_says_where_it_was_stopped(lake: TopicLake) -> None:
    take_away(lake, "curated", "k5")
    asked = iter([True, True, False])
    found = reconciled(lake, at_once=2, go_on=lambda: next(asked))
    assert not found.faults
    assert found.until == RECEIVED + timedelta(seconds=4)
    assert reconciled(lake, since=found.until).faults == {("curated", Fault.MISSING): 1}


def test_a_topic_without_a_row_has_nothing_to_reconcile(tmp_path: Path) -> None:
    lake = TopicLake(tmp_path)
    found = reconciled(lake)
    assert (found.hours, found.open_since) == ({}, None)
    lake.close()


def test_curated_that_was_rolled_back_waits_to_be_merged_and_published_again(lake: TopicLake) -> None:
    lake.run(event("k5", "n5", 500, 2, 9_000))
    lake.roll_back("curated", 1)
    found = reconciled(lake)
    assert not found.faults
    assert found.total("waiting") == 1
    lake.settle()
    assert reconciled(lake).open_since is None


def test_what_upkeep_does_in_between_changes_nothing(lake: TopicLake) -> None:
    before = reconciled(lake)
    lake.compact_raw()
    assert reconciled(lake) == before
    take_away(lake, "curated", "k4")
    assert reconciled(lake).faults == {("curated", Fault.MISSING): 1}
