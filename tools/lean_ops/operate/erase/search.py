"""The search at the end: every object and version of the bucket, for keys and distinctive values.

    Parquet     every text of every column, row by row, and the statistics in the footer
    Avro        the blocks of manifests and manifest lists, with the bounds of columns
    the rest    JSON, NDJSON and everything else as bytes; gzip unpacked, base64 decoded

A value that a row of another key has too is not distinctive: such a row is another event, and says nothing of
the one that was erased. A key that another row mentions is no copy either; it is told apart.
"""

import base64
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common.contract.store import KEPT
from common.lake.avro import Malformed, unpacked_blocks
from common.lake.merge import MemoryGate, rows_at_once
from lean_ops.operate.erase.objects import Objects, Version
from lean_ops.operate.erase.terms import Terms, stands_alone

_KEY: Final = "idempotency_key"
_BASE64: Final = re.compile(rb"(?:[A-Za-z0-9+/]{4}){4,}(?:[A-Za-z0-9+/]{2,3}={0,2})?")
# Objects that describe data and hold none: a value that stands in one is a name there.
_DESCRIBING: Final = ("contracts/", KEPT, "registry/")
_TABLE_METADATA: Final = ".metadata.json"
_THREADS: Final = 4
_HELD_BYTES: Final = 2**30
_HASHED: Final = -1


@dataclass(frozen=True)
class Finding:
    """A copy that is left. ``what``: ``key`` or ``value``; ``where``: what of the object has it."""

    key: str
    version_id: str
    what: str
    where: str


@dataclass
class Searched:
    """What was looked at, and found. ``mentioned``: keys that rows of other keys mention, by table.

    ``shared``: values that turned out not to be distinctive. ``unread``: objects that cannot be decoded,
    whose bytes alone were searched.
    """

    objects: int = 0
    versions: int = 0
    bytes: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    shared: int = 0
    mentioned: Counter[str] = field(default_factory=Counter)
    unread: list[str] = field(default_factory=list)
    found: list[Finding] = field(default_factory=list)


@dataclass
class _Looked:
    """One version, and the terms found in it by where; of rows of other keys apart."""

    version: Version
    kind: str = "other"
    size: int = 0
    unread: bool = False
    copies: dict[str, set[int]] = field(default_factory=dict)
    others: Counter[int] = field(default_factory=Counter)


class _UndecodableError(Exception):
    """An object is not what its first bytes say, or damaged: its bytes are searched instead."""


_T = TypeVar("_T")


def _decoded(stream: Iterable[_T]) -> Iterator[_T]:
    """What a decoder gives. What it raises is the object's fault; what those who read raise is not."""
    left = iter(stream)
    while True:
        try:
            one = next(left)
        except StopIteration:
            return
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, Malformed) as error:
            raise _UndecodableError from error
        yield one


def _gunzipped(content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise _UndecodableError from error


@dataclass(frozen=True)
class Wanted:
    """What is looked for.

    ``rows``: which rows (idempotency_key and publish_time) are copies of erased ones, whatever else they
    hold. ``lines``: the lines of an object, by its key and content, and whether each is such a copy; None
    for an object that holds no events.
    ``of_others``: whether an object, by its key, is of another topic's tables.
    """

    keys: tuple[str, ...]
    values: tuple[str, ...]
    rows: Callable[[pa.Table], npt.NDArray[np.bool_]]
    lines: Callable[[str, bytes], list[tuple[bytes, bool]] | None]
    of_others: Callable[[str], bool]


def search(
    objects: Objects,
    wanted: Wanted,
    versions: Iterable[Version],
    on_progress: Callable[[int], None] = lambda _n: None,
) -> Searched:
    """Look for what is wanted in these versions."""
    terms = Terms((*wanted.keys, *wanted.values))
    looking = _Looking(objects, wanted, terms)
    found = Searched()
    looked: list[_Looked] = []
    names: set[str] = set()
    with ThreadPoolExecutor(_THREADS, "search") as threads:
        for one in threads.map(looking.look, (one for one in versions if not one.marker)):
            found.versions += 1
            found.bytes += one.size
            found.kinds[one.kind] += 1
            names.add(one.version.key)
            if one.unread:
                found.unread.append(one.version.key)
            if one.copies or one.others:
                looked.append(one)
            on_progress(found.versions)
    found.objects = len(names)
    _judge(looked, len(wanted.keys), found)
    return found


def _judge(looked: Iterable[_Looked], keys: int, found: Searched) -> None:
    """What of it is a copy: not a value that rows of other keys have too."""
    all_of_it = list(looked)
    shared = {number for one in all_of_it for number in one.others if number >= keys}
    found.shared = len(shared)
    for one in all_of_it:
        if mentions := sum(count for number, count in one.others.items() if number < keys):
            found.mentioned[one.version.key.partition("/")[0]] += mentions
        for where, numbers in one.copies.items():
            place = one.version.key, one.version.version_id
            if any(number < keys for number in numbers):
                found.found.append(Finding(*place, "key", where))
            if any(number >= keys for number in numbers - shared):
                found.found.append(Finding(*place, "value", where))


class _Looking:
    """Looks at one version after the other; from several threads."""

    def __init__(self, objects: Objects, wanted: Wanted, terms: Terms) -> None:
        self._objects, self._wanted, self._terms = objects, wanted, terms
        self._gate = MemoryGate(_HELD_BYTES)

    def look(self, version: Version) -> _Looked:
        """What a version has of what is wanted."""
        with self._gate.hold(version.size):
            content = self._objects.read(version)
            looked = _Looked(version, size=len(content or b""))
            _note(looked, "name", self._terms.standing_alone(version.key.encode()))
            if content is not None:
                self._look_into(content, looked)
            if self._wanted.of_others(version.key):  # the same key in another topic is another key
                looked.others.update(set().union(*looked.copies.values()) - {_HASHED})
                looked.copies.clear()
            return looked

    def _look_into(self, content: bytes, looked: _Looked) -> None:
        terms = self._terms
        try:
            if content[:4] == b"PAR1":
                looked.kind = "parquet"
                _parquet(content, terms, self._wanted.rows, looked)
            elif content[:4] == b"Obj\x01":
                looked.kind = "avro"
                for block in _decoded(unpacked_blocks(content)):
                    _note(looked, "statistics", terms.after_their_length(block))
            else:
                looked.kind = "gzip" if content[:2] == b"\x1f\x8b" else "text"
                self._look_into_text(_gunzipped(content) if looked.kind == "gzip" else content, looked)
        except _UndecodableError:
            looked.unread = True
            _note(looked, "bytes", _in_text(content, terms))

    def _look_into_text(self, text: bytes, looked: _Looked) -> None:
        key = looked.version.key
        lines = self._wanted.lines(key, text)
        if lines is None:
            found = _in_text(text, self._terms)
            if key.startswith(_DESCRIBING) or key.endswith(_TABLE_METADATA):
                values = {n for n in found if n >= len(self._wanted.keys) or key.startswith(_DESCRIBING)}
                looked.others.update(values)
                found -= values
            _note(looked, "text", found)
            return
        for line, copy in lines:
            if copy:
                _note(looked, "lines", {_HASHED})
            else:
                looked.others.update(_in_text(line, self._terms))


def _note(looked: _Looked, where: str, numbers: set[int]) -> None:
    if numbers:
        looked.copies.setdefault(where, set()).update(numbers)


def _in_text(content: bytes, terms: Terms) -> set[int]:
    """Texts in bytes, and in what of them is base64."""
    found = terms.standing_alone(content)
    for word in _BASE64.finditer(content):
        whole = word[0].rstrip(b"=")
        found |= terms.standing_alone(base64.b64decode(whole[: len(whole) // 4 * 4]))
    return found


def _parquet(
    content: bytes,
    terms: Terms,
    is_erased: Callable[[pa.Table], npt.NDArray[np.bool_]],
    looked: _Looked,
) -> None:
    (file,) = _decoded(pq.ParquetFile(pa.BufferReader(one)) for one in (content,))
    has_key = {_KEY, "publish_time"} <= set(file.schema_arrow.names)
    groups = range(file.num_row_groups)
    batches = (b for g in groups for b in file.iter_batches(rows_at_once(file, g), row_groups=[g]))
    for batch in _decoded(batches):
        erased = np.ones(batch.num_rows, dtype=bool)  # without a key nobody can say that it is another's
        if has_key:
            erased = is_erased(pa.table({name: batch[name] for name in (_KEY, "publish_time")}))
            _note(looked, "rows", _keys_of(batch, erased, terms))
        for row, number in _cells(batch, terms):
            if erased[row]:
                _note(looked, "rows", {number})
            else:
                looked.others[number] += 1
    # Bounds of a file are cells of its rows: what rows of other keys say is theirs.
    _note(looked, "statistics", _in_statistics(file.metadata, terms) - looked.others.keys())


def _in_statistics(metadata: Any, terms: Terms) -> set[int]:
    """Texts that are a bound of a column."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    columns = (group.column(number).statistics for group in groups for number in range(metadata.num_columns))
    raw = {bound for found in columns if found is not None for bound in (found.min_raw, found.max_raw)}
    texts = {bound for bound in raw if isinstance(bound, bytes)}
    return {terms.number_of_bytes[text] for text in texts & terms.number_of_bytes.keys()}


def _keys_of(batch: pa.RecordBatch, erased: npt.NDArray[np.bool_], terms: Terms) -> set[int]:
    """The erased keys of rows; ``_HASHED`` stands for those that only a hash tells."""
    if not erased.any():
        return set()
    keys: Any = batch.column(_KEY).filter(pa.array(erased))
    return {terms.number_of.get(str(key), _HASHED) for key in keys.to_pylist()}


def _cells(batch: pa.RecordBatch, terms: Terms) -> Iterator[tuple[int, int]]:
    """Rows, and texts that stand alone in a cell of theirs."""
    for column in batch.columns:
        texts = _as_texts(column)
        if texts is None:
            continue
        _, offsets, values = texts.buffers()
        if values is None or offsets is None:
            continue
        ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
        content = np.frombuffer(values, np.uint8)[ends[0] : ends[-1]]
        for first, end, number in terms.places(content):
            row = int(np.searchsorted(ends, first + ends[0], side="right")) - 1
            begin, stop = int(ends[row] - ends[0]), int(ends[row + 1] - ends[0])
            if end <= stop and stands_alone(content[begin:stop].tobytes(), first - begin, end - begin):
                yield row, number
        yield from _tiny_cells(texts, terms)


def _tiny_cells(texts: Any, terms: Terms) -> Iterator[tuple[int, int]]:
    """Cells that are a text which is too short to be looked for within others."""
    compute: Any = pc
    for text, number in terms.tiny.items():
        equal = compute.equal(texts, pa.scalar(text, texts.type)).fill_null(pa.scalar(False))  # noqa: FBT003
        for row in np.flatnonzero(equal.to_numpy(zero_copy_only=False)).tolist():
            yield row, number


def _as_texts(column: Any) -> Any:
    """A column as texts with 64-bit places; None for one of another type."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_texts(column.dictionary_decode())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.large_string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return column.cast(pa.large_binary())
    return None
