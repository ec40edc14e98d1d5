"""Whatever byte of a manifest or manifest list is cut or changed: one error or every record, never some."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.avro.file import AvroFile
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
    read_manifest_list,
    write_manifest_list,
)
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import BooleanType, LongType, NestedField, StringType

from common.lake import avro
from common.lake.avro import Content, FileDamaged, Malformed, WholeFile

from ...support.generated import TIMES, cases

SCHEMA: Final = Schema(
    NestedField(1, "text", StringType()),
    NestedField(2, "number", LongType()),
    NestedField(3, "flag", BooleanType()),
)
SPEC: Final = PartitionSpec(
    PartitionField(1, 1000, IdentityTransform(), "text"), PartitionField(3, 1001, IdentityTransform(), "flag")
)
ENTRIES: Final = 3
CODECS: Final = ["deflate", "zstandard", "bzip2", "null"]
KINDS: Final = ["manifest", "manifest list"]
# A header is text without a checksum, thousands of bytes: some of them in a usual run, each in a long one.
EVERY: Final = max(1, 12 // TIMES)


class File:
    """A file in memory, as pyiceberg opens one."""

    def __init__(self, content: bytes) -> None:
        self.location: Final = "s3://lake/file.avro"
        self._content: Final = content

    def open(self, *, seekable: bool = True) -> io.BytesIO:
        return io.BytesIO(self._content)


def entry(number: int) -> ManifestEntry:
    """The bounds of its columns are short, long and empty; a number takes one byte and many."""
    bounds = {1: b"x" * (number * 70), 2: struct.pack("<q", number), 300: b""}
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.ADDED,
        snapshot_id=2**62,
        sequence_number=None,
        file_sequence_number=None,
        data_file=DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=f"s3://lake/data/{number}.parquet",
            file_format=FileFormat.PARQUET,
            partition=Record("text", number % 2 == 0),
            record_count=number + 1,
            file_size_in_bytes=10**number,
            column_sizes={1: 10**number, 2: 0},
            value_counts={1: 1, 2: 1},
            null_value_counts={},
            nan_value_counts={},
            lower_bounds=bounds,
            upper_bounds=bounds,
            split_offsets=[4, 10**9],
            equality_ids=None,
            sort_order_id=0,
        ),
    )


class Written:
    """A manifest and the list that names it, written by pyiceberg in one codec."""

    def __init__(self, root: Path, codec: Any) -> None:
        files = PyArrowFileIO()
        path = str(root / "manifest.avro")
        with ManifestWriterV2(SPEC, SCHEMA, files.new_output(path), 2**62, codec) as writer:
            for number in range(ENTRIES):
                writer.add_entry(entry(number))
        self.manifest: Final = writer.to_manifest_file()
        listed = str(root / "list.avro")
        with write_manifest_list(2, files.new_output(listed), 2**62, None, 1, codec) as writing:
            writing.add_manifests([self.manifest])
        self.content: Final = {
            "manifest": Path(path).read_bytes(),
            "manifest list": Path(listed).read_bytes(),
        }
        self.named: Final = self.listed(self.content["manifest list"])[0]
        self.whole: Final = {kind: self.read(kind, content) for kind, content in self.content.items()}

    def listed(self, content: bytes) -> list[ManifestFile]:
        file: Any = File(content)
        return list(read_manifest_list(file))

    def read(self, kind: str, content: bytes) -> list[str]:
        """What ``content`` says, as texts that can be compared."""
        if kind == "manifest list":
            return [text(one) for one in self.listed(content)]

        class Files(PyArrowFileIO):
            def new_input(self, location: str) -> Any:
                return File(content)

        return [text(one) for one in self.named.fetch_manifest_entry(Files())]

    def outcome(self, kind: str, content: bytes) -> list[str] | None:
        """What ``content`` says; None where it is named as damaged."""
        try:
            return self.read(kind, content)
        except FileDamaged as error:
            assert "expected to read " in str(error)
            assert "docs/runbook.md" in str(error)
            assert "\n" not in str(error)
            assert "xxxx" not in str(error), "a bound is a value of somebody's"
            return None


def text(record: Any) -> str:
    """The record, with what its maps hold (they are read late)."""
    if isinstance(record, ManifestEntry):
        file = record.data_file
        maps: list[Any] = [file.column_sizes, file.value_counts, file.lower_bounds, file.upper_bounds]
        shown = [file.file_path, file.record_count, file.file_size_in_bytes, repr(file.partition)]
        return repr((record.status, record.sequence_number, shown, [dict(m or {}) for m in maps]))
    return repr([record[place] for place in range(13)])


def header_of(content: bytes) -> int:
    """Its length: it ends with the marker that the file ends with."""
    return content.index(content[-16:]) + 16


@pytest.fixture(scope="module", autouse=True)
def _read_whole() -> None:
    avro.read_whole_files_only()


@pytest.fixture(scope="module", params=CODECS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(tmp_path_factory.mktemp("avro"), request.param)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_whole_says_what_pyiceberg_reads(written: Written, kind: str) -> None:
    assert len(written.whole[kind]) == (ENTRIES if kind == "manifest" else 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyiceberg.manifest.AvroFile", AvroFile)
        assert written.read(kind, written.content[kind]) == written.whole[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_is_damaged(written: Written, kind: str) -> None:
    content = written.content[kind]
    first = header_of(content)
    lengths = [*range(0, first, EVERY), *range(first, len(content))]
    whole = [length for length in lengths if written.outcome(kind, content[:length]) is not None]
    # Without a block the list is one of no manifest: that takes the snapshot to tell.
    assert whole == ([first] if kind == "manifest list" else [])


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_that_change_are_seen_or_values_of_every_record(written: Written, kind: str) -> None:
    content = written.content[kind]
    first = header_of(content)
    for place in [*range(0, first, EVERY), *range(first, len(content))]:
        for change in (0x01, 0x80, 0xFF):
            flipped = content[:place] + bytes([content[place] ^ change]) + content[place + 1 :]
            found = written.outcome(kind, flipped)
            assert found is None or len(found) == len(written.whole[kind]), (place, change)


@pytest.mark.parametrize("kind", KINDS)
def test_no_change_behind_the_header_of_a_file_as_the_pipeline_writes_it_gives_another_value(
    tmp_path: Path, kind: str
) -> None:
    written = Written(tmp_path, "deflate")
    content = written.content[kind]
    unseen = []
    for place in range(header_of(content), len(content)):
        for bit in range(8):
            flipped = content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
            if written.outcome(kind, flipped) not in (None, written.whole[kind]):
                unseen.append((place, bit))
                _, (block,) = blocks(flipped)
                _records, begin = varint(block, 0)
                _length, begin = varint(block, begin)
                stream = zlib.decompressobj(-zlib.MAX_WBITS)
                stream.decompress(block[begin:-16])
                # The content has run into the checksum and ends with it: nothing is left to hold it against.
                assert (stream.eof, stream.unused_data) == (True, b""), (place, bit)
    assert len(unseen) <= 1, unseen


def varint(content: bytes, at: int) -> tuple[int, int]:
    """A number as Avro writes it, and where it ends."""
    shift = value = 0
    while True:
        value |= (content[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if content[at - 1] < 0x80:
            return (value >> 1) ^ -(value & 1), at


def blocks(content: bytes) -> tuple[bytes, list[bytes]]:
    """The header, and the blocks with their markers."""
    marker = content[-16:]
    first = header_of(content)
    return content[:first], [part + marker for part in content[first:].split(marker)[:-1]]


def test_blocks_that_are_gone_doubled_or_follow_what_is_no_block_are_seen(written: Written) -> None:
    header, parts = blocks(written.content["manifest"])
    assert len(parts) == ENTRIES
    for damaged in (
        [*parts, parts[0]], parts[1:], parts[:-1], [], [*parts, b"\0"], [b"\0", *parts], [*parts, bytes(18)],
        [parts[0][:-16], *parts[1:]], [*parts, parts[0][:-1]],
    ):  # fmt: skip
        assert written.outcome("manifest", header + b"".join(damaged)) is None
    swapped = written.outcome("manifest", header + b"".join(reversed(parts)))
    assert swapped == written.whole["manifest"][::-1]


def number(value: int) -> bytes:
    """A number as Avro writes it (zigzag, seven bits a byte)."""
    rest = (value << 1) ^ (value >> 63)
    digits = bytearray()
    while rest > 0x7F:
        digits.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*digits, rest])


@pytest.mark.parametrize("lying", [-1, 2**31, 2**40, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("place", ["records", "bytes", "first value"])
def test_a_number_that_lies_about_what_follows_is_seen(tmp_path: Path, lying: int, place: str) -> None:
    written = Written(tmp_path, "null")
    header, parts = blocks(written.content["manifest"])
    body = parts[0][3:-16]
    assert parts[0][:3] == number(1) + number(len(body))
    if place == "first value":
        body = number(lying) + body[1:]
    records, length = (lying if place == "records" else 1), (lying if place == "bytes" else len(body))
    block = number(records) + number(length) + body + parts[0][-16:]
    assert written.outcome("manifest", header + block + b"".join(parts[1:])) is None


def test_a_block_that_unpacks_to_more_than_any_manifest_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(avro, "_MOST_BYTES", 2**16)
    written = Written(tmp_path, "deflate")
    header, parts = blocks(written.content["manifest"])
    packed = zlib.compress(bytes(2**17))[2:-4]
    block = number(1) + number(len(packed)) + packed + parts[0][-16:]
    assert written.outcome("manifest", header + block + b"".join(parts[1:])) is None


class Plain:
    """What Avro says of numbers and bytes, byte by byte; IndexError where the content has no more."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def number(self) -> int:
        read = shift = 0
        while True:
            byte = self.content[self.at]
            self.at += 1
            read |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (read >> 1) ^ -(read & 1)

    def take(self, length: int) -> bytes:
        if not 0 <= length <= len(self.content) - self.at:
            raise IndexError
        self.at += length
        return self.content[self.at - length : self.at]

    def bytes_of_length(self) -> bytes:
        return self.take(self.number())

    def numbers(self, count: int) -> list[int]:
        if not 0 <= count <= len(self.content) - self.at:
            raise IndexError
        return [self.number() for _ in range(count)]

    def pairs(self, count: int) -> dict[int, bytes]:
        if not 0 <= count <= len(self.content) - self.at:
            raise IndexError
        return {self.number(): self.bytes_of_length() for _ in range(count)}


def pairs(content: Content, count: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    content.read_int_bytes_dict(count, found)
    return found


def nothing(_skipped: object) -> None:
    """What skipping gives."""


READS: Final[dict[str, tuple[Callable[[Content, int], Any], Callable[[Plain, int], Any]]]] = {
    "number": (lambda c, _: c.read_int(), lambda p, _: p.number()),
    "skip number": (lambda c, _: c.skip_int(), lambda p, _: nothing(p.number())),
    "numbers": (
        lambda c, n: [one - (one >> 63 << 64) for one in c.read_ints(n)],  # they come without a sign
        lambda p, n: p.numbers(n),
    ),
    "bytes": (lambda c, _: c.read_bytes(), lambda p, _: p.bytes_of_length()),
    "skip bytes": (lambda c, _: c.skip_bytes(), lambda p, _: nothing(p.bytes_of_length())),
    "pairs": (pairs, lambda p, n: p.pairs(n)),
    "take": (lambda c, n: c.read(n), lambda p, n: p.take(n)),
    "skip": (lambda c, n: c.skip(n), lambda p, n: nothing(p.take(n))),
    "boolean": (lambda c, _: c.read_boolean(), lambda p, _: p.take(1) == b"\1"),
    "double": (lambda c, _: c.read_double(), lambda p, _: struct.unpack("<d", p.take(8))[0]),
}
# Numbers of at most nine bytes fit 64 bits in every reading; longer ones come by flipping above.
PARTS: Final = st.one_of(
    st.integers(-(2**60), 2**60).map(number),
    st.integers(-3, 70).map(number),
    st.binary(max_size=8).map(lambda part: number(len(part)) + part),
    st.tuples(st.integers(0, 63), st.binary(max_size=9)).map(
        lambda one: number(one[0]) + number(len(one[1])) + one[1]
    ),
    st.sampled_from([b"\x80", b"\xff\xff", b"\0" * 9, b"\1"]),
)
COUNTS: Final = st.one_of(st.integers(-2, 9), st.sampled_from([2**31, 2**62, -(2**63)]))


@settings(max_examples=cases(300))
@given(
    content=st.lists(PARTS, max_size=12).map(b"".join).filter(lambda c: not any(map(overlong, runs(c)))),
    reads=st.lists(st.tuples(st.sampled_from(sorted(READS)), COUNTS), max_size=12),
)
def test_content_gives_what_it_holds_and_nothing_from_behind_it(
    content: bytes, reads: list[tuple[str, int]]
) -> None:
    ours, plain = Content(content), Plain(content)
    for name, count in reads:
        read, expected = READS[name]
        try:
            wanted: Any = expected(plain, count)
        except IndexError:
            # Either it is said at once, or NULs are read, which shows: then and after whatever is read next.
            for later, number_of in [(name, count), *reads]:
                try:
                    READS[later][0](ours, number_of)
                except (Malformed, EOFError):
                    return
                assert ours.left < 0
            return
        assert repr(read(ours, count)) == repr(wanted)  # NaN equals itself in text
        assert (ours.tell(), ours.left) == (plain.at, len(content) - plain.at)


def runs(content: bytes) -> Iterator[int]:
    """How many bytes in a row go on."""
    length = 0
    for byte in content:
        length = length + 1 if byte >= 0x80 else 0
        yield length


def overlong(run: int) -> bool:
    return run > 8


def test_a_codec_that_is_not_installed_is_no_damage(tmp_path: Path) -> None:
    content = Written(tmp_path, "null").content["manifest"]
    file: Any = File(content.replace(b"avro.codec\x08null", b"avro.codec\x0csnappy"))
    with pytest.raises(ImportError, match="Snappy"), WholeFile[ManifestEntry](file) as reader:
        list(reader)


def test_a_manifest_of_which_the_list_counts_nothing_is_read(tmp_path: Path) -> None:
    """Format 1 leaves the counts out."""
    written = Written(tmp_path, "deflate")
    path = written.manifest.manifest_path
    uncounted = ManifestFile.from_args(
        manifest_path=path, partition_spec_id=0, added_snapshot_id=1, sequence_number=1
    )
    assert len(uncounted.fetch_manifest_entry(PyArrowFileIO())) == ENTRIES
