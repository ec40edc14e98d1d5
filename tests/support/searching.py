"""Which files of a folder have a text in them, read without the code that is tested."""

import base64
import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{16,}={0,2}")


def files_with(folder: Path, *texts: str) -> dict[Path, list[str]]:
    """Files under ``folder`` whose name, bytes or decoded content has one of the texts, and which."""
    found: dict[Path, list[str]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        contents = [str(path.relative_to(folder)).encode(), *_contents(path)]
        if here := [text for text in texts if any(text.encode() in content for content in contents)]:
            found[path] = here
    return found


def _contents(path: Path) -> Iterator[bytes]:
    raw = path.read_bytes()
    yield raw
    if raw[:4] == b"PAR1":
        with pq.ParquetFile(path) as file:
            yield repr(file.read().to_pydict()).encode()
            yield repr(file.metadata.to_dict()).encode()
    elif raw[:4] == b"Obj\x01":
        yield from _inflated(raw)
    elif raw[:2] == b"\x1f\x8b":
        yield gzip.decompress(raw)
    for word in _BASE64.findall(raw):
        whole = word.rstrip(b"=")
        yield base64.b64decode(whole[: len(whole) // 4 * 4])


def _inflated(content: bytes) -> Iterator[bytes]:
    """Blocks of an Avro file: between its markers, whatever comes before the deflated bytes."""
    marker = content[-16:]
    for block in content.split(marker):
        for start in range(min(24, len(block))):
            try:
                yield zlib.decompressobj(-15).decompress(block[start:])
            except zlib.error:
                continue
