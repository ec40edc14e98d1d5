"""A file store that takes as long as an object store: by the request and by the byte, of local files."""

import time
from typing import Any

import pyarrow as pa
from pyiceberg.io.pyarrow import PyArrowFile

from common.lake.files import CountedFile, CountedOutput, LakeFileIO, RangedFile

LATENCY_S = 0.03  # first byte of a request to S3: tens of milliseconds
BYTES_A_SECOND = 90 * 10**6  # of one connection


def wait(requests: int, size: int = 0) -> None:
    """As long as so many requests one after the other, and the bytes, take."""
    time.sleep(requests * LATENCY_S + size / BYTES_A_SECOND)


class SlowRanges(RangedFile):
    """A file that is read."""

    def _read(self, begin: int, size: int) -> pa.Buffer:
        wait(1, size)
        return super()._read(begin, size)


class SlowOutput(CountedOutput):
    """A file that is written."""

    def close(self) -> None:
        """Close it, with the requests that this takes."""
        if not self.closed:
            super().close()
            wait(1, self.size)


class SlowFile(CountedFile):
    """One file of the store."""

    def open(self, seekable: bool = True) -> Any:
        wait(1)
        opened = super().open(seekable)
        opened.__class__ = SlowRanges
        return opened

    def create(self, overwrite: bool = False) -> Any:
        created = super().create(overwrite)
        created.__class__ = SlowOutput
        return created


class SlowFileIO(LakeFileIO):
    """For the catalog property ``py-io-impl``."""

    def _counted(self, file: PyArrowFile) -> CountedFile:
        return SlowFile(file, self.counter)
