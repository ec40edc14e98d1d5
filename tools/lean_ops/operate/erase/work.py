"""The work list of an erasure: what it has before it, in clear, from before the first removal to the last.

It lies where the data lies that it speaks of, under the same protection. Whoever repeats a killed erasure
finds in it what was selected, though the rows that a condition selected may be gone by then. It is removed,
with its versions, when the certificate is written.
"""

from datetime import datetime
from typing import Final

import msgspec

from common.runtime.errors import PermanentError
from lean_ops.operate.erase.objects import Objects

PREFIX: Final = "erasures/work/"


class WorkUnreadable(PermanentError):  # noqa: N818 - it is unreadable; "error" would say less
    """The work list of an erasure that was begun cannot be read."""


class Work(msgspec.Struct, frozen=True):
    """One erasure. ``by``: how its keys were selected. ``until``: what was published up to then is erased.

    ``values``: texts to look for at the end, of ``values_found``. ``before``: what was found, by place.
    """

    id: str
    topic: str
    by: str
    begun: datetime
    until: datetime
    keys: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    values_found: int = 0
    before: dict[str, dict[str, int]] = {}


def save(objects: Objects, work: Work) -> None:
    """Put a work list where a repetition finds it."""
    objects.put(_key(work.topic), msgspec.json.encode(work))


def unfinished(objects: Objects, topic: str) -> Work | None:
    """The erasure of a topic that was begun and not finished; raises WorkUnreadable."""
    content = objects.get(_key(topic))
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=Work)
    except msgspec.MsgspecError as error:
        raise WorkUnreadable(
            f"s3://{objects.bucket}/{_key(topic)}: expected the work list of an erasure that was begun, "
            "found "
            f"something else ({type(error).__name__}); restore the object's earlier version, or remove it "
            "and give the erasure's command again"
        ) from None


def remove(objects: Objects, topic: str) -> None:
    """Remove the work list with its versions."""
    objects.remove_whole([_key(topic)])


def is_work(key: str) -> bool:
    """Whether an object is a work list, which says in clear what the search is for."""
    return key.startswith(PREFIX)


def _key(topic: str) -> str:
    return f"{PREFIX}{topic}.json"
