"""A file store that takes as long as an object store: by the request and by the byte, of local files."""

import time
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.io.pyarrow import PyArrowFile

from common.lake.files import CountedFile, CountedOutput, LakeFileIO
from common.lake.gets import Gets

LATENCY_S = 0.03  # first byte of a request to S3: tens of milliseconds
BYTES_A_SECOND = 90 * 10**6  # of one connection


def wait(requests: int, size: int = 0) -> None:
    """As long as so many requests one after the other, and the bytes, take."""
    time.sleep(requests * LATENCY_S + size / BYTES_A_SECOND)


class SlowGets(Gets):
    """Ranges of local files, one request each."""

    def address(self, location: str) -> str:
        """Of every file."""
        return location.removeprefix("file://")

    def get(self, address: str, begin: int, size: int | None) -> pa.Buffer:
        """So many bytes from there on, or all."""
        with Path(address).open("rb") as file:
            file.seek(begin)
            content = file.read(-1 if size is None else size)
        wait(1, len(content))
        return pa.py_buffer(content)


class SlowOutput(CountedOutput):
    """A file that is written."""

    def close(self) -> None:
        """Close it, with the requests that this takes."""
        if not self.closed:
            super().close()
            wait(1, self.size)


class SlowFile(CountedFile):
    """One file of the store."""

    def __len__(self) -> int:
        wait(0 if self._output is not None else 1)
        return super().__len__()

    def native(self) -> pa.NativeFile:
        wait(1)
        return super().native()

    def create(self, overwrite: bool = False) -> Any:
        created = super().create(overwrite)
        created.__class__ = SlowOutput
        return created


class SlowFileIO(LakeFileIO):
    """For the catalog property ``py-io-impl``."""

    def _counted(self, file: PyArrowFile) -> CountedFile:
        return SlowFile(file, self.counter, SlowGets(self.properties))
