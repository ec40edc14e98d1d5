"""A file store that answers like an object store: every open and every create takes some milliseconds longer."""

import time
from typing import Any

from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

LATENCY_S = 0.03  # first byte of a request to S3: tens of milliseconds


class SlowFile(PyArrowFile):
    """One file of the store."""

    def open(self, seekable: bool = True) -> Any:
        time.sleep(LATENCY_S)
        return super().open(seekable)

    def create(self, overwrite: bool = False) -> Any:
        time.sleep(LATENCY_S)
        return super().create(overwrite)


class SlowFileIO(PyArrowFileIO):
    """For the catalog property ``py-io-impl``."""

    def new_input(self, location: str) -> PyArrowFile:
        return self._slow(super().new_input(location))

    def new_output(self, location: str) -> PyArrowFile:
        return self._slow(super().new_output(location))

    @staticmethod
    def _slow(file: PyArrowFile) -> PyArrowFile:
        file.__class__ = SlowFile
        return file
