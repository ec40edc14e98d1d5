"""A source read portion by portion gives what reading it at once gives, whoever wrote its files.

Generated: deliveries by several writers, corrections, compactions of RAW and of Curated, bounds, first days.
"""

import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.expressions.parser import parse
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from common.contract.contracts import load_contract
from common.lake.checkpoints import SourceCheckpoint
from common.lake.incremental import Bounds, Portion, appends_again, new_appends, new_merges, read
from common.lake.rule import EVENT_RULE
from common.lake.upkeep import CompactionPolicy, compact
from common.layers.curated import Curated
from common.layers.semantic import EVERY_ROW, Published
from common.runtime.errors import TableMismatch

from ...support.generated import cases
from ...support.lake import LocalLake

START = datetime(2026, 5, 31, 22, tzinfo=UTC)
CONTRACT = load_contract(
    """
apiVersion: v3.2.0
kind: DataContract
id: test.t
version: 1.0.0
status: active
schema:
  - name: t
    properties:
      - name: value
        description: A number
        logicalType: integer
        transformSourceObjects: [value]
""",
    "t",
)
TIME = pa.timestamp("us", "UTC")
# How writers have the one type of a column: whatever it is, Iceberg says string or timestamptz.
TEXTS: Final[dict[str, pa.DataType]] = {
    "pyiceberg": pa.large_string(),
    "plain": pa.string(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "view": pa.string_view(),
    "bytes": pa.binary(),
    "large bytes": pa.large_binary(),
}
TIMES: Final[dict[str, pa.DataType]] = {
    "pyiceberg": TIME,
    "plain": TIME,
    "dictionary": pa.timestamp("ns", "UTC"),
    "view": pa.timestamp("ms", "UTC"),
    "bytes": pa.timestamp("us"),
    "large bytes": pa.timestamp("us", "+00:00"),
}
WRITERS = tuple(TEXTS)


class Lake(LocalLake):
    """All layers of one topic."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, contract=CONTRACT)

    def deliver(self, writer: str, events: Sequence[dict[str, Any]]) -> None:
        """One commit to RAW; every day's events in a file of their own, as ``writer`` has the types."""
        raw = self.table("raw")
        for day in sorted({event["publish_time"].date() for event in events}):
            rows = [event for event in events if event["publish_time"].date() == day]
            schema = schema_to_pyarrow(raw.schema())
            for place, field in enumerate(schema):
                kinds = TIMES if pa.types.is_timestamp(field.type) else TEXTS
                schema = schema.set(place, field.with_type(kinds[writer]))
            columns = [
                pa.array([row.get(f.name) for row in rows], TIME if is_time(f) else pa.string()).cast(f.type)
                for f in schema
            ]
            append_file(raw, pa.table(columns, schema=schema), (day - date(1970, 1, 1)).days)

    def compact(self, layer: str) -> None:
        compact(
            self.catalog, self.identifier(layer), EVENT_RULE, run_id="tidy", policy=CompactionPolicy(files=1)
        )

    def curate(self, rows: int = 10**9, only: BooleanExpression = EVERY_ROW) -> int:
        """Read RAW from the start to its end by rows of ``only``; gives the number of portions."""
        current = self.table("raw").current_snapshot()
        there = (current.sequence_number or 0) if current else 0
        portions = partial(appends_again, read=there, only=only)
        return run_to_the_end(lambda since: self.run_curation(since, rows, portions=portions))

    def publish(self, rows: int, only: BooleanExpression = EVERY_ROW) -> int:
        return run_to_the_end(lambda since: self.run_publication(CONTRACT, since, rows, only=only))


def run_to_the_end(run: Callable[[SourceCheckpoint | None], Curated | Published]) -> int:
    """Run until nothing is left; gives how often."""
    since, count = None, 1
    while (done := run(since)).backlog_rows:
        assert done.checkpoint != since, "a portion did not move the checkpoint"
        since = done.checkpoint
        count += 1
    return count


def is_time(field: Any) -> bool:
    return pa.types.is_timestamp(field.type)


def append_file(table: Table, rows: pa.Table, day: int) -> None:
    """Write rows as they are, and commit the file to a day's partition."""
    path = f"{table.location()}/data/{uuid.uuid4()}.parquet"
    place = Path(path.removeprefix("file://"))
    place.parent.mkdir(exist_ok=True)
    pq.write_table(rows, place)
    file = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=Record(day),
        record_count=rows.num_rows,
        file_size_in_bytes=place.stat().st_size,
        spec_id=0,
    )
    with table.transaction() as transaction, transaction.update_snapshot().fast_append() as snapshot:
        snapshot.append_data_file(file)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with closing(Lake(tmp_path)) as lake:
        yield lake


def event(number: int, key: int, minute: int) -> dict[str, Any]:
    published = START + timedelta(minutes=minute)
    return {
        "message_id": f"m{number:03}",
        "idempotency_key": f"k{key}",
        "topic_name": "t",
        "period_reference": published.strftime("%Y-%m"),
        "publish_time": published,
        "ingestion_ts": START + timedelta(days=2, seconds=number),
        "json_payload": json.dumps({"value": number}),
    }


def from_day(day: int) -> BooleanExpression:
    return parse(f"publish_time >= '{(START + timedelta(minutes=day)).isoformat()}'")


@dataclass(frozen=True)
class Step:
    """A delivery of events (key, minute) by a writer, or a compaction of a layer."""

    writer: str = ""
    events: tuple[tuple[int, int], ...] = ()
    compacted: str = ""


STEPS = st.lists(
    st.one_of(
        st.builds(
            Step,
            st.sampled_from(WRITERS),
            st.lists(
                st.tuples(st.integers(0, 3), st.sampled_from([0, 60, 119, 121, 1500])), min_size=1, max_size=4
            ).map(tuple),
        ),
        st.builds(Step, compacted=st.sampled_from(["raw", "curated"])),
    ),
    min_size=1,
    max_size=7,
)


@settings(
    max_examples=cases(8),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(steps=STEPS, bound=st.sampled_from([1, 3]), day=st.sampled_from([None, 0, 100, 121, 5000]))
def test_any_history_read_in_portions_gives_what_one_read_gives(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], bound: int, day: int | None
) -> None:
    only = AlwaysTrue() if day is None else from_day(day)
    lake = Lake(tmp_path_factory.mktemp("lake"))
    number = 0
    for step in steps:
        if step.compacted:
            lake.compact(step.compacted)
            continue
        events = [event(number + i, key, minute) for i, (key, minute) in enumerate(step.events)]
        number += len(events)
        lake.deliver(step.writer, events)
        lake.curate()  # every delivery is merged, so that Curated holds corrections of many merges
    curated = lake.rows("curated")

    raw, merged = lake.table("raw"), lake.table("curated")
    portions: list[tuple[Table, Callable[[SourceCheckpoint | None, Bounds], Portion]]] = [
        (raw, lambda since, bounds: new_appends(raw, since, bounds)),
        (merged, lambda since, bounds: new_merges(merged, since.sequence if since else -1, bounds)),
    ]
    for table, next_portion in portions:
        at_once: list[Any] = [
            m for b in read(table, next_portion(None, ALL), ["message_id"]) for m in b[0].to_pylist()
        ]
        apart: list[Any] = []
        since: SourceCheckpoint | None = None
        while True:
            portion = next_portion(since, Bounds(bound, 10**12))
            apart += [m for b in read(table, portion, ["message_id"]) for m in b[0].to_pylist()]
            if not portion.backlog_rows:
                break
            assert portion.checkpoint != since
            since = portion.checkpoint
        assert sorted(apart) == sorted(at_once)

    lake.publish(bound, only)
    wanted = [row for row in curated if day is None or row["publish_time"] >= START + timedelta(minutes=day)]
    assert [row["message_id"] for row in lake.rows("semantic")] == [row["message_id"] for row in wanted]

    lake.catalog.drop_table("lake.curated_t")
    lake.create("curated")
    lake.curate(bound, only)
    again = [row["message_id"] for row in lake.rows("curated")]
    # A key whose newest event was published before the day is left out; all others are as they were.
    assert again == [row["message_id"] for row in wanted]
    lake.close()
    shutil.rmtree(lake.root)


ALL = Bounds(10**9, 10**12)


def test_a_portion_before_the_first_day_moves_the_checkpoint(lake: Lake) -> None:
    lake.deliver("plain", [event(0, 0, 0)])
    lake.deliver("plain", [event(1, 1, 1500)])
    assert lake.curate(1, from_day(100)) == 2
    assert [row["message_id"] for row in lake.rows("curated")] == ["m001"]


def test_a_source_of_which_no_row_is_wanted_is_read_to_its_end(lake: Lake) -> None:
    lake.deliver("plain", [event(0, 0, 0)])
    lake.curate(only=from_day(5000))
    assert lake.rows("curated") == []


def test_a_portion_whose_rows_were_all_corrected_later_moves_the_checkpoint_of_semantic(lake: Lake) -> None:
    for number in range(3):
        lake.deliver("plain", [event(number, 0, number), event(10 + number, 1 + number, number)])
        lake.curate()
    lake.compact("curated")
    for number in range(3):
        lake.deliver("plain", [event(20 + number, 1 + number, 50)])
        lake.curate()
    lake.publish(1)
    assert [row["message_id"] for row in lake.rows("semantic")] == ["m002", "m020", "m021", "m022"]


@pytest.mark.parametrize("other", WRITERS)
def test_raw_that_was_compacted_and_appended_to_is_read_from_the_start(lake: Lake, other: str) -> None:
    lake.deliver("pyiceberg", [event(0, 0, 0)])
    lake.deliver("pyiceberg", [event(1, 1, 0)])
    lake.compact("raw")
    lake.deliver(other, [event(2, 2, 0)])
    lake.curate()
    assert [row["message_id"] for row in lake.rows("curated")] == ["m000", "m001", "m002"]
    times = {row["publish_time"] for row in lake.rows("curated")}
    assert times == {START}


@pytest.mark.parametrize("writer", WRITERS)
def test_files_of_any_writer_are_compacted_into_what_they_held(lake: Lake, writer: str) -> None:
    lake.deliver(writer, [event(0, 0, 0)])
    lake.deliver("plain", [event(1, 1, 0)])
    before = lake.rows("raw")
    lake.compact("raw")
    assert lake.rows("raw") == before
    assert len(list(lake.table("raw").scan().plan_files())) == 1


def test_what_no_cast_makes_text_of_is_named_with_file_and_column(lake: Lake) -> None:
    raw = lake.table("raw")
    schema = schema_to_pyarrow(raw.schema())
    schema = schema.set(0, schema.field(0).with_type(pa.binary()))
    rows = pa.table([pa.array([b"\xff"])] + [pa.nulls(1, f.type) for f in list(schema)[1:]], schema=schema)
    append_file(raw, rows, 0)
    with pytest.raises(
        TableMismatch, match=r"column message_id: expected .* string .* found binary in .*parquet"
    ):
        lake.curate()
