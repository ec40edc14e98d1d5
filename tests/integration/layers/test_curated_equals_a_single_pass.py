"""However events are cut into deliveries and runs, repeated or re-ordered, Curated is what one pass gives."""

import json
import random
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.lake.checkpoints import SourceCheckpoint
from common.lake.setting_aside import SetAside

from ...support.generated import cases
from ...support.lake import LocalLake
from ...support.oracle import Event, single_pass

START = datetime(2026, 5, 31, 22, tzinfo=UTC)


class Lake(LocalLake):
    """RAW and Curated, and what runs told of them."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, ["raw", "curated"])
        self.new_columns: list[str] = []
        self.set_aside: list[SetAside] = []

    def run(self, since: SourceCheckpoint | None, rows: int = 10**9) -> SourceCheckpoint | None:
        done = self.run_curation(
            since,
            rows,
            record_columns=lambda columns: self.new_columns.extend(columns.new),
            set_aside=self.set_aside.extend,
        )
        return done.checkpoint

    def run_until_done(self, since: SourceCheckpoint | None, rows: int) -> SourceCheckpoint | None:
        while (after := self.run(since, rows)) != since:
            since = after
        return since


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with closing(Lake(tmp_path)) as lake:
        yield lake


def event(message: int, key: int, minute: int, second: int, **payload: object) -> Event:
    published = START + timedelta(minutes=minute)
    return {
        "message_id": f"m{message:04}",
        "idempotency_key": f"k{key}",
        "topic_name": "t",
        "period_reference": published.strftime("%Y-%m"),
        "correlation_id": None,
        "publish_time": published,
        "ingestion_ts": START + timedelta(days=1, seconds=second),
        "json_payload": json.dumps({"from": message, **payload}),
    }


def check(lake: Lake, events: list[Event]) -> None:
    expected, found = single_pass(events), lake.by_key("curated")
    assert found.keys() == expected.keys()
    for key, row in found.items():
        for column in ("message_id", "publish_time", "ingestion_ts", "period_reference"):
            assert row[column] == expected[key][column], (key, column)
        payload = json.loads(expected[key]["json_payload"])
        leaves = {name: row.get(name) for name in payload}
        assert leaves == {name: str(value) for name, value in payload.items()}


# Minutes straddle the end of a month and of a day; few keys and few times make ties and corrections common.
HISTORIES = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 3), st.sampled_from([0, 60, 119, 120, 121, 1500])),
    min_size=1,
    max_size=25,
)


@settings(
    max_examples=cases(12),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(history=HISTORIES, data=st.data())
def test_any_split_order_and_repetition_gives_the_same_table(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    events = [
        # Copies carry the same payload (the event contract); an id used again at another time another one.
        event(message, key, minute, second, **{f"field_{(message + minute) % 3}": f"{message} at {minute}"})
        for second, (message, key, minute) in enumerate(history)
    ]
    draw = random.Random(data.draw(st.integers(0, 2**16), label="order"))
    shuffled = draw.sample(events, len(events))

    lake = Lake(tmp_path_factory.mktemp("lake"))
    since = None
    while shuffled:
        size = draw.randint(1, len(shuffled))
        lake.append(shuffled[:size])
        shuffled = shuffled[size:]
        if draw.random() < 0.6:
            since = lake.run(since, rows=draw.choice([1, 3, 10**9]))
        if draw.random() < 0.2:
            since = None  # the checkpoint is lost: everything is read again
    since = lake.run_until_done(since, rows=draw.choice([1, 4, 10**9]))
    check(lake, events)

    before = lake.by_key("curated")
    lake.run_until_done(None, rows=10**9)
    assert lake.by_key("curated") == before
    lake.close()


def test_new_leaves_become_columns_in_the_commit_that_brings_their_rows(lake: Lake) -> None:
    lake.append([event(1, 1, 0, 0, a="x")])
    since = lake.run(None)
    lake.append([event(2, 2, 0, 1, a="y", b={"c": "1.10"})])
    lake.run(since)
    assert lake.new_columns == ["a", "from", "b__c"]
    table = lake.table("curated")
    assert len(table.snapshots()) == 2
    assert {key: row["b__c"] for key, row in lake.by_key("curated").items()} == {"k1": None, "k2": "1.10"}


def test_a_correction_that_moves_to_another_month_leaves_its_old_partition(lake: Lake) -> None:
    lake.append([event(1, 1, 60, 0)])
    since = lake.run(None)
    lake.append([event(2, 1, 121, 1)])
    lake.run(since)
    assert [row["period_reference"] for row in lake.by_key("curated").values()] == ["2026-06"]


def test_a_run_that_finds_nothing_new_commits_nothing(lake: Lake) -> None:
    lake.append([event(1, 1, 0, 0)])
    since = lake.run(None)
    lake.run(since)
    lake.run(None)
    assert len(lake.table("curated").snapshots()) == 1


def test_the_commit_carries_its_checkpoint(lake: Lake) -> None:
    lake.append([event(1, 1, 0, 0)])
    since = lake.run(None)
    assert since is not None
    snapshot = lake.table("curated").current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    assert snapshot.summary.additional_properties["lean-ops.source-token"] == since.token
    assert snapshot.summary.additional_properties["lean-ops.source-snapshot-id"] == str(since.snapshot_id)
