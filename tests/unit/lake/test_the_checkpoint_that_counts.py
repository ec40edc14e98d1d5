"""Of what a table carries and what DynamoDB recorded, the checkpoint that is right is the one that counts."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.table.snapshots import Operation, Snapshot, Summary

from common.lake.checkpoints import (
    MERGE_SEQ,
    NOTHING,
    START,
    Entry,
    SourceCheckpoint,
    reconcile,
)
from common.lake.history import from_lineage, since_last_merge
from common.runtime.errors import InvalidInput

_PARTS = st.tuples(st.integers(1, 2**63 - 1), st.integers(0, 10**12))
CHECKPOINTS = st.builds(lambda place: SourceCheckpoint(*place), _PARTS) | st.builds(
    lambda place, files, full_scan: SourceCheckpoint(place[0], place[1], files, full_scan),
    _PARTS,
    st.integers(0, 99_999),
    st.booleans(),
)


def entry(sequence: int, target: str = "1") -> Entry:
    return Entry(str(sequence), SourceCheckpoint(sequence, sequence).position, target)


@given(CHECKPOINTS)
def test_token_and_position_give_the_checkpoint_back(checkpoint: SourceCheckpoint) -> None:
    assert SourceCheckpoint.parse(checkpoint.token, checkpoint.position) == checkpoint


@given(CHECKPOINTS, CHECKPOINTS)
def test_positions_sort_as_reading_progresses(one: SourceCheckpoint, other: SourceCheckpoint) -> None:
    def progress(c: SourceCheckpoint) -> tuple[int, float]:
        return c.sequence, float("inf") if c.files is None else c.files

    assert (one.position < other.position) == (progress(one) < progress(other))


def test_no_checkpoint_is_none() -> None:
    assert SourceCheckpoint.parse(NOTHING, NOTHING) is None


@pytest.mark.parametrize(
    ("token", "position"), [("12x", "000000000000001.999999"), ("12", "1"), ("", ""), ("1+", "")]
)
def test_a_malformed_token_is_refused(token: str, position: str) -> None:
    with pytest.raises(InvalidInput, match="expected a token"):
        SourceCheckpoint.parse(token, position)


def test_a_run_that_ended_before_its_update_is_seen_in_the_table() -> None:
    assert reconcile(entry(5, target="2"), entry(4, target="1"), ["2", "1"]) == entry(5, target="2")


def test_a_run_that_changed_nothing_is_seen_in_dynamodb() -> None:
    assert reconcile(entry(4, target="2"), entry(5, target="2"), ["2", "1"]) == entry(5, target="2")


def test_a_run_that_found_its_source_compacted_is_seen_in_dynamodb() -> None:
    """Otherwise every later run would find the compaction again, and have nothing to read."""
    compacted = Entry("99", entry(4, target="2").position, "2")
    assert reconcile(entry(4, target="2"), compacted, ["2"]) == compacted


def test_a_record_about_a_snapshot_that_the_table_lost_is_void() -> None:
    """After a rollback the table is behind what DynamoDB says; believing DynamoDB would lose rows."""
    assert reconcile(entry(4, target="1"), entry(5, target="2"), ["1"]) == entry(4, target="1")
    assert reconcile(None, entry(5, target="2"), [NOTHING]) is None


def test_a_record_about_an_older_merge_is_void_as_a_later_merge_may_have_replaced_all_rows() -> None:
    """A rebuild that has read less than a run recorded before it must not skip what lies between."""
    assert reconcile(entry(4, target="3"), entry(5, target="2"), ["3"]) == entry(4, target="3")


def test_a_rewound_record_counts_until_the_next_merge() -> None:
    rewound = replace(entry(2, target="2"), rewound=True)
    assert reconcile(entry(4, target="2"), rewound, ["2"]) == rewound
    assert reconcile(entry(3, target="3"), rewound, ["3"]) == entry(3, target="3")


def test_a_reset_checkpoint_sorts_before_every_other_and_reads_as_none() -> None:
    assert SourceCheckpoint(1, 1, 0, full_scan=True).position > START
    assert SourceCheckpoint.parse(NOTHING, START) is None


def test_a_compaction_holds_what_the_merge_before_it_left() -> None:
    def snapshot(number: int, **summary: str) -> Snapshot:
        return Snapshot(snapshot_id=number, manifest_list="m", summary=Summary(Operation.APPEND, **summary))

    merges = {number: snapshot(number, **{MERGE_SEQ: str(number)}) for number in (1, 2)}
    compaction, deletion = snapshot(3, **{MERGE_SEQ: "2"}), snapshot(4)
    assert since_last_merge([deletion, compaction, merges[2], merges[1]]) == ["4", "3", "2"]
    assert since_last_merge([merges[1]]) == ["1"]
    assert since_last_merge([]) == [NOTHING]


def test_before_the_first_commit_a_record_about_an_empty_table_counts() -> None:
    recorded = entry(5, target=NOTHING)
    assert reconcile(None, recorded, [NOTHING]) == recorded


def test_the_table_s_own_checkpoint_is_that_of_its_newest_merge() -> None:
    def snapshot(number: int, **summary: str) -> Snapshot:
        return Snapshot(snapshot_id=number, manifest_list="m", summary=Summary(Operation.APPEND, **summary))

    merge = SourceCheckpoint(7, 3)
    lineage = [snapshot(3), snapshot(2, **merge.summary(), **{MERGE_SEQ: "2"}), snapshot(1)]
    assert from_lineage(lineage) == Entry("7", merge.position, "2")
    assert from_lineage([snapshot(1)]) is None
