"""A delete wins or loses by its time: in Curated it leaves a tombstone, in Semantic nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from common.lake import specifications
from common.lake.history import last_merge, said_by
from common.payload.flattening import DELETED
from common.runtime.errors import TableMismatch

from ...support.oracle import Event
from ...support.topic import TopicLake, event
from .test_semantic_is_a_function_of_the_events import D2, D7, G1, G2, STRICT, B


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[TopicLake]:
    lake = TopicLake(tmp_path, STRICT)
    yield lake
    lake.close()


def curated(lake: TopicLake) -> dict[str, Event]:
    return lake.by_key("curated")


def snapshots(lake: TopicLake) -> list[object]:
    return [lake.table(layer).current_snapshot() for layer in ("curated", "semantic")]


def test_a_tombstone_has_no_payload_and_older_versions_do_not_overcome_it(lake: TopicLake) -> None:
    lake.run(G1)
    lake.run(D2)
    found = curated(lake)["k"]
    assert (found["message_id"], found[DELETED], found["value"]) == ("d2", True, None)
    lake.run(event("k", "late", 1, 5))
    assert curated(lake)["k"]["message_id"] == "d2"
    assert lake.semantic() == {}


def test_a_newer_upsert_brings_the_key_back(lake: TopicLake) -> None:
    lake.run(G1, D2)
    lake.run(G2)
    found = curated(lake)["k"]
    assert (found["message_id"], found[DELETED], found["value"]) == ("g2", None, "2")
    assert lake.semantic()["k"][0] == "g2"


def test_a_delete_moves_the_key_out_of_another_day_and_month(lake: TopicLake) -> None:
    lake.run(G1, event("other", "o", 0, 1))
    lake.run(event("k", "later", 3_000, "delete"))
    assert curated(lake)["k"]["period_reference"] == "2026-06"
    assert lake.semantic().keys() == {"other"}


def test_a_delete_settles_what_waits_in_quarantine(lake: TopicLake) -> None:
    lake.run(B)
    lake.run(D7)
    lake.judge_again()
    assert lake.semantic() == {}
    assert len(lake.rows("quarantine")) == 1


def test_a_delete_again_changes_nothing(lake: TopicLake) -> None:
    lake.run(G1)
    lake.run(D2)
    before = [lake.table(layer).current_snapshot() for layer in ("curated", "semantic")]
    lake.run(D2, D2)
    after = [lake.table(layer).current_snapshot() for layer in ("curated", "semantic")]
    assert before == after


def test_a_commit_says_how_many_keys_it_removed(lake: TopicLake) -> None:
    lake.run(G1, event("other", "o", 0, 1))
    lake.run(D2, event("nobody", "n", 0, "delete"))
    merged = last_merge(lake.table("semantic"))
    assert merged is not None
    counts = {
        name: said_by(merged[0])[f"lean-ops.{name}"]
        for name in ("inserted", "updated", "removed", "unchanged")
    }
    assert counts == {"inserted": "0", "updated": "0", "removed": "1", "unchanged": "1"}


def test_tables_from_before_there_were_deletes_take_them(lake: TopicLake) -> None:
    for layer, column in (("raw", "operation"), ("curated", DELETED)):
        with lake.table(layer).update_schema() as update:
            update.delete_column(column)
    old = {name: value for name, value in G1.items() if name != "operation"}
    lake.run(old)
    lake.run({name: value for name, value in D2.items() if name != "operation"})
    assert curated(lake)["k"][DELETED] is True
    assert lake.semantic() == {}
    lake.run({name: value for name, value in B.items() if name != "operation"})
    lake.run({name: value for name, value in G1.items() if name != "operation"} | {"message_id": "again"})
    assert lake.semantic() == {}


def test_a_tombstone_by_the_name_of_before_is_one(lake: TopicLake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions are new, and nobody has aligned the table: Semantic takes no tombstone for a row."""
    monkeypatch.setattr(specifications, "RENAMED", {"earlier": DELETED})  # no test may write the real one
    lake.run(G1, event("other", "o", 0, 1))
    lake.append([D2])
    lake.curate()
    with lake.table("curated").update_schema() as update:
        update.rename_column(DELETED, "earlier")
    with pytest.raises(TableMismatch, match="`lean-ops maintain` renames it"):
        lake.publish()
    assert lake.semantic().keys() == {"k", "other"}, "as it was before the delete"
    lake.run(event("k", "late", 1, 5))
    assert curated(lake)["k"][DELETED] is True
    assert "earlier" not in lake.table("curated").schema().column_names
    assert lake.semantic().keys() == {"other"}
