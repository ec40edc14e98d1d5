"""The short way of the most frequent message: one reading in plain JSON, with a count of time since 1970.

It gives what ``Source.read`` gives, in one pass over the text, or nothing: whatever is missing, odd or wrong
about a message is left to the long way, which has the rules and the words for it. A test holds them together.
"""

from collections.abc import Callable, Mapping
from hashlib import blake2b as _hash
from typing import Any, Final

import msgspec

from common.intake.events import MAX_FUTURE_US, MAX_NESTING, SURELY_FLAT, EventParser, RawRecord
from common.intake.sources.paths import plain_names
from common.intake.sources.scope import rfc3339
from common.intake.sources.times import UNITS
from common.runtime.errors import RejectedEvent

Express = Callable[[str, Mapping[str, str], EventParser, int], tuple[str, bytes] | None]
"""Topic and record, as ``EventParser.parse`` gives them, of a message's text, the captures of its topic, the
parser and the time of ingestion in microseconds."""

# Whatever else a source may say takes the long way.
_KNOWN: Final = frozenset(
    {"version", "description", "match", "topic", "key", "time", "not_before", "payload", "id", "delete"}
)
_MAX_KEY: Final = 256
_TIME: Final = "$time"

# A float is its text, as in ``slices.canonical``.
_OPENS, _CLOSES = b"{}"
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
    key_of, last, marks = _key(parts), at[-1], len(parts) - 1
    outer, gone = at[:-1], deleted[0] if deleted else None

    def read(
        content: str, captures: Mapping[str, str], parser: EventParser, ingestion_us: int
    ) -> tuple[str, bytes] | None:
        try:
            data = content.encode()
            # Escapes hide what is counted below, blanks around it would be part of the payload.
            if (
                (b"\\" in data and b"\\u" in data)
                or data[0] != _OPENS
                or data[-1] != _CLOSES
                or (len(data) > SURELY_FLAT and data.count(b"{") + data.count(b"[") > MAX_NESTING)
            ):
                return None
            holder = found = _read(data)
            for name in outer:
                holder = holder[name]
            counted = holder[last]
            if (
                type(counted) is not int
                or (gone is not None and gone in found)
                or not not_before_us <= (us := counted * unit) <= ingestion_us + MAX_FUTURE_US
            ):
                return None
            key, ordered = key_of(found, us, captures), _sorted(found)
            # A name that is there twice is written once: a colon is missing then.
            if ordered.count(b":") != content.count(":"):
                return None
            # The key is its parts with a mark between them, none empty or to be escaped.
            if (
                not 0 < len(key) <= _MAX_KEY
                or "\\" in key
                or key.count("|") != marks
                or (marks and (key[0] == "|" or key[-1] == "|" or "||" in key))
            ):
                return None
            name_of_key = key.encode()
            identity = b"%b%d|%b|%d|%b" % (salt, len(name_of_key), name_of_key, us, ordered)
            row = RawRecord(
                _hash(identity, digest_size=16).hexdigest(),
                key, topic, None, None, us, ingestion_us, content, None, label,
            )  # fmt: skip
            return topic, parser.record(row)
        except (RejectedEvent, msgspec.MsgspecError, ValueError, LookupError, TypeError):
            return None

    return read


def _key(parts: list[Any]) -> Callable[[dict[str, Any], int, Mapping[str, str]], str]:
    """The key of a message; raises LookupError or TypeError where the long way has to look."""

    def one(part: Any) -> Callable[[dict[str, Any], int, Mapping[str, str]], str]:
        if part == _TIME:
            return lambda _found, us, _captures: rfc3339(us)
        if type(part) is str:
            return lambda _found, _us, captures: captures[part[1:]]
        return lambda found, _us, _captures: _text(found, part)

    made = [one(part) for part in parts]
    if len(made) == 1:
        return made[0]
    if len(made) == 2:  # the most frequent: a device and its time
        first, second = made
        return lambda found, us, captures: f"{first(found, us, captures)}|{second(found, us, captures)}"
    return lambda found, us, captures: "|".join([part(found, us, captures) for part in made])


def _text(found: Any, names: tuple[str, ...]) -> str:
    """The text at a path, or a whole number but zero, which may have been written -0.

    Raises LookupError or TypeError for others, and where nothing is.
    """
    for name in names:
        found = found[name]
    if type(found) is str:
        return found
    if type(found) is int and found:
        return str(found)
    raise TypeError
