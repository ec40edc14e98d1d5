"""What a merge says it asked a store for is what a store that counts was asked, and no more than it takes."""

import gc
import pickle
import random
import threading
from collections import Counter as Counts
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException

from common.lake import gets
from common.lake.files import (
    HOLE_BYTES,
    PART_BYTES,
    Counter,
    LakeFileIO,
    RangedFile,
    Traffic,
    together,
    traffic_of,
)
from common.lake.gets import Gets
from common.lake.history import said_by
from common.lake.merge import MergeOutcome, committing, datafiles, layout, streams
from common.lake.merge.layout import ENDING
from common.lake.merge.streams import open_input, open_output
from common.lake.reading import read_rows
from common.lake.rule import EVENT_RULE
from common.lake.specifications import TableSpec
from common.runtime.retrying import RetryPolicy
from lean_ops.environment.repository import TABLE_SPECIFICATIONS

from ....support.lake import merge_rows
from ....support.object_store import ObjectStore, object_store
from .conftest import Lake

IDENTIFIER = "lake.curated_events"
LOCATION = "s3://bucket/curated_events"


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with object_store() as store:
        yield store


@pytest.fixture
def catalog(store: ObjectStore, tmp_path: Path) -> SqlCatalog:
    properties = {"py-io-impl": "common.lake.files.LakeFileIO", **store.properties}
    catalog = SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", **properties)
    catalog.create_namespace("lake")
    TableSpec.load(TABLE_SPECIFICATIONS, "curated").create(catalog, IDENTIFIER, LOCATION)
    return catalog


def merged(catalog: SqlCatalog, lake: Lake, events: list[dict[str, Any]]) -> MergeOutcome:
    return merge_rows(catalog, IDENTIFIER, lake.reader(events), run_id="r")


def said(catalog: SqlCatalog) -> dict[str, int]:
    summary = said_by(catalog.load_table(IDENTIFIER).current_snapshot())
    names = ("gets", "puts", "bytes-read", "bytes-written")
    return {name: int(summary[f"lean-ops.{name}"]) for name in names}


def files(lake: Lake, turn: int, count: int = 40) -> list[dict[str, Any]]:
    """Events of eight days."""
    return [lake.event(f"k{n}", f"m{turn}-{n}", publish=24 * (n % 8) + turn) for n in range(count)]


def test_a_merge_says_what_the_store_was_asked_for(
    catalog: SqlCatalog, lake: Lake, store: ObjectStore
) -> None:
    for turn in range(3):
        store.asked.clear()
        outcome = merged(catalog, lake, files(lake, turn))
        # The catalog reads and writes the table's metadata file, and looks in the bucket whether it is there.
        asked = [one for one in store.asked if not one[1].endswith((".metadata.json", "/bucket"))]
        found = said(catalog)
        store.asked[:] = asked
        assert outcome.committed
        assert found["gets"] == store.count("GET", "HEAD")
        assert found["puts"] == store.count("PUT", "POST")
        new = [path for method, path in asked if method == "PUT"]
        assert len(new) == len(set(new)) == found["puts"], "a file, a request"
        assert found["bytes-written"] == sum(len(store.objects[path]) for path in new)
        assert outcome.data_files + outcome.delete_files <= found["puts"]
        # Small files are read whole, and so is what lists them; nobody asks for a size.
        read = [path for method, path in asked if method == "GET"]
        assert len(read) == len(set(read))
        assert not store.count("HEAD")
    assert found["bytes-read"] > 0


def test_a_merge_says_what_its_lost_attempts_asked_for(
    catalog: SqlCatalog, lake: Lake, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged(catalog, lake, files(lake, 0))
    commit, lost = catalog.commit_table, [True, True]

    def first_lost(*arguments: Any) -> Any:
        if lost:
            lost.pop()
            raise CommitFailedException("another writer was first")
        return commit(*arguments)

    monkeypatch.setattr(catalog, "commit_table", first_lost)
    monkeypatch.setattr(committing, "RETRY", RetryPolicy(attempts=3, base_s=0, longest_s=0))
    store.asked.clear()
    outcome = merged(catalog, lake, files(lake, 1))
    found = said(catalog)
    store.asked[:] = [one for one in store.asked if not one[1].endswith((".metadata.json", "/bucket"))]
    assert outcome.attempts == len(["lost", "lost", "in"])
    assert found["gets"] == store.count("GET", "HEAD")
    assert found["puts"] == store.count("PUT", "POST")


def test_large_files_are_read_in_as_few_ranges_as_it_takes(
    catalog: SqlCatalog, lake: Lake, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged(catalog, lake, files(lake, 0))
    monkeypatch.setattr(streams, "WHOLE_FILE_BYTES", 0)  # as if all of them were large
    store.asked.clear()
    merged(catalog, lake, files(lake, 1))
    data = [path for method, path in store.asked if method == "GET" and "/data/" in path]
    of_each = {path: data.count(path) for path in data}
    assert set(of_each.values()) == {1}, "footer, key and time together"
    assert said(catalog)["gets"] >= len(data)


def test_a_search_reads_each_file_once_and_twice_where_ids_decide(
    catalog: SqlCatalog, lake: Lake, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file of which more than what decides is beyond the last bytes; the rows say the same."""
    monkeypatch.setattr(streams, "WHOLE_FILE_BYTES", 0)
    rows, chance = 3_200, random.Random(1)
    ids = [f"{chance.getrandbits(4_000):01000x}" for _ in range(rows)]  # 100 KB in each bucket's file
    first = [lake.event(f"k{n:06d}", ids[n]) for n in range(rows)]
    merged(catalog, lake, first)
    large = {path for path in store.objects if path.endswith(ENDING)}
    for expected, later in (
        (1, [lake.event(f"k{n:06d}", f"later {n}", publish=1) for n in range(0, rows, 50)]),
        (2, [lake.event(f"k{n:06d}", ids[n], ingestion=90) for n in range(1, rows, 50)]),
    ):
        store.asked.clear()
        outcome = merged(catalog, lake, later)
        of_each = Counts(path for method, path in store.asked if method == "GET" and path in large)
        assert set(of_each.values()) == {expected}
        assert outcome.updated == (len(later) if expected == 1 else 0)
    assert not store.count("HEAD")


@pytest.mark.parametrize("otherwise", ["as written", "too little said", "in the schema's order"])
def test_files_laid_out_otherwise_are_read_alike(
    catalog: SqlCatalog, lake: Lake, monkeypatch: pytest.MonkeyPatch, otherwise: str
) -> None:
    """Files of the release before, of other engines, and those whose sizes say too little."""
    monkeypatch.setattr(streams, "WHOLE_FILE_BYTES", 0)
    if otherwise == "too little said":
        monkeypatch.setattr(layout, "_FOOTER_BYTES", 8)
    if otherwise == "in the schema's order":
        monkeypatch.setattr(datafiles, "in_file", list)
        monkeypatch.setattr(datafiles, "ENDING", "parquet")
    for turn in range(3):
        merged(catalog, lake, files(lake, turn))
    found = read_rows(catalog.load_table(IDENTIFIER)).read_all()
    assert sorted(zip(*(found[name].to_pylist() for name in EVENT_RULE.columns), strict=True)) == sorted(
        tuple(event[name] for name in EVENT_RULE.columns) for event in files(lake, 2)
    )


@pytest.mark.parametrize(
    ("size", "requests"), [(0, 1), (1, 1), (PART_BYTES - 1, 1), (PART_BYTES, 3), (2 * PART_BYTES + 5, 5)]
)
def test_what_writing_takes_is_counted(
    catalog: SqlCatalog, store: ObjectStore, size: int, requests: int
) -> None:
    table = catalog.load_table(IDENTIFIER)
    store.asked.clear()
    with open_output(table.io, f"{LOCATION}/file") as stream:
        for first in range(0, size, 2**20):
            stream.write(b"x" * min(2**20, size - first))
    assert len(store.objects["/bucket/curated_events/file"]) == size
    assert traffic_of(table.io).puts == store.count("PUT", "POST") == requests
    assert traffic_of(table.io).bytes_written == size


def test_parquet_reads_alike_in_ranges(catalog: SqlCatalog) -> None:
    table = catalog.load_table(IDENTIFIER)
    chance = np.random.default_rng(1)
    rows = pa.table({f"c{n}": [chance.bytes(20).hex() for _ in range(20_000)] for n in range(3)})
    with open_output(table.io, f"{LOCATION}/f.parquet") as stream:
        pq.write_table(rows, stream, use_dictionary=False, row_group_size=7_000)
    file: Any = table.io.new_input(f"{LOCATION}/f.parquet")
    with file.ranged() as ranged:
        assert isinstance(ranged, RangedFile)
        assert pq.ParquetFile(cast("Any", ranged), pre_buffer=False).read(use_threads=False).equals(rows)
        assert ranged.seek(-4, 2) == ranged.size() - 4
        assert ranged.read() == b"PAR1"
        assert ranged.read(5) == b""
    before = traffic_of(table.io)
    with file.ranged() as ranged, ranged.fetched([(0, 4)]):
        assert ranged.read(4) == b"PAR1"
    assert (traffic_of(table.io) - before).gets == 2, "its size, which nobody told, and the range"


def test_the_first_read_of_all_tells_the_size(catalog: SqlCatalog, store: ObjectStore) -> None:
    io = catalog.load_table(IDENTIFIER).io
    with open_output(io, f"{LOCATION}/file") as stream:
        stream.write(b"0123456789")
    store.asked.clear()
    file: Any = io.new_input(f"{LOCATION}/file")
    with file.ranged() as whole:
        assert (whole.read(), whole.read(), whole.size(), whole.tell()) == (b"0123456789", b"", 10, 10)
    with open_input(io, f"{LOCATION}/file", 10) as known:
        assert known.read() == b"0123456789"
    assert [method for method, _ in store.asked] == ["GET", "GET"]


@pytest.mark.parametrize("status", [500, 503, 404, 403, 301])
def test_what_is_not_answered_is_asked_of_arrow(catalog: SqlCatalog, store: ObjectStore, status: int) -> None:
    io = catalog.load_table(IDENTIFIER).io
    with open_output(io, f"{LOCATION}/file") as stream:
        stream.write(b"0123456789")
    before = traffic_of(io)
    for size in (None, 10):
        store.asked.clear()
        store.refused.append(status)
        file: Any = io.new_input(f"{LOCATION}/file")
        with file.ranged(size) as stream:
            assert stream.read() == b"0123456789"
        assert [method for method, _ in store.asked] == ["GET", "HEAD", "GET"]
    assert traffic_of(io) - before == Traffic(gets=6, bytes_read=20)


@pytest.mark.parametrize("size", [None, 10])
def test_a_file_that_is_gone_is_said_as_by_arrow(catalog: SqlCatalog, size: int | None) -> None:
    file: Any = catalog.load_table(IDENTIFIER).io.new_input(f"{LOCATION}/gone")
    with file.ranged(size) as stream, pytest.raises(FileNotFoundError):
        stream.read()


def test_an_object_shorter_than_its_manifest_says_is_not_taken_for_whole(
    catalog: SqlCatalog, store: ObjectStore
) -> None:
    io = catalog.load_table(IDENTIFIER).io
    store.objects["/bucket/curated_events/file"] = b"012345"
    file: Any = io.new_input(f"{LOCATION}/file")
    with file.ranged(10) as stream:
        assert stream.read() == b"012345"
    assert [method for method, _ in store.asked[-3:]] == ["GET", "HEAD", "GET"]
    assert traffic_of(io).bytes_read == len(b"012345")


@pytest.mark.parametrize(
    ("location", "properties", "address"),
    [
        ("s3://b/a=1/f.parquet", {}, "https://b.s3.eu-west-1.amazonaws.com/a%3D1/f.parquet"),
        ("s3://b/k", {"s3.endpoint": "http://h:1/"}, "http://h:1/b/k"),
        ("s3://b/k", {"s3.endpoint": "http://h:1", "s3.force-virtual-addressing": "true"}, None),
        ("s3://b.c/k", {}, None),
        ("s3://b/k", {"s3.region": "cn-north-1"}, None),
        ("s3://b/k", {"s3.region": ""}, None),
        ("s3://b/k", {"s3.role-arn": "r"}, None),
        ("gs://b/k", {}, None),
    ],
)
def test_what_is_not_plain_is_left_to_arrow(
    location: str, properties: dict[str, str], address: str | None
) -> None:
    keys = {"s3.access-key-id": "test", "s3.secret-access-key": "test"}  # no secret: nobody asks for it
    plain = Gets({"s3.region": "eu-west-1", **keys, **properties})
    assert plain.address(location) == address


def test_keys_and_region_of_all_clients_are_those_of_s3_where_it_has_none_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gets, "credentials", lambda: pytest.fail("the environment was asked"))
    of_all = {f"client.{name}": "test" for name in ("region", "access-key-id", "secret-access-key")}
    assert Gets(of_all).address("s3://b/k") == "https://b.s3.test.amazonaws.com/k"
    assert (
        Gets({**of_all, "s3.region": "eu-west-1"}).address("s3://b/k")
        == "https://b.s3.eu-west-1.amazonaws.com/k"
    )


def test_an_environment_without_credentials_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []
    monkeypatch.setattr(gets, "credentials", lambda: asked.append(None))
    files = Gets({"s3.region": "eu-west-1"})
    assert [files.address("s3://b/one"), files.address("s3://b/two")] == [None, None]
    assert len(asked) == 1


def test_no_thread_of_arrow_runs_python(
    catalog: SqlCatalog, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it collected garbage, it would wait for threads that wait for it."""
    readers: list[threading.Thread] = []
    read = RangedFile.read_buffer

    def noting(file: RangedFile, nbytes: int | None = None) -> pa.Buffer:
        readers.append(threading.current_thread())
        return read(file, nbytes)

    monkeypatch.setattr(RangedFile, "read_buffer", noting)
    monkeypatch.setattr(streams, "WHOLE_FILE_BYTES", 0)  # as if all files were large
    for turn in range(2):
        merged(catalog, lake, files(lake, turn))
    table = catalog.load_table(IDENTIFIER)
    count = 40
    assert read_rows(table).read_all().num_rows == table.scan().to_arrow().num_rows == count
    assert readers, "nothing was read, so nothing was tried"
    foreign = [thread for thread in readers if isinstance(thread, threading._DummyThread)]
    assert not foreign, "threads that Python has not started"


def test_counting_waits_for_no_thread() -> None:
    """Garbage that is collected while one counts may wait for a thread that counts: both go on."""
    counter = Counter()
    waited: list[threading.Thread] = []

    def collected(phase: str, _info: dict[str, int]) -> None:
        if phase == "start" and not waited:
            other = threading.Thread(target=counter.add, args=(Traffic(gets=1),))
            other.start()
            other.join(30)
            waited.append(other)

    thresholds = gc.get_threshold()
    gc.callbacks.append(collected)
    try:
        gc.set_threshold(1)
        for _ in range(10):
            counter.add(Traffic(puts=1))
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(collected)
    assert [thread.is_alive() for thread in waited] == [False]
    assert counter.total == Traffic(gets=1, puts=10)


def test_neighbours_are_read_together() -> None:
    assert together([]) == []
    near, far = 20 + HOLE_BYTES, 21 + HOLE_BYTES
    assert together([(near, near + 5), (10, 20)]) == [(10, near + 5)]
    assert together([(far, far + 5), (10, 20)]) == [(10, 20), (far, far + 5)]
    assert together([(10, 50), (20, 30)]) == [(10, 50)]


def test_what_is_sent_to_another_process_counts_there_from_nothing(catalog: SqlCatalog) -> None:
    table = catalog.load_table(IDENTIFIER)
    with open_output(table.io, f"{LOCATION}/file") as stream:
        stream.write(b"x")
    assert traffic_of(table.io).puts == 1
    sent = pickle.loads(pickle.dumps(table.io))  # noqa: S301 - its own
    assert isinstance(sent, LakeFileIO)
    assert traffic_of(sent).puts == 0
    with open_output(sent, f"{LOCATION}/other") as stream:
        stream.write(b"x")
    assert (traffic_of(sent).puts, traffic_of(table.io).puts) == (1, 1)
