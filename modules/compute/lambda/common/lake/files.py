"""The lake's files on an object store: few requests, each of them counted.

What a file takes (held against a server that counts,
tests/integration/lake/merge/test_requests_are_few_and_counted.py):

    opening a file   nothing: a manifest says its size, and what is read whole needs none
    reading          a GET for each range
    writing          a PUT; of 10 MiB and more one to begin, one for each part, and one to complete
    removing         a HEAD whether it is there, a DELETE, which costs nothing, and a PUT of an empty object
                     that stands for its folder (``arrow/filesystem/s3fs.cc``, EnsureParentExists)

Arrow's S3 client writes. By default it would begin every upload in parts, three requests where one does; that
is switched off here. It cannot be told the size of a file that it opens, and asks for it (a HEAD) each time:
so ranges are asked for without it (``common.lake.gets``), and of it only where that does not succeed. Reading
is told what will be needed (``RangedFile.fetched``), so that neighbours come with one request. On a local
disk requests cost nothing: its files are Arrow's own.

Arrow's own threads never run Python. Where garbage is collected in one that others wait for, what is given
up may itself wait for threads (apache/arrow#50482 is one such end that does not come). So Parquet is read
through a ``RangedFile`` in the thread that asks (``pre_buffer=False``), and pyiceberg, which reads by Arrow's
threads, is given Arrow's own file: of the data files that it reads the opening is counted alone.
"""

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Final, Self, cast

import pyarrow as pa
import pyarrow.fs
from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from common.lake.gets import Gets

PART_BYTES: Final = 10 * 2**20
"""From this size on Arrow uploads in parts (``arrow/filesystem/s3fs.cc``, kPartUploadSize)."""

HOLE_BYTES: Final = 256 * 2**10
"""What is read along where it spares a request: at 90 MB/s 3 ms, a tenth of a request's time."""


@dataclass(frozen=True)
class Traffic:
    """Requests to a store and what they moved, in bytes. ``gets``: HEADs too, which are billed alike."""

    gets: int = 0
    puts: int = 0
    bytes_read: int = 0
    bytes_written: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(*map(operator.add, vars(self).values(), vars(other).values()))

    def __sub__(self, other: "Traffic") -> "Traffic":
        return Traffic(*map(operator.sub, vars(self).values(), vars(other).values()))

    def summary(self) -> dict[str, str]:
        """The entries for a snapshot's summary; none where nothing was asked for."""
        counts = {} if self == NOTHING else vars(self)
        return {TRAFFIC_SAID[name]: str(count) for name, count in counts.items()}


NOTHING: Final = Traffic()
TRAFFIC_SAID: Final = {f.name: f"lean-ops.{f.name.replace('_', '-')}" for f in fields(Traffic)}
"""By the name of each count what it is called in a snapshot's summary."""


def traffic_of(io: FileIO) -> Traffic:
    """What a table's files have taken so far, since the table was loaded; nothing where nobody counts."""
    return io.counter.total if isinstance(io, LakeFileIO) else NOTHING


class Counter:
    """Adds up traffic, from any thread.

    Without a lock: to add is one step of the interpreter. While a lock is held, garbage may be collected that
    waits for a thread which counts as well.
    """

    def __init__(self) -> None:
        self._added: list[Traffic] = []

    @property
    def total(self) -> Traffic:
        """All that was counted so far."""
        return sum(tuple(self._added), NOTHING)

    def add(self, more: Traffic) -> None:
        """Count more."""
        self._added.append(more)

    def __getstate__(self) -> dict[str, Any]:
        """What is sent to another process begins there at nothing."""
        return {}

    def __setstate__(self, _state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]


class LakeFileIO(PyArrowFileIO):
    """pyiceberg's file store over Arrow, counting. For the catalog property ``py-io-impl``."""

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties)
        self.counter = Counter()
        self.gets = Gets(properties)

    def new_input(self, location: str) -> Any:
        """A file to read."""
        return self._counted(super().new_input(location))

    def new_output(self, location: str) -> Any:
        """A file to write."""
        return self._counted(super().new_output(location))

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Remove a file."""
        if is_local(location if isinstance(location, str) else location.location):
            super().delete(location)
            return
        self.counter.add(Traffic(gets=1))
        super().delete(location)
        self.counter.add(Traffic(puts=1))

    def _counted(self, file: PyArrowFile) -> "PyArrowFile | CountedFile":
        return file if is_local(file.location) else CountedFile(file, self.counter, self.gets)

    def _initialize_s3_fs(self, netloc: str | None) -> pyarrow.fs.FileSystem:
        made: Any = super()._initialize_s3_fs(netloc)
        # pyiceberg passes this option on to nobody. What a file system is pickled as are its arguments.
        rebuilt, (options,) = made.__reduce__()
        return cast("pyarrow.fs.FileSystem", rebuilt({**options, "allow_delayed_open": True}))


def is_local(location: str) -> bool:
    """Whether a file is on a local disk, where a request costs nothing."""
    return location.startswith(("file:", "/"))


class CountedFile(InputFile, OutputFile):
    """One file of a store."""

    def __init__(self, file: PyArrowFile, counter: Counter, gets: Gets) -> None:
        super().__init__(location=file.location)
        self._file, self._counter, self._gets = file, counter, gets
        self._output: CountedOutput | None = None

    def __len__(self) -> int:
        if self._output is not None and self._output.closed:
            return self._output.size  # of a manifest that was just written pyiceberg asks for it
        self._counter.add(Traffic(gets=1))
        return len(self._file)

    def exists(self) -> bool:
        """Whether it is there."""
        self._counter.add(Traffic(gets=1))
        return self._file.exists()

    def open(self, seekable: bool = True) -> Any:  # noqa: ARG002 - each read is a request, either way
        """Open it for reading, as pyiceberg does: Parquet by Arrow's threads, so that it is Arrow's own."""
        return self.native() if self.location.endswith(".parquet") else self.ranged()

    def ranged(self, size: int | None = None) -> "RangedFile":
        """Open it for reading in one thread, which asks for nothing yet; ``size`` in bytes, where known."""
        return RangedFile(self, size)

    def range(self, begin: int, size: int | None) -> pa.Buffer | None:
        """So many bytes from there on, or all of the file, with one request; None where Arrow has to."""
        address = self._gets.address(self.location)
        if address is None:
            return None
        found = self._gets.get(address, begin, size)
        self._counter.add(Traffic(gets=1, bytes_read=found.size if found is not None else 0))
        return found

    def native(self) -> pa.NativeFile:
        """Arrow's own file to read, for whose size it asks. Its errors are those of the store."""
        self._counter.add(Traffic(gets=1))
        return cast("pa.NativeFile", self._file.open())

    def native_range(self, native: pa.NativeFile, begin: int, size: int) -> pa.Buffer:
        """So many bytes from there on, by Arrow."""
        native.seek(begin)
        found = native.read_buffer(size)
        self._counter.add(Traffic(gets=1, bytes_read=found.size))
        return found

    def create(self, overwrite: bool = False) -> Any:
        """Open it for writing."""
        self._output = CountedOutput(cast("pa.NativeFile", self._file.create(overwrite)), self._counter)
        return self._output

    def to_input_file(self) -> "CountedFile":
        """The same file, for reading."""
        return self


class _Stream(ABC):
    """What is closed at the end of a context."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close it."""


class RangedFile(_Stream):
    """A file to read as Python and Arrow read files; each read of what was not fetched is a request.

    ``size``: bytes of the whole file, None where it is not known. Then the first read of all that is left
    tells it, and else it is asked for. That a file is not there shows in the first read. Not by several
    threads at once.
    """

    def __init__(self, file: CountedFile, size: int | None) -> None:
        self._file = file
        self._at = 0
        self._size = size
        self._kept: list[tuple[int, pa.Buffer]] = []
        self._native: pa.NativeFile | None = None
        self.closed = False

    def close(self) -> None:
        """Close it."""
        self.closed = True
        self._kept = []
        if self._native is not None:
            self._native.close()

    @contextmanager
    def fetched(self, ranges: Iterable[tuple[int, int]]) -> Iterator[None]:
        """Read ranges (begin and end), neighbours at once, and keep them for what is read meanwhile."""
        before = self._kept
        absent = together((begin, end) for begin, end in ranges if self._at_hand(begin, end) is None)
        self._kept = [*before, *((begin, self._read(begin, end - begin)) for begin, end in absent)]
        try:
            yield
        finally:
            self._kept = before

    def fetch_last(self, size: int) -> None:
        """Read so many bytes before the end, and keep them."""
        begin = max(0, self.size() - size)
        self._kept = [*self._kept, (begin, self._read(begin, self.size() - begin))]

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place: from the begin (0), from here (1), from the end (2)."""
        self._at = offset + (0 if whence == 0 else self._at if whence == 1 else self.size())
        return self._at

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def size(self) -> int:
        """Bytes of the whole file."""
        if self._size is None:
            self._size = self._opened().size()
        return self._size

    def read_buffer(self, nbytes: int | None = None) -> pa.Buffer:
        """So many bytes from here on, fewer at the end; all that is left without a number."""
        if self._size is None and self._at == 0 and (nbytes is None or nbytes < 0):
            whole = self._file.range(0, None)
            if whole is not None:
                self._at = self._size = whole.size
                return whole
        left = max(0, self.size() - self._at)
        wanted = left if nbytes is None or nbytes < 0 else min(nbytes, left)
        begin, self._at = self._at, self._at + wanted
        kept = self._at_hand(begin, self._at)
        return kept if kept is not None else self._read(begin, wanted)

    def read(self, size: int = -1) -> bytes:
        """As ``read_buffer``, in Python's own bytes."""
        return self.read_buffer(size).to_pybytes()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def writable(self) -> bool:
        """It is not."""
        return False

    def _at_hand(self, begin: int, end: int) -> pa.Buffer | None:
        """A range of what is kept."""
        for first, buffer in self._kept:
            if first <= begin and end <= first + buffer.size:
                return buffer.slice(begin - first, end - begin)
        return None

    def _read(self, begin: int, size: int) -> pa.Buffer:
        if not size:
            return pa.py_buffer(b"")
        found = self._file.range(begin, size) if self._native is None else None
        return found if found is not None else self._file.native_range(self._opened(), begin, size)

    def _opened(self) -> pa.NativeFile:
        if self._native is None:
            self._native = self._file.native()
        return self._native


class CountedOutput(_Stream):
    """A file to write; counted when it is closed, since only then its ``size`` is known."""

    def __init__(self, native: pa.NativeFile, counter: Counter) -> None:
        self.native, self._counter = native, counter

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self.native.closed

    size = 0

    def write(self, data: Any) -> int:
        """Write bytes."""
        return self.native.write(data)

    def tell(self) -> int:
        """Bytes written."""
        return self.native.tell()

    def flush(self) -> None:
        """Nothing: what is not closed is not there."""

    def writable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Close it; only now it is there."""
        if self.closed:
            return
        self.size = self.native.tell()
        self.native.close()
        parts = -(-self.size // PART_BYTES)
        self._counter.add(Traffic(puts=1 if self.size < PART_BYTES else parts + 2, bytes_written=self.size))


@contextmanager
def written(io: FileIO, path: str) -> Iterator[pa.NativeFile]:
    """Create a file for writing, which Arrow writes without asking Python."""
    with cast("Any", io.new_output(path)).create(overwrite=True) as stream:
        yield stream.native if isinstance(stream, CountedOutput) else stream


def together(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges (begin and end) in order, those put together between which little lies."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if joined and begin - joined[-1][1] <= HOLE_BYTES:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined
