"""The lake's files on an object store: few requests, each of them counted.

What Arrow's S3 client asks for is hidden in it, but follows from what it is told (held against a server that
counts, tests/integration/lake/merge/test_requests_are_few_and_counted.py):

    opening a file   a HEAD for its size
    reading          a GET for each range
    writing          a PUT; of 10 MiB and more one to begin, one for each part, and one to complete

By default it would begin every upload in parts, three requests where one does; that is switched off here.
Reading is told what will be needed (``RangedFile.fetched``), so that neighbours come with one request. On a
local disk requests cost nothing: its files are Arrow's own.

Arrow's own threads never run Python. Where garbage is collected in one that others wait for, what is given
up may itself wait for threads (apache/arrow#50482 is one such end that does not come). So Parquet is read
through a ``RangedFile`` in the thread that asks (``pre_buffer=False``), and pyiceberg, which reads by Arrow's
threads, is given Arrow's own file: of the data files that it reads the opening is counted alone.
"""

import operator
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

    def new_input(self, location: str) -> Any:
        """A file to read."""
        return self._counted(super().new_input(location))

    def new_output(self, location: str) -> Any:
        """A file to write."""
        return self._counted(super().new_output(location))

    def _counted(self, file: PyArrowFile) -> "PyArrowFile | CountedFile":
        return file if is_local(file.location) else CountedFile(file, self.counter)

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

    def __init__(self, file: PyArrowFile, counter: Counter) -> None:
        super().__init__(location=file.location)
        self._file, self._counter = file, counter
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
        if not self.location.endswith(".parquet"):
            return self.ranged()
        self._counter.add(Traffic(gets=1))
        return self._file.open()

    def ranged(self) -> "RangedFile":
        """Open it for reading in one thread, each read counted."""
        self._counter.add(Traffic(gets=1))
        return RangedFile(cast("pa.NativeFile", self._file.open()), self._counter)

    def create(self, overwrite: bool = False) -> Any:
        """Open it for writing."""
        self._output = CountedOutput(cast("pa.NativeFile", self._file.create(overwrite)), self._counter)
        return self._output

    def to_input_file(self) -> "CountedFile":
        """The same file, for reading."""
        return self


class _Stream:
    """What both have: an Arrow file that is closed with them."""

    def __init__(self, native: pa.NativeFile, counter: Counter) -> None:
        self.native, self._counter = native, counter

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self.native.closed

    def close(self) -> None:
        """Close it."""
        self.native.close()


class RangedFile(_Stream):
    """A file to read as Python and Arrow read files; each read of what was not fetched is a request.

    Not by several threads at once.
    """

    def __init__(self, native: pa.NativeFile, counter: Counter) -> None:
        super().__init__(native, counter)
        self._at = 0
        self._size = native.size()
        self._kept: list[tuple[int, pa.Buffer]] = []

    @contextmanager
    def fetched(self, ranges: Iterable[tuple[int, int]]) -> Iterator[None]:
        """Read ranges (begin and end), neighbours at once, and keep them for what is read meanwhile."""
        self._kept = [(begin, self._read(begin, end - begin)) for begin, end in together(ranges)]
        try:
            yield
        finally:
            self._kept = []

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place: from the begin (0), from here (1), from the end (2)."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def size(self) -> int:
        """Bytes of the whole file."""
        return self._size

    def read_buffer(self, nbytes: int | None = None) -> pa.Buffer:
        """So many bytes from here on, fewer at the end; all that is left without a number."""
        left = max(0, self._size - self._at)
        wanted = left if nbytes is None or nbytes < 0 else min(nbytes, left)
        begin, self._at = self._at, self._at + wanted
        for first, buffer in self._kept:
            if first <= begin and begin + wanted <= first + buffer.size:
                return buffer.slice(begin - first, wanted)
        return self._read(begin, wanted)

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

    def _read(self, begin: int, size: int) -> pa.Buffer:
        if not size:
            return pa.py_buffer(b"")
        self.native.seek(begin)
        self._counter.add(Traffic(gets=1, bytes_read=size))
        return self.native.read_buffer(size)


class CountedOutput(_Stream):
    """A file to write; counted when it is closed, since only then its ``size`` is known."""

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
        super().close()
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
