"""Files of a table as Arrow streams, whatever catalog and store they came from."""

from typing import cast

import pyarrow as pa
from pyiceberg.io import FileIO


def open_input(io: FileIO, path: str) -> pa.NativeFile:
    """Open a file for reading. pyiceberg's Arrow ``FileIO`` gives native Arrow files behind its protocol."""
    return cast("pa.NativeFile", io.new_input(path).open())


def open_output(io: FileIO, path: str) -> pa.NativeFile:
    """Create a file for writing; raises FileExistsError where there is one."""
    return cast("pa.NativeFile", io.new_output(path).create())
