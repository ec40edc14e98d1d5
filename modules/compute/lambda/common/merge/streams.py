"""Files of a table as Arrow streams, whatever catalog and store they came from."""

import logging
from collections.abc import Iterable
from typing import cast

import pyarrow as pa
from pyiceberg.io import FileIO

logger = logging.getLogger(__name__)


def open_input(io: FileIO, path: str) -> pa.NativeFile:
    """Open a file for reading. pyiceberg's Arrow ``FileIO`` gives native Arrow files behind its protocol."""
    return cast("pa.NativeFile", io.new_input(path).open())


def open_output(io: FileIO, path: str) -> pa.NativeFile:
    """Create a file for writing; raises FileExistsError where there is one."""
    return cast("pa.NativeFile", io.new_output(path).create())


def remove_files(io: FileIO, paths: Iterable[str]) -> None:
    """Remove files that no snapshot needs; one that cannot be removed stays as a harmless orphan."""
    for path in paths:
        try:
            io.delete(path)
        except OSError as error:
            logger.warning("could not remove %s, which is no longer needed: %s", path, error)
