"""Shared objects of a layer fit the functions' machine, CPU and C library, and hold what is loaded of them.

A layer for another CPU cannot be loaded where it is built. What decides whether it loads there is read from
the files instead: the machine of the ELF header, and the newest symbol version of glibc that it asks for.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from common.runtime.errors import PermanentError

# ELF header: the magic number, and e_machine at offset 18 (System V ABI, "ELF Header").
_MAGIC: Final = b"\x7fELF"
# Of 64 bits, little-endian: where program headers and section headers are; size and number of the former;
# size, number and names of the latter. A program header: its segment's offset and size in the file.
_64_BITS_LITTLE_ENDIAN: Final = b"\x02\x01"
_HEADERS: Final = struct.Struct("<32xQQ6xHHHHH")
_SEGMENT: Final = struct.Struct("<8xQ16xQ16x")
_SECTION_HEADERS: Final = 40
_SECTION_NUMBERS: Final = 60
_MACHINES: Final = {"x86_64": 62, "aarch64": 183}
_GLIBC_SYMBOL = re.compile(rb"GLIBC_(\d+)\.(\d+)")


class ForeignBinary(PermanentError):  # noqa: N818 - the binary is foreign; "error" would say less
    """A shared object would not load on the functions' machine."""


def loaded_part(shared_object: bytes) -> bytes:
    """The shared object without what follows its segments: the tables of linkers and debuggers.

    Loading goes by segments (System V ABI, "Program Loading"); sections are named by their own headers, which
    are gone with them. What is no object of 64 bits, little-endian, is given as it is.
    """
    if not shared_object.startswith(_MAGIC + _64_BITS_LITTLE_ENDIAN):
        return shared_object
    first, _, size, number, *_ = _HEADERS.unpack_from(shared_object)
    end = max(_HEADERS.size, first + number * size)
    for place in range(first, first + number * size, size):
        end = max(end, sum(_SEGMENT.unpack_from(shared_object, place)))
    loaded = bytearray(shared_object[:end])
    struct.pack_into("<Q", loaded, _SECTION_HEADERS, 0)
    struct.pack_into("<HH", loaded, _SECTION_NUMBERS, 0, 0)
    return bytes(loaded)


def check(folder: Path, machine: str, glibc: tuple[int, int]) -> int:
    """Number of shared objects under ``folder``, all for ``machine`` and no newer glibc than ``glibc``.

    Raises ForeignBinary naming the first that would not load.
    """
    count = 0
    for path, content in _shared_objects(folder):
        count += 1
        found = int.from_bytes(content[18:20], "little")
        if found != _MACHINES[machine]:
            raise ForeignBinary(
                f"{path.relative_to(folder)}: expected a shared object for {machine} (ELF machine "
                f"{_MACHINES[machine]}), found machine {found}"
            )
        needed = max(((int(m[1]), int(m[2])) for m in _GLIBC_SYMBOL.finditer(content)), default=(0, 0))
        if needed > glibc:
            raise ForeignBinary(
                f"{path.relative_to(folder)}: expected symbols of glibc {glibc[0]}.{glibc[1]} or older, "
                f"found {needed[0]}.{needed[1]}; lock a wheel for an older manylinux"
            )
    return count


def _shared_objects(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and ".so" in p.suffixes):
        content = path.read_bytes()
        if content.startswith(_MAGIC):
            yield path, content
