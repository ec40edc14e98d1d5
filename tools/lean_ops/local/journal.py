"""The write-ahead journal of the Firehose stand-in: an acknowledged record survives ``kill -9``.

A stream's journal is a folder of segments, ``<number>.wal``. Records are appended to the newest segment and
synchronised to disk before they are acknowledged; what one flush delivers is one closed segment, and a
delivered segment is removed. After a crash every segment that is left is delivered again, except where a
table's snapshot summary says that it has been (``lean_ops.local.delivery``).

A segment is a sequence of frames: length and CRC-32 of the data (4 bytes each), arrival time in
milliseconds since the epoch (8 bytes), all big-endian, then the data. A frame cut off by a crash was never
acknowledged: reading ends there.
"""

import logging
import os
import struct
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import NamedTuple

_FRAME = struct.Struct(">IIQ")
_SUFFIX = ".wal"

_log = logging.getLogger(__name__)


class Arrival(NamedTuple):
    """A record and when it arrived (milliseconds since the epoch)."""

    arrived_ms: int
    data: bytes


@dataclass
class Segment:
    """The records of one flush: ``records`` in memory, the same in the file ``path``.

    ``size`` in bytes of data, ``opened`` on the monotonic clock. ``uncertain``: an earlier attempt may have
    delivered it, so look before delivering.
    """

    path: Path
    records: list[Arrival] = field(default_factory=list)
    size: int = 0
    opened: float = field(default_factory=time.monotonic)
    uncertain: bool = False

    @property
    def number(self) -> str:
        """Names the segment in snapshot summaries and error objects; never used twice."""
        return self.path.stem


class Journal:
    """The segments of one stream in ``folder``. Safe to use from several threads.

    ``recovered``: the segments that an earlier process left behind, oldest first.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = threading.Lock()  # the file, the segment, the counters
        self._sync_lock = threading.Lock()  # taken before _lock where both are needed
        self._segment: Segment | None = None
        self._file: FileIO | None = None
        self._written = self._synced = 0  # bytes, over all segments
        # A file of another name is none of a journal.
        paths = sorted(path for path in folder.glob(f"*{_SUFFIX}") if path.stem.isdecimal())
        self.recovered = [_recover(path) for path in paths]
        self._last_number = int(self.recovered[-1].number) if self.recovered else 0

    @property
    def current(self) -> Segment | None:
        """The segment that records are appended to, if there are any."""
        return self._segment

    def append(self, records: Sequence[bytes]) -> None:
        """Write the records and return when they are on disk.

        Threads that come while another one synchronises share the next synchronisation (group commit).
        Raises OSError when the disk takes no more; the records are then not acknowledged.
        """
        now = int(time.time() * 1000)
        frames = b"".join(_FRAME.pack(len(data), zlib.crc32(data), now) + data for data in records)
        with self._lock:
            segment, file = self._open_segment()
            _write_whole(file, frames)
            segment.records.extend(Arrival(now, data) for data in records)
            segment.size += sum(map(len, records))
            self._written += len(frames)
            target = self._written
        self._synchronise(target)

    def close_segment(self) -> Segment | None:
        """Give the current segment for delivery, and start a new one with the next record."""
        with self._sync_lock, self._lock:
            segment, file = self._segment, self._file
            if file is not None:
                os.fsync(file.fileno())
                file.close()
                self._synced = self._written
            self._segment = self._file = None
            return segment

    def discard(self, segment: Segment) -> None:
        """Forget a delivered segment."""
        segment.path.unlink()

    def close(self) -> None:
        """Close the file; what is in it stays for the next process."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._segment = self._file = None

    def _open_segment(self) -> tuple[Segment, FileIO]:
        if self._segment is None or self._file is None:
            # From the clock, so that a number is not used again when a stream of this name is made anew.
            self._last_number = max(time.time_ns(), self._last_number + 1)
            segment = Segment(self._folder / f"{self._last_number}{_SUFFIX}")
            self._file = segment.path.open("ab", buffering=0)
            self._segment = segment
            _synchronise_folder(self._folder)
        return self._segment, self._file

    def _synchronise(self, target: int) -> None:
        with self._sync_lock:
            if self._synced >= target:
                return
            with self._lock:
                file, written = self._file, self._written
            if file is not None:
                os.fsync(file.fileno())
            self._synced = written


def _write_whole(file: FileIO, content: bytes) -> None:
    """All of ``content``, or nothing and an OSError."""
    start = os.fstat(file.fileno()).st_size
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        file.truncate(start)
        raise


def _synchronise_folder(folder: Path) -> None:
    """Make a new file's name as durable as its content."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _recover(path: Path) -> Segment:
    content, position = path.read_bytes(), 0
    records: list[Arrival] = []
    while position + _FRAME.size <= len(content):
        length, checksum, arrived_ms = _FRAME.unpack_from(content, position)
        start = position + _FRAME.size
        data = content[start : start + length]
        if len(data) < length or zlib.crc32(data) != checksum:
            break
        records.append(Arrival(arrived_ms, data))
        position = start + length
    if position < len(content):
        _log.warning("%s: %d bytes after the last whole record ignored", path, len(content) - position)
    return Segment(path, records, sum(len(record.data) for record in records), uncertain=True)
