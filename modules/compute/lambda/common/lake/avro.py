"""Avro files of Iceberg's metadata (manifest lists and manifests), read whole or not at all.

pyiceberg's compiled decoder believes every length that it reads (0.12; what comes after it checks,
apache/iceberg-python#3955): of a damaged file it gives what lies behind its memory, or ends the process. And
a file that ends within a block pyiceberg takes for one that ends before it: that block's rows are gone
without a word. So files are read here, as the Avro specification has them (1.11, "Object Container Files"):

* Nothing is read beyond the content. The compiled decoder still does the numbers, on a copy followed by more
  NUL bytes than a read of numbers can reach (``Content``); what has a length is held against what is left.
* A file is its header and whole blocks, each followed by the file's marker, to the last byte. A block is the
  records that it counts, to its last byte.
* A deflated block has no checksum, but pyiceberg leaves the first three bytes of zlib's behind it; those are
  held against the content. Iceberg's other writers leave none, and so does damage that makes the block end
  behind them, which is then not seen (seldom: by none of 38,000 changed bits, and by one in a run of tests).
* A manifest holds as many entries as the manifest list says, and a list is not empty where its snapshot
  counts files: only that shows where a file was cut between two blocks.

What no check sees is damage inside a value, where there is no checksum (a file's header has none): it reads
as another value. Nor is it seen that a list of several blocks, which Spark writes for hundreds of manifests,
was cut between two of them.
"""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from pyiceberg import manifest
from pyiceberg.avro import file as container
from pyiceberg.avro.codecs.codec import Codec
from pyiceberg.avro.codecs.deflate import DeflateCodec
from pyiceberg.avro.decoder import BinaryDecoder
from pyiceberg.avro.decoder_fast import CythonBinaryDecoder
from pyiceberg.avro.reader import Reader
from pyiceberg.avro.resolver import construct_reader, resolve_reader
from pyiceberg.io import FileIO, InputFile
from pyiceberg.manifest import ManifestEntry, ManifestEntryStatus, ManifestFile
from pyiceberg.schema import Schema
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.typedef import EMPTY_DICT, StructProtocol
from pyiceberg.utils.schema_conversion import AvroSchemaConversion

from common.runtime.errors import PermanentError

_Record = TypeVar("_Record", bound=StructProtocol)
_READ_ENTRIES: Final = ManifestFile.fetch_manifest_entry
_READ_LIST: Final = Snapshot.manifests
# A table's manifests have a schema each partition spec, its manifest lists one.
_READERS: Final[dict[tuple[Any, ...], tuple[Reader, Schema | None]]] = {}
_READERS_KEPT: Final = 64
# Of a file's head: the same for every file, and a reader keeps nothing of what it has read.
_HEADERS: Final = construct_reader(container.META_SCHEMA, {-1: container.AvroFileHeader})
# Bytes of zlib's checksum that pyiceberg leaves behind a deflated block.
_LEFT_BEHIND: Final = 3
# Of a file or of a block of one; manifests have some MB. Twice as much fits the decoder's 32-bit places.
_MOST_BYTES: Final = 2**30


class FileDamaged(PermanentError):  # noqa: N818 - the file is damaged; "error" would say less
    """A manifest list or a manifest is not what was written; the message names it. ``found``: what it is."""

    def __init__(self, path: str, found: str) -> None:
        super().__init__(
            f"expected to read {path}, found {found}; restore that object from its last version, or go back "
            "to a snapshot before it (docs/runbook.md, A table that cannot be read)"
        )
        self.found: Final = found


class Malformed(PermanentError):  # noqa: N818 - an account of what was found
    """Bytes of a file contradict themselves; the message says how, without a value of theirs."""


def read_whole_files_only() -> None:
    """Let everything that this process reads with pyiceberg be read so. Once or often is the same."""
    theirs: Any = manifest
    theirs.AvroFile = WholeFile
    # Only what is pyiceberg's own is replaced: a test may be listening to these.
    if ManifestFile.fetch_manifest_entry is _READ_ENTRIES:
        ManifestFile.fetch_manifest_entry = _entries  # type: ignore[method-assign]  # that is the purpose
    if Snapshot.manifests is _READ_LIST:
        Snapshot.manifests = _manifests  # type: ignore[method-assign]


def unpacked_blocks(content: bytes) -> Iterator[bytes]:
    """What each block of an Avro file holds, for one who looks for bytes; raises Malformed."""
    left = Content(content)
    header = _header(left)
    codec = header.compression_codec()
    while left.left:
        left.read_int()
        yield _unpacked(left.read_bytes(), codec)
        left.read(container.SYNC_SIZE)


class Content(BinaryDecoder):
    """Values from ``content``, one after the other, and never a byte from behind it.

    The compiled decoder looks only whether its memory has one more byte before it reads a number or a row of
    numbers. Behind the content it is given one NUL more than the content has bytes. A number that is cut ends
    at the first of them. A row is asked for only where at least a byte is left for each number; those that
    find no byte of the content read a NUL each, and there are enough. So no read leaves the memory, and what
    was read from the NULs shows in ``left``, which is negative then.
    """

    def __init__(self, content: bytes) -> None:
        self._size: Final = len(content)
        if self._size > _MOST_BYTES:
            raise Malformed(f"{self._size} bytes where at most {_MOST_BYTES} were to come")
        self._content: Final = content + bytes(self._size + 1)
        self._decoder: Final = CythonBinaryDecoder(self._content)
        self._tell: Final = self._decoder.tell
        self.read_int = self._decoder.read_int  # type: ignore[method-assign]  # a call less for each number

    @property
    def left(self) -> int:
        """How many bytes of the content were not read; below 0 after a number that it does not hold."""
        return self._size - self._tell()

    def tell(self) -> int:
        """The place of the next byte."""
        return self._tell()

    def read(self, n: int) -> bytes:
        """The next ``n`` bytes; Malformed where so many are not left."""
        self._demand(n)
        return self._decoder.read(n)

    def skip(self, n: int) -> None:
        """Leave out ``n`` bytes; Malformed where so many are not left."""
        self._demand(n)
        self._decoder.skip(n)

    def read_bytes(self) -> bytes:
        """A length and so many bytes."""
        length = self.read_int()
        self._demand(length)
        return self._decoder.read(length)

    def read_ints(self, n: int) -> tuple[int, ...]:
        """``n`` numbers."""
        self._demand(n)
        return self._decoder.read_ints(n)

    def read_int_bytes_dict(self, n: int, dest: dict[int, bytes]) -> None:
        """``n`` pairs of a number and bytes, into ``dest``: the bounds of columns, most of what there is."""
        self._demand(n)
        if self._holds_short_pairs(n):
            self._decoder.read_int_bytes_dict(n, dest)
            return
        for _ in range(n):
            key = self.read_int()
            dest[key] = self.read_bytes()

    def _holds_short_pairs(self, n: int) -> bool:
        """Whether the next ``n`` pairs are there, each with numbers of one byte (0 to 63, zigzag)."""
        content, at = self._content, self._tell()
        for _ in range(n):
            if at >= self._size:
                return False
            length = content[at + 1]
            if (content[at] | length) & 0b1000_0001:
                return False
            at += 2 + (length >> 1)
        return at <= self._size

    def _demand(self, n: int) -> None:
        if not 0 <= n <= self._size - self._tell():
            raise Malformed(f"{max(self.left, 0)} bytes where {n} were to come")


class WholeFile(Generic[_Record]):
    """In place of pyiceberg's ``AvroFile``: the records of a file that is whole, or FileDamaged."""

    def __init__(
        self,
        input_file: InputFile,
        read_schema: Schema | None = None,
        read_types: Mapping[int, Callable[..., StructProtocol]] = EMPTY_DICT,
        read_enums: Mapping[int, Callable[..., Enum]] = EMPTY_DICT,
    ) -> None:
        self._file: Final = input_file
        self._wanted: Final = read_schema, tuple(read_types.items()), tuple(read_enums.items())

    def __enter__(self) -> Self:
        with self._file.open() as stream:
            self._content = stream.read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Nothing is open."""

    def __iter__(self) -> Iterator[_Record]:
        blocks = self._blocks()
        while True:
            try:
                records = next(blocks, None)
            except (ImportError, MemoryError):
                raise  # a codec that is not installed; a machine that is too small
            except Exception as error:  # the content is in memory: whatever fails, it is the content
                raise FileDamaged(self._file.location, _words(error)) from None
            if records is None:
                return
            yield from records

    def _blocks(self) -> Iterator[list[_Record]]:
        content = Content(self._content)
        header = _header(content)
        reader = _reader(header.meta["avro.schema"], *self._wanted)
        codec = header.compression_codec()
        while content.left:
            count, packed = content.read_int(), content.read_bytes()
            if content.read(container.SYNC_SIZE) != header.sync:
                raise Malformed("a block that does not end with the file's marker")
            block = Content(_unpacked(packed, codec))
            if not 0 <= count <= block.left:
                raise Malformed(f"a block of {block.left} bytes for {count} records")
            records = [reader.read(block) for _ in range(count)]
            if block.left:
                raise Malformed(f"a block that does not end with its {count} records")
            yield records


def _reader(written: str, wanted: Schema | None, types: tuple[Any, ...], enums: tuple[Any, ...]) -> Reader:
    """What reads records; kept, since working it out takes longer than reading a small manifest."""
    key = (written, id(wanted), types, enums)
    if kept := _READERS.get(key):
        return kept[0]
    schema = AvroSchemaConversion().avro_to_iceberg(json.loads(written))
    reader = resolve_reader(schema, wanted or schema, dict(types), dict(enums))
    if len(_READERS) >= _READERS_KEPT:
        _READERS.clear()
    _READERS[key] = reader, wanted  # with the schema, so that no other one gets its id
    return reader


def _header(content: Content) -> container.AvroFileHeader:
    header: container.AvroFileHeader = _HEADERS.read(content)
    if header.magic != container.MAGIC or content.left < 0:
        raise Malformed("no Avro file")
    return header


def _unpacked(packed: bytes, codec: type[Codec] | None) -> bytes:
    """A block's records; a deflated one (RFC 1951) may have the beginning of zlib's checksum behind it."""
    if codec is None:
        return packed
    if codec is not DeflateCodec:
        return codec.decompress(packed)
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    content = stream.decompress(packed, _MOST_BYTES)
    if not stream.eof:
        raise Malformed("a deflated block that is cut")
    if stream.unused_data not in (b"", zlib.adler32(content).to_bytes(4, "big")[:_LEFT_BEHIND]):
        raise Malformed("a deflated block with another checksum")
    return content


def _words(error: Exception) -> str:
    """What was found, without what a library quotes of the file."""
    return str(error) if isinstance(error, Malformed) else f"bytes that end in {type(error).__name__}"


def _entries(self: ManifestFile, io: FileIO, discard_deleted: bool = True) -> list[ManifestEntry]:
    """The entries of a manifest, all of them or those of live files; FileDamaged."""
    entries = _READ_ENTRIES(self, io, discard_deleted=False)
    counts = (self.added_files_count, self.existing_files_count, self.deleted_files_count)
    expected = sum(count or 0 for count in counts)
    if None not in counts and len(entries) != expected:  # format 1 may leave a count out
        raise FileDamaged(self.manifest_path, f"{len(entries)} entries of {expected}")
    return [e for e in entries if not discard_deleted or e.status != ManifestEntryStatus.DELETED]


def _manifests(self: Snapshot, io: FileIO) -> list[ManifestFile]:
    """The manifests of a snapshot; FileDamaged for none where it counts files."""
    found = _READ_LIST(self, io)
    summary = self.summary.additional_properties if self.summary else {}
    if not found and any(summary.get(f"total-{kind}-files", "0") != "0" for kind in ("data", "delete")):
        raise FileDamaged(self.manifest_list, "no manifest")
    return found
