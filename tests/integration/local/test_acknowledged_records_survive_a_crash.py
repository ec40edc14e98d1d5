"""What the journal promises: acknowledged records are delivered, and once where that can be known."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Never
from unittest.mock import Mock

import pytest
from botocore.exceptions import BotoCoreError
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.table import CommitTableResponse
from pyiceberg.types import LongType, NestedField

from lean_ops.local.delivery import DeliveryStream, Services, StreamDefinition
from lean_ops.local.journal import Journal
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget

SCHEMA = Schema(NestedField(1, "n", LongType(), required=False))
CONFIGURATION = {
    "RoleARN": "arn:aws:iam::000000000000:role/local",
    "CatalogConfiguration": {},
    "BufferingHints": {"SizeInMBs": 128, "IntervalInSeconds": 900},
    "DestinationTableConfigurationList": [{"DestinationDatabaseName": "lake", "DestinationTableName": "raw"}],
    "S3Configuration": {
        "RoleARN": "arn:aws:iam::000000000000:role/local",
        "BucketARN": "arn:aws:s3:::lake",
        "ErrorOutputPrefix": "errors/",
    },
}


def _records(*numbers: int) -> list[bytes]:
    return [json.dumps({"n": number}).encode() for number in numbers]


def _numbers(catalog: Catalog) -> list[int]:
    numbers: list[Any] = catalog.load_table("lake.raw").scan().to_arrow().column("n").to_pylist()
    return sorted(numbers)


def _write(folder: Path, *records: bytes) -> None:
    journal = Journal(folder)
    journal.append(records)
    journal.close()


class CommitAnswerLost(SqlCatalog):
    """Commits, and then the answer is lost as often as ``losses`` says."""

    losses = 0

    def commit_table(self, *args: Any, **kwargs: Any) -> CommitTableResponse:
        response = super().commit_table(*args, **kwargs)
        if self.losses:
            self.losses -= 1
            raise ConnectionError("answer lost")
        return response


@pytest.fixture
def catalog(tmp_path: Path) -> Any:
    catalog = CommitAnswerLost("t", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/w")
    catalog.create_namespace("lake")
    catalog.create_table("lake.raw", SCHEMA)
    yield catalog
    catalog.close()


def _open(folder: Path, catalog: Catalog, s3: Any = None) -> DeliveryStream:
    arn = "arn:aws:firehose:eu-west-1:000000000000:deliverystream/s"
    definition = StreamDefinition("s", arn, CONFIGURATION)
    return DeliveryStream(definition, folder, Services(catalog, s3 or Mock(), Mock()))


def test_a_stream_opened_again_delivers_what_was_acknowledged(tmp_path: Path, catalog: Catalog) -> None:
    before = _open(tmp_path / "s", catalog)
    before.accept(_records(1, 2))
    before.close()
    stream = _open(tmp_path / "s", catalog)
    stream.accept(_records(3))
    stream.flush()
    assert _numbers(catalog) == [1, 2, 3]
    assert list((tmp_path / "s/journal").iterdir()) == []


def test_a_crash_between_commit_and_clean_up_delivers_nothing_twice(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = _open(tmp_path / "s", catalog)
    stream.accept(_records(1, 2))

    def crash(*_: object) -> Never:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Journal, "discard", crash)
        stream.flush()
    assert _numbers(catalog) == [1, 2]

    _open(tmp_path / "s", catalog).flush()
    assert _numbers(catalog) == [1, 2]


def test_a_commit_whose_answer_is_lost_is_recognised(tmp_path: Path, catalog: CommitAnswerLost) -> None:
    stream = _open(tmp_path / "s", catalog)
    stream.accept(_records(1, 2))
    catalog.losses = 1
    with pytest.raises(ConnectionError):
        stream.flush()
    stream.accept(_records(3))
    stream.flush()
    assert _numbers(catalog) == [1, 2, 3]


def test_bad_records_are_written_again_under_the_same_key(tmp_path: Path, catalog: Catalog) -> None:
    s3 = Mock()
    s3.put_object.side_effect = [BotoCoreError(), None]
    stream = _open(tmp_path / "s", catalog, s3)
    stream.accept([*_records(1), b"bad"])
    with pytest.raises(BotoCoreError):
        stream.flush()
    stream.flush()
    keys = {call.kwargs["Key"] for call in s3.put_object.call_args_list}
    assert len(keys) == 1
    assert _numbers(catalog) == [1]


def test_a_frame_cut_off_by_the_crash_hides_nothing_before_it(tmp_path: Path) -> None:
    _write(tmp_path, b"one", b"two")
    segment = next(tmp_path.iterdir())
    whole = segment.read_bytes()
    for length in range(len(whole) + 1):
        segment.write_bytes(whole[:length])
        found = [record.data for record in Journal(tmp_path).recovered[0].records]
        assert found == [b"one", b"two"][: (length >= 19) + (length >= 38)]


def test_a_damaged_frame_ends_the_segment(tmp_path: Path) -> None:
    _write(tmp_path, b"one", b"two")
    segment = next(tmp_path.iterdir())
    segment.write_bytes(segment.read_bytes().replace(b"two", b"twX"))
    assert [record.data for record in Journal(tmp_path).recovered[0].records] == [b"one"]


def test_threads_that_append_together_all_find_their_records(tmp_path: Path) -> None:
    journal = Journal(tmp_path)

    def append(thread: int) -> None:
        for number in range(20):
            journal.append([f"{thread}-{number}".encode()])
            if number == 10:
                journal.close_segment()

    threads = [threading.Thread(target=append, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    found = [record.data for segment in Journal(tmp_path).recovered for record in segment.records]
    assert sorted(found) == sorted(f"{t}-{n}".encode() for t in range(4) for n in range(20))


def test_a_disk_that_takes_half_a_record_keeps_whole_ones_only(tmp_path: Path) -> None:
    script = f"""
import resource
from pathlib import Path
from lean_ops.local.journal import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
journal = Journal(Path({str(tmp_path)!r}))
journal.append([b"before"])
try:
    journal.append([b"x" * 100])
except OSError as error:
    print(error.strerror)
journal.append([b"after"])
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "File too large\n"
    assert [record.data for record in Journal(tmp_path).recovered[0].records] == [b"before", b"after"]


def test_a_disk_that_does_not_synchronise_acknowledges_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    journal.append([b"before"])

    def full(*_: object) -> Never:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr("lean_ops.local.journal.os.fsync", full)
        journal.append([b"lost"])
    journal.append([b"after"])
    journal.close()
    recovered = [record.data for record in Journal(tmp_path).recovered[0].records]
    assert [recovered[0], recovered[-1]] == [b"before", b"after"]


def test_records_acknowledged_before_kill_9_are_in_the_table_once(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "stack", tied_to_parent=True)
    record = stack.up()
    target = LocalTarget.running(stack.folder)
    target.client("s3").create_bucket(
        Bucket="lake", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    catalog = target.catalog()
    catalog.create_namespace("lake")
    catalog.create_table("lake.raw", SCHEMA, location="s3://lake/raw")
    hints: Any = CONFIGURATION | {"BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 0}}
    target.client("firehose").create_delivery_stream(
        DeliveryStreamName="s", IcebergDestinationConfiguration=hints
    )
    acknowledged: list[int] = []
    killer = threading.Timer(0.8, os.kill, (record.firehose.pid, signal.SIGKILL))
    killer.start()
    firehose = target.client("firehose")
    number = 0
    with pytest.raises(BotoCoreError):
        while True:
            batch = list(range(number, number + 20))
            firehose.put_record_batch(
                DeliveryStreamName="s", Records=[{"Data": data} for data in _records(*batch)]
            )
            acknowledged += batch
            number += 20
    killer.join()

    stack.up()
    stack.down()  # delivers everything
    stack.up()
    found = _numbers(LocalTarget.running(stack.folder).catalog())
    stack.down(wipe=True)
    assert acknowledged
    assert set(acknowledged) <= set(found)
    # The call in flight may have been taken over without an answer, and the SDK sends it a second time.
    assert len(found) == len(set(found))
