"""The short way of the most frequent message: one reading in plain JSON, with a count of time since 1970.

It gives what ``Source.read`` gives, in one pass over the text, or nothing: whatever is missing, odd or wrong
about a message is left to the long way, which has the rules and the words for it. A test holds them together.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from common.intake.events import MAX_FUTURE_US, MAX_NESTING, EventParser, RawRecord
from common.intake.sources.outcome import Made
from common.intake.sources.paths import plain_names
from common.intake.sources.scope import rfc3339
from common.intake.sources.times import UNITS
from common.runtime.errors import RejectedEvent

Express = Callable[[str, Mapping[str, str], EventParser, int], Made | None]
"""Of a message's text, the captures of its topic, the parser and the time of ingestion in microseconds."""

# Whatever else a source may say takes the long way.
_KNOWN: Final = frozenset(
    {"version", "description", "match", "topic", "key", "time", "not_before", "payload", "id", "delete"}
)
_MAX_KEY: Final = 256
_TIME: Final = "$time"

# A float is its text, as in ``slices.canonical``.
_read: Final = msgspec.json.Decoder(dict[str, Any], float_hook=str).decode
_sorted: Final = msgspec.json.Encoder(order="sorted").encode


def express(
    written: Mapping[str, Any], label: str, salt: bytes, not_before_us: int, captures: frozenset[str]
) -> Express | None:
    """The short way of a source that compiles; None of one that says more than it knows.

    ``salt`` and ``label``: of its ids, and of RAW's column ``source``.
    """
    times, keys, identity = written["time"], written["key"], written.get("id")
    clock = times[0] if isinstance(times, list) else times
    parts = [_part(key, captures) for key in (keys if isinstance(keys, list) else [keys])]
    at = plain_names(clock["at"]) if _is_count(clock) else None
    deleted = plain_names(written["delete"]) if isinstance(written.get("delete"), str) else []
    if (
        not written.keys() <= _KNOWN
        or not at
        or deleted is None
        or ("delete" in written and not deleted)
        or None in parts
        or not isinstance(written["topic"], str)
        or written.get("payload", "@") != "@"
        or not (identity is None or (isinstance(identity, Mapping) and identity.keys() <= {"generation"}))
    ):
        return None
    return _compiled(
        written["topic"], label, salt, not_before_us, at, int(UNITS[clock["as"]]), parts, deleted
    )


def _is_count(clock: object) -> bool:
    return (
        isinstance(clock, Mapping)
        and clock.keys() == {"at", "as"}
        and isinstance(clock["at"], str)
        and isinstance(UNITS.get(clock["as"]), int)
    )


def _part(key: object, captures: frozenset[str]) -> tuple[str, ...] | str | None:
    """Of a key: the names of a path, ``$time`` or a capture as they are; None of anything else."""
    if not isinstance(key, str):
        return None
    if key == _TIME or key[1:] in captures:
        return key
    names = None if key.startswith("$") else plain_names(key)
    return tuple(names) if names else None


def _compiled(  # noqa: PLR0917 - each once, a line above
    topic: str, label: str, salt: bytes, not_before_us: int, at: list[str], unit: int, parts: list[Any],
    deleted: list[str],
) -> Express:  # fmt: skip
    def read(
        content: str, captures: Mapping[str, str], parser: EventParser, ingestion_us: int
    ) -> Made | None:
        try:
            found = _object(content)
            counted = _value(found, at)
            if type(counted) is not int or (deleted and deleted[0] in found):
                raise _LongWay  # noqa: TRY301 - one way out of a hot path
            us = counted * unit
            if not not_before_us <= us <= ingestion_us + MAX_FUTURE_US:
                raise _LongWay  # noqa: TRY301 - one way out of a hot path
            key = "|".join(
                [
                    (rfc3339(us) if part == _TIME else captures[part[1:]])
                    if type(part) is str
                    else _text(_value(found, part))
                    for part in parts
                ]
            )
            name, ordered = key.encode(), _sorted(found)
            # A name that is there twice is written once: a colon is missing then.
            if ordered.count(b":") != content.count(":") or not _is_sound(key, len(parts)):
                raise _LongWay  # noqa: TRY301 - one way out of a hot path
            identity = b"%b%d|%b|%d|%b" % (salt, len(name), name, us, ordered)
            event_id = hashlib.blake2b(identity, digest_size=16).hexdigest()
            row = RawRecord(event_id, key, topic, None, None, us, ingestion_us, content, None, label)
            return Made("", topic, parser.record(row))
        except (_LongWay, RejectedEvent, msgspec.MsgspecError, ValueError, KeyError, TypeError):
            return None

    return read


class _LongWay(Exception):  # noqa: N818 - never seen outside
    """Something that the long way is for."""


def _object(content: str) -> dict[str, Any]:
    # Escapes hide what is counted later.
    if content[:1] != "{" or content[-1:] != "}" or "\\u" in content:
        raise _LongWay
    if content.count("{") + content.count("[") > MAX_NESTING:
        raise _LongWay
    return _read(content)


def _is_sound(key: str, parts: int) -> bool:
    """Whether a key is its parts, none of them empty or with a mark that is to be escaped."""
    return (
        len(key) <= _MAX_KEY
        and "\\" not in key
        and key.count("|") == parts - 1
        and key[:1] != "|"
        and key[-1:] != "|"
        and "||" not in key
        and key != ""
    )


def _value(found: Any, names: Any) -> Any:
    """What is at a path; raises KeyError or TypeError where nothing is."""
    for name in names:
        found = found[name]
    return found


def _text(found: Any) -> str:
    """A text, or a whole number but zero, which may have been written -0; raises TypeError for others."""
    if type(found) is str:
        return found
    if type(found) is int and found:
        return str(found)
    raise TypeError
