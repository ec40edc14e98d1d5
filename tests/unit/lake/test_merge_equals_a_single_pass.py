"""Whatever the batches, the merged rows are those of one pass over all events in plain Python."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from common.lake.merge.decide import decide
from common.lake.merge.locate import StoredRows
from common.lake.rule import EVENT_RULE, SOURCE_RULE, choose_winners
from common.runtime.arrowtypes import Array

from ...support.generated import cases
from ...support.oracle import single_pass

TIME: pa.DataType = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    {"idempotency_key": pa.string(), "publish_time": TIME, "ingestion_ts": TIME, "message_id": pa.string()}
)


@dataclass(frozen=True, order=True)
class Event:
    publish_time: int
    ingestion_ts: int
    message_id: str
    idempotency_key: str


def as_table(events: list[Event]) -> pa.Table:
    return pa.Table.from_pylist([vars(e) for e in events], schema=SCHEMA)


class Memory:
    """A table of winning rows in memory, merged into with the engine's own decisions."""

    def __init__(self) -> None:
        self.rows = SCHEMA.empty_table()
        self.seen: list[Event] = []

    def merge(self, batch: list[Event]) -> None:
        self.seen += batch
        table = as_table(batch)
        winners = choose_winners(table, EVENT_RULE)
        keys = table["idempotency_key"].take(winners.rows).combine_chunks()
        place = pc.index_in(self.rows["idempotency_key"], value_set=keys)
        found = np.flatnonzero(place.is_valid().to_numpy())
        stored = StoredRows(
            rows=self.rows.take(found),
            key_of=place.drop_null().to_numpy().astype(np.int64),
            files=(),
            file_of=np.zeros(len(found), np.int64),
            positions=found,
        )
        decision = decide(table, winners, stored, EVENT_RULE, self.history)
        keep = np.ones(self.rows.num_rows, bool)
        keep[found[decision.delete]] = False
        parts = [self.rows.filter(keep), table.take(decision.write)]
        if decision.recovered is not None:
            parts.append(decision.recovered)
        self.rows = pa.concat_tables(parts)
        assert decision.inserted + decision.updated + decision.unchanged == len(winners.rows)

    def history(self, keys: Array, publish_times: Array) -> pa.Table:
        wanted = set(zip(keys.to_pylist(), pc.cast(publish_times, pa.int64()).to_pylist(), strict=True))
        return as_table([e for e in self.seen if (e.idempotency_key, e.publish_time) in wanted])


@st.composite
def histories(draw: st.DrawFn) -> list[list[Event]]:
    """Batches of events with many retries, corrections, ties and ids that are used again."""
    messages = draw(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 3)), min_size=1, max_size=8))
    ids = draw(st.integers(1, 8))  # few: a device counts from zero again
    events = [
        Event(publish_time, draw(st.integers(1, 6)), f"m{number % ids}", key)
        for number, (key, publish_time) in enumerate(messages)
        for _ in range(draw(st.integers(1, 4)))
    ]
    events = draw(st.permutations(events))
    cuts = sorted(draw(st.sets(st.integers(0, len(events)), max_size=5)))
    batches = [events[a:b] for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    return [*batches, *draw(st.lists(st.sampled_from(batches), max_size=2))]


@settings(max_examples=cases(300), deadline=None)
@given(histories())
def test_any_split_order_and_replay_of_a_history_gives_the_rows_of_a_single_pass(
    batches: list[list[Event]],
) -> None:
    memory = Memory()
    for batch in batches:
        memory.merge(batch)
    expected = single_pass(vars(e) for batch in batches for e in batch)
    assert sorted(memory.rows.to_pylist(), key=str) == sorted(
        pa.Table.from_pylist(list(expected.values()), schema=SCHEMA).to_pylist(), key=str
    )


def test_an_earlier_copy_of_the_stored_message_hands_a_tie_to_the_message_that_lost_it() -> None:
    memory = Memory()
    for event in (Event(1, 20, "m1", "k"), Event(1, 15, "m2", "k"), Event(1, 10, "m1", "k")):
        memory.merge([event])
    assert memory.rows["message_id"].to_pylist() == ["m2"]


def test_an_id_used_again_with_another_time_is_another_version_however_it_is_cut() -> None:
    before, after = Event(1, 10, "m1", "k"), Event(2, 20, "m1", "k")
    for batches in ([[before, after]], [[after, before]], [[before], [after]], [[after], [before]]):
        memory = Memory()
        for batch in batches:
            memory.merge(batch)
        assert memory.rows.to_pylist() == as_table([after]).to_pylist()


def test_a_later_copy_of_a_message_that_lost_a_tie_does_not_win_it() -> None:
    memory = Memory()
    for event in (Event(1, 10, "m1", "k"), Event(1, 15, "m2", "k"), Event(1, 20, "m1", "k")):
        memory.merge([event])
    assert memory.rows["message_id"].to_pylist() == ["m2"]


def test_the_greatest_source_sequence_of_a_key_wins_and_an_equal_one_changes_nothing() -> None:
    table = pa.table({"idempotency_key": ["a", "b", "a"], "_source_merge_seq": [3, 7, 5]})
    winners = choose_winners(table, SOURCE_RULE)
    assert winners.rows.tolist() == [1, 2]
    assert (winners.duplicate_messages, winners.superseded) == (0, 1)
    stored = StoredRows(
        rows=pa.table({"idempotency_key": ["b", "a"], "_source_merge_seq": [7, 4]}),
        key_of=np.array([0, 1]),
        files=(),
        file_of=np.zeros(2, np.int64),
        positions=np.arange(2),
    )
    decision = decide(table, winners, stored, SOURCE_RULE, None)
    assert decision.write.tolist() == [2]
    assert decision.delete.tolist() == [1]
    assert (decision.inserted, decision.updated, decision.unchanged) == (0, 1, 1)
