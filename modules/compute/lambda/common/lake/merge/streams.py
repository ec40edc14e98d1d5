"""Files of a table as Arrow streams, whatever catalog and store they came from."""

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import cast

import pyarrow as pa
from pyiceberg.io import FileIO

from common.lake.files import CountedFile, RangedFile, is_local, written

logger = logging.getLogger(__name__)


WHOLE_FILE_BYTES = 1024 * 1024
"""Files up to this size are read with one request instead of one a column."""

REMOTE_CONCURRENCY = 32
LOCAL_CONCURRENCY = 3  # one more than a function has cores: one waits for the disk or for the interpreter


def concurrency(location: str) -> int:
    """How many files of a table to read or write at once.

    On an object store the latency of requests counts, on a local disk the cores; every file in work costs a
    few megabytes (docs/benchmarks.md).
    """
    return LOCAL_CONCURRENCY if is_local(location) else REMOTE_CONCURRENCY


class MemoryGate:
    """Lets work begin while what is in work takes at most so much memory; larger work waits to be alone.

    The number of requests that an object store wants at a time says nothing of how much they hold.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait until ``size`` bytes more may be held, and hold them meanwhile."""
        taken = min(size, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._held + taken <= self._most)
            self._held += taken
        try:
            yield
        finally:
            with self._changed:
                self._held -= taken
                self._changed.notify_all()


def open_input(io: FileIO, path: str, size: int | None = None, last: int | None = None) -> pa.NativeFile:
    """Open a file for reading; with a ``size`` (bytes) that is small, its content is fetched at once.

    ``last``: bytes before its end that will be needed, where that is known of a larger one.

    pyiceberg's Arrow ``FileIO`` gives native Arrow files behind its protocol. What is read through a
    ``RangedFile`` is read in the thread that asks. A store is not asked for a size that is known.
    """
    file = io.new_input(path)
    # A RangedFile reads as Arrow's own file does.
    stream = cast("pa.NativeFile", file.ranged(size) if isinstance(file, CountedFile) else file.open())
    if size is None or size > WHOLE_FILE_BYTES:
        if last is not None and isinstance(stream, RangedFile):
            stream.fetch_last(last)
        return stream
    with stream:
        return pa.BufferReader(stream.read_buffer(size))


def open_output(io: FileIO, path: str) -> AbstractContextManager[pa.NativeFile]:
    """Create a file for writing. Names are unique, so that looking for an existing file would be wasted."""
    return written(io, path)


def remove_files(io: FileIO, paths: Iterable[str]) -> None:
    """Remove files that no snapshot needs; one that cannot be removed stays as a harmless orphan."""
    for path in paths:
        try:
            io.delete(path)
        except OSError as error:
            logger.warning("could not remove %s, which is no longer needed: %s", path, error)
