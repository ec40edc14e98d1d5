"""The certificate of an erasure: what was erased, by keyed hash, where it was, and what the search saw.

It holds no key and no value in clear, so that it may be kept and shown. ``verify`` searches again: by the
hashes (rows of tables, letters, delivery errors) and, where the keys are given, for their text in every
object.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.intake.sources.registry import sources_if_any
from common.lake.specifications import LAYERS, OPERATIONS, OPERATIONS_LAYER
from common.lake.upkeep import Doomed
from common.layers.erased import Erased, Erasure, Hasher, microseconds
from common.runtime import outside
from common.runtime.errors import InvalidInput
from lean_ops.environment.target import Target
from lean_ops.operate.erase import work
from lean_ops.operate.erase.letters import Meant
from lean_ops.operate.erase.objects import Objects
from lean_ops.operate.erase.search import Searched, Wanted, search
from lean_ops.operate.rebuild.filling import erased_of, hashing_secret

PREFIX: Final = "erasures/certificates/"
LATE: Final = "late"
_ID: Final = re.compile(r"[0-9TZ]+-[0-9a-f]+")  # of an operation (lean_ops.environment.audit)
"""How keys are selected that were erased before: by what is remembered."""
FORMAT: Final = "lean-ops erasure certificate 1"


class Certificate(msgspec.Struct, frozen=True):
    """What an erasure did. Times are in UTC.

    ``keys``: keyed hashes. ``until``: what was published up to then is erased. ``by`` and ``who``: how the
    keys were selected, and whose credentials did it. ``before``: what was found, by place; ``removed``:
    what was removed. ``tables``: the snapshot that each table has been left with. ``searched``: what the
    search looked at and found. ``complete``: nothing was found, and everything was looked at.
    """

    format: str
    id: str
    environment: str
    topic: str
    by: str
    who: str
    reason: str
    begun: datetime
    ended: datetime
    until: datetime
    keys: tuple[str, ...]
    values: dict[str, int]
    before: dict[str, dict[str, int]]
    removed: dict[str, dict[str, int]]
    tables: dict[str, str]
    searched: dict[str, Any]
    complete: bool

    def written(self) -> bytes:
        """The certificate as a JSON document."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def object_key(topic: str, erasure_id: str) -> str:
    """Where a certificate lies in the lake bucket."""
    return f"{PREFIX}{topic}/{erasure_id}.json"


def find_certificate(objects: Objects, topics: Collection[str], named: str) -> Certificate:
    """A certificate by its file, or by the id of its erasure; raises InvalidInput."""
    path = Path(named)
    contents = [path.read_bytes()] if path.is_file() else []
    if not contents and _ID.fullmatch(named):
        found = (objects.get(object_key(topic, named)) for topic in topics)
        contents = [content for content in found if content is not None]
    if not contents:
        raise InvalidInput(
            f"certificate {named!r}: expected a file, or the id of an erasure of this environment, found "
            "neither; `lean-ops audit` lists erasures by their id"
        )
    try:
        certificate = msgspec.json.decode(contents[0], type=Certificate)
    except msgspec.MsgspecError as error:
        raise InvalidInput(
            f"certificate {named!r}: expected what `lean-ops erase` has written, found something else "
            f"({error})"
        ) from None
    if certificate.format != FORMAT:
        raise InvalidInput(
            f"certificate {named!r}: expected {FORMAT!r}, found another format; use the release that wrote it"
        )
    return certificate


def wanted(meant: Meant, values: Collection[str]) -> Wanted:
    """What to look for: texts, and rows and lines that are copies by their key."""
    clear = Doomed.of_keys(pa.array(sorted(meant.keys), pa.string()), meant.until_us)

    def rows(found: pa.Table) -> npt.NDArray[np.bool_]:
        return clear.among(found) | meant.erased.among(found)

    others = [topic for topic in meant.topics if topic != meant.topic]
    names = [f"{layer}_{topic}/" for topic in others for layer in LAYERS]
    names += [f"{OPERATIONS_LAYER}_{name}/" for name in OPERATIONS]  # counts and names, no value of an event
    folders = tuple(folder for name in names for folder in (name, f"rebuild_{name}"))
    keys = tuple(sorted(meant.keys))
    return Wanted(keys, tuple(values), rows, meant.lines, lambda key: key.startswith(folders))


def verify(
    target: Target,
    certificate: Certificate,
    keys: Collection[str] | None,
    on_progress: Callable[[int], None] = lambda _n: None,
) -> Searched:
    """Search again for what a certificate says is gone.

    Raises InvalidInput where ``keys`` are not its own.
    """
    hasher = Hasher(hashing_secret(target), certificate.topic)
    if keys is not None and {hasher(key) for key in keys} != set(certificate.keys):
        raise InvalidInput(
            f"certificate {certificate.id}: expected its {len(certificate.keys)} keys, found {len(keys)} "
            "given, not "
            "the same; give all of them, or none: then rows and letters are searched by the hashes"
        )
    erased = Erased(hasher, [Erasure(certificate.id, certificate.until, certificate.keys)])
    if certificate.by == LATE:  # each key until when it was erased
        erased = erased_of(target, certificate.topic)
    objects = Objects(target.client("s3"), target.lake_bucket)
    until = microseconds(certificate.until)
    sources = sources_if_any(target.client("s3"), target.lake_bucket)
    meant = Meant(certificate.topic, target.topics, frozenset(keys or ()), until, erased, sources)
    what = wanted(meant, ())
    return search(objects, what, every_version(objects), on_progress)


def every_version(objects: Objects) -> list[Any]:
    """All versions of all objects but a work list, which says what is looked for."""
    return [one for one in objects.versions() if not work.is_work(one.key)]


def as_document(searched: Searched) -> dict[str, Any]:
    """What a search saw, as JSON values."""
    return {**asdict(searched), "kinds": dict(searched.kinds), "mentioned": dict(searched.mentioned)}


def now() -> datetime:
    """The time of day, in UTC, to the second."""
    return outside.now().replace(microsecond=0)
