"""A row that nobody foresaw is set aside as a dead letter, and its neighbours reach Curated."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.intake.events import EventParser
from common.lake.checkpoints import Entry, SourceCheckpoint, reconcile
from common.lake.history import committed, lineage, since_last_merge
from common.lake.merge.datafiles import DataFileWriter
from common.lake.setting_aside import SetAside, stream
from common.layers.curated import Curated
from common.layers.uncurable import ERROR_CODE, curable, send_letters
from common.payload.flattening import Flattener
from common.runtime.errors import InternalFault, ServiceFailure

from ...support.generated import cases
from ...support.lake import LocalLake

START = datetime(2026, 5, 1, tzinfo=UTC)
POISON = '{"a": "poison", "n": 1.10, "é": [1, 2]}'


class Queue:
    """A dead-letter queue that takes every letter, or none."""

    def __init__(self, *, open_: bool = True) -> None:
        self.open = open_
        self.letters: list[dict[str, Any]] = []

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.open:
            return {"Failed": [{"Id": entry["Id"]} for entry in Entries]}
        self.letters += Entries
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}


class Lake(LocalLake):
    """RAW and Curated, and a queue for what cannot be curated."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, ["raw", "curated"])
        self.queue = Queue()

    def deliver(self, payloads: dict[str | None, str | None], minute: int = 0) -> None:
        at = START + timedelta(minutes=minute)
        self.append([row(f"m-{key}", key, at, at, payload) for key, payload in payloads.items()])

    def deliver_tied(self, message_id: str, ingested: int, payload: str, key: str = "k") -> None:
        """One event, published when all others are, and received so many seconds later."""
        self.append([row(message_id, key, START, START + timedelta(seconds=ingested), payload)])

    def run(self, since: SourceCheckpoint | None = None) -> Curated:
        def set_aside(rows: Sequence[SetAside]) -> None:
            send_letters(self.queue, "url", rows)  # type: ignore[arg-type]  # a stand-in for the client

        return self.run_curation(since, set_aside=set_aside)

    def keys(self) -> set[str]:
        return {row["idempotency_key"] for row in self.rows("curated")}


def row(
    message_id: str, key: str | None, published: datetime, ingested: datetime, payload: str | None
) -> dict[str, Any]:
    return {
        "message_id": message_id, "idempotency_key": key, "topic_name": "t", "period_reference": "2026-05",
        "correlation_id": None, "publish_time": published, "ingestion_ts": ingested, "json_payload": payload,
    }  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with closing(Lake(tmp_path)) as lake:
        yield lake


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flattening fails on payloads that hold the word poison, with an error that quotes them."""
    honest = Flattener.flatten

    def fail(flattener: Flattener, payloads: Any) -> Any:
        for text in payloads.to_pylist():
            if text is not None and "poison" in text:
                raise IndexError(text)
        return honest(flattener, payloads)

    monkeypatch.setattr(Flattener, "flatten", fail)


@pytest.mark.usefixtures("poisoned")
def test_the_row_is_a_letter_with_its_reason_and_its_neighbours_are_curated(lake: Lake) -> None:
    lake.deliver({"a": '{"a": 1}', "b": POISON, "c": '{"a": 3}', "d": None})
    done = lake.run()
    assert lake.keys() == {"a", "c", "d"}
    assert (done.set_aside, done.as_json()["set_aside"]) == (1, 1)
    (letter,) = lake.queue.letters
    attributes = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
    assert attributes["error_code"] == ERROR_CODE
    assert attributes["first_seen"] == START.isoformat()
    assert "found IndexError at" in attributes["error_detail"]
    assert "poison" not in attributes["error_detail"]
    assert done.checkpoint is not None
    assert lake.run(done.checkpoint).set_aside == 0


@pytest.mark.usefixtures("poisoned")
def test_a_row_that_was_set_aside_holds_up_no_tie_later(lake: Lake) -> None:
    """A copy that came earlier hands a tie on: the merge asks RAW again, where the bad row still is."""
    deliver = lake.deliver_tied
    deliver("first", 10, '{"a": 1}')
    deliver("second", 7, '{"a": 2}')
    deliver("bad", 8, POISON)
    done = lake.run()
    assert done.set_aside == 1
    deliver("first", 5, '{"a": 1}')
    assert lake.run(done.checkpoint).set_aside == 0
    (row,) = lake.table("curated").scan().to_arrow().to_pylist()
    assert (row["message_id"], row["a"]) == ("second", "2")
    assert len(lake.queue.letters) == 1


@pytest.mark.usefixtures("poisoned")
def test_the_letter_is_the_event_that_it_was(lake: Lake) -> None:
    lake.deliver({"b": POISON})
    assert lake.run().set_aside == 1
    (letter,) = lake.queue.letters
    body = letter["MessageBody"]
    assert body.endswith(f'"payload": {POISON}}}')
    event = json.loads(body)
    assert (event["message_id"], event["idempotency_key"]) == ("m-b", "b")
    assert datetime.fromisoformat(event["publish_time"]) == START
    # The front door takes it again, and so a replay brings it into RAW as a copy.
    EventParser(frozenset({"t"})).parse(body, int(START.timestamp()) * 1_000_000)


@pytest.mark.usefixtures("poisoned")
def test_nothing_is_committed_while_the_queue_does_not_take_the_letter(lake: Lake) -> None:
    lake.queue.open = False
    lake.deliver({"a": '{"a": 1}', "b": POISON})
    with pytest.raises(ServiceFailure, match="1 refused; nothing was committed"):
        lake.run()
    assert lake.keys() == set()
    lake.queue.open = True
    assert lake.run().set_aside == 1
    assert lake.keys() == {"a"}


@pytest.mark.parametrize("key", [None, "", "k" * 257])
def test_a_row_without_a_usable_key_holds_up_no_others(lake: Lake, key: str | None) -> None:
    lake.deliver({"a": "{}", key: '{"secret": 1}', "c": "{}"})
    assert lake.run().set_aside == 1
    assert lake.keys() == {"a", "c"}
    (letter,) = lake.queue.letters
    assert (
        "expected a key of 1 to 256 characters" in letter["MessageAttributes"]["error_detail"]["StringValue"]
    )


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("publish_time", 253_402_300_800_000_000),
        ("publish_time", -(2**62)),
        ("ingestion_ts", 2**62),
        ("period_reference", "p" * 65),
    ],
)
def test_an_envelope_that_no_table_holds_is_a_letter(lake: Lake, column: str, value: Any) -> None:
    schema = lake.table("raw").schema().as_arrow()
    good = {"idempotency_key": "k", "publish_time": 0, "ingestion_ts": 0, "json_payload": "{}"}
    rows = [good, good | {column: value}]
    columns = [
        pa.array(
            [row.get(f.name) for row in rows], pa.int64() if pa.types.is_timestamp(f.type) else pa.string()
        ).cast(f.type)
        for f in schema
    ]
    aside: list[SetAside] = []
    batches = pa.table(columns, schema=schema).to_batches()
    assert [batch.num_rows for batch in curable(batches, iter, aside)] == [1]
    send_letters(lake.queue, "url", aside)  # type: ignore[arg-type]  # a stand-in for the client
    (letter,) = lake.queue.letters
    detail = letter["MessageAttributes"]["error_detail"]["StringValue"]
    assert column in detail
    assert str(value) not in detail
    assert json.loads(letter["MessageBody"])["idempotency_key"] == "k"


def test_an_event_that_no_message_can_hold_is_a_letter_without_its_payload(lake: Lake) -> None:
    lake.deliver({"": json.dumps({"a": "x" * 1_050_000})})
    assert lake.run().set_aside == 1
    (letter,) = lake.queue.letters
    assert "payload" not in json.loads(letter["MessageBody"])


@settings(max_examples=cases(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.integers(0, 6), max_size=12),
    st.integers(1, 9),
    st.sets(st.integers(0, 60), max_size=8),
)
def test_a_stream_gives_every_row_in_order_but_those_that_fail(
    sizes: list[int], step: int, poison: set[int]
) -> None:
    """However batches are cut and put together: ``step`` rows are read ahead and given back as one."""

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        waiting: list[Any] = []
        for batch in batches:
            waiting += batch["n"].to_pylist()
            while len(waiting) >= step:
                yield made(waiting[:step])
                del waiting[:step]
        if waiting:
            yield made(waiting)

    def made(numbers: list[int]) -> pa.RecordBatch:
        if poison & set(numbers):
            raise KeyError
        return pa.record_batch({"n": pa.array(numbers, pa.int64())})

    edges = [sum(sizes[:index]) for index in range(len(sizes) + 1)]
    batches = [
        pa.record_batch({"n": pa.array(range(first, last), pa.int64())}) for first, last in pairwise(edges)
    ]
    aside: list[SetAside] = []
    found = [n for batch in stream(batches, work, aside.append, "testing") for n in batch["n"].to_pylist()]
    assert found == [n for n in range(edges[-1]) if n not in poison]
    assert [row.row["n"][0].as_py() for row in aside] == [n for n in range(edges[-1]) if n in poison]


@pytest.fixture
def unmergeable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing fails on rows that hold the word poison, with an error that quotes them."""
    honest = DataFileWriter.write_partition

    def fail(writer: DataFileWriter, partition: Any, rows: pa.Table, new_path: Any) -> Any:
        for text in rows["a"].to_pylist() if "a" in rows.column_names else ():
            if text is not None and "poison" in text:
                raise IndexError(text)
        return honest(writer, partition, rows, new_path)

    monkeypatch.setattr(DataFileWriter, "write_partition", fail)


@pytest.mark.usefixtures("unmergeable")
@settings(
    max_examples=cases(8),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.lists(st.sampled_from("gggp"), min_size=1, max_size=12), min_size=1, max_size=3))
def test_a_row_that_makes_the_merge_fail_is_a_letter_and_all_others_are_merged(
    deliveries: list[list[str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        good, bad = set(), set()
        for number, kinds in enumerate(deliveries):
            names = {f"{number}-{place}": kind for place, kind in enumerate(kinds)}
            lake.deliver({key: POISON if kind == "p" else '{"a": 1}' for key, kind in names.items()}, number)
            good |= {key for key, kind in names.items() if kind == "g"}
            bad |= {key for key, kind in names.items() if kind == "p"}
        done = lake.run()
        assert (lake.keys(), done.set_aside) == (good, len(bad))
        assert done.as_json()["records_written"] == len(good)
        assert {json.loads(letter["MessageBody"])["idempotency_key"] for letter in lake.queue.letters} == bad
        for letter in lake.queue.letters:
            detail = letter["MessageAttributes"]["error_detail"]["StringValue"]
            assert "found IndexError at" in detail
            assert "poison" not in detail
        # Read to the end, which the record of the run says and no commit: it counts at the next look-up.
        assert done.checkpoint is not None
        table = lake.table("curated")
        recorded = Entry(done.checkpoint.token, done.checkpoint.position, done.snapshot_id)
        assert reconcile(committed(table), recorded, since_last_merge(lineage(table))) == recorded
        assert lake.run(done.checkpoint).rows_read == 0
        lake.close()


@pytest.mark.usefixtures("unmergeable")
def test_a_copy_that_hands_a_tie_on_to_an_event_that_no_merge_takes_is_the_letter(lake: Lake) -> None:
    """The merge asks RAW who has the tie now, and gets the bad event; the run goes on, its row stays."""
    lake.deliver_tied("first", 10, '{"a": 1}')
    lake.deliver_tied("bad", 8, POISON)
    lake.deliver_tied("other", 9, '{"a": 3}', key="other")
    done = lake.run()
    assert done.set_aside == 0  # "first" was received later and has the tie, so nobody writes the bad one
    lake.deliver_tied("first", 5, '{"a": 1}')  # it was received earlier after all
    lake.deliver_tied("later", 11, '{"a": 4}', key="later")
    again = lake.run(done.checkpoint)
    assert again.set_aside == 1
    assert lake.keys() == {"k", "other", "later"}
    (letter,) = lake.queue.letters
    assert json.loads(letter["MessageBody"])["message_id"] == "first"
    assert lake.run(again.checkpoint).rows_read == 0


@pytest.mark.usefixtures("unmergeable")
def test_a_merge_that_fails_on_every_row_moves_nothing_aside(lake: Lake) -> None:
    lake.deliver({f"k{number}": POISON for number in range(101)})
    with pytest.raises(InternalFault):
        lake.run()
    assert not lake.queue.letters


@pytest.mark.parametrize(
    "column", ["message_id", "idempotency_key", "topic_name", "period_reference", "correlation_id"]
)
def test_an_envelope_that_is_no_text_holds_up_no_others(lake: Lake, column: str) -> None:
    """Bytes that are not UTF-8, as another writer may leave them: a file's reader does not look."""
    raw = lake.table("raw")
    lake.deliver({"a": '{"a": 1}', "c": '{"a": 3}'})
    (path, *_) = (task.file.file_path.removeprefix("file://") for task in raw.refresh().scan().plan_files())
    rows = pq.read_table(path)
    broken = pa.array([b"x", b"\xff\xfe"], pa.binary())
    as_text = pa.Array.from_buffers(pa.string(), 2, broken.buffers())
    place = rows.column_names.index(column)
    field = rows.schema.field(place)
    pq.write_table(rows.set_column(place, field, as_text.cast(field.type, safe=False)), path)
    done = lake.run()
    assert done.set_aside == 1
    (letter,) = lake.queue.letters
    detail = letter["MessageAttributes"]["error_detail"]["StringValue"]
    assert f"expected {column} as UTF-8" in detail
    assert lake.run(done.checkpoint).rows_read == 0
    assert lake.table("curated").scan().to_arrow().num_rows == 1


def test_a_stream_that_breaks_is_no_rows_fault() -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"n": pa.array([1])})
        raise ValueError

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from list(batches)

    with pytest.raises(InternalFault):
        list(stream(broken(), work, lambda _row: None, "testing"))
