"""The leaves of one JSON object, exactly as written and in document order: the rule that flattening follows.

A leaf is whatever is neither null nor a non-empty object: a number, string, boolean, array or ``{}``. This
module is the plain statement of what each leaf's text is and what its column is called; it sees what JSON
libraries hide (repeated keys, the source text of numbers and arrays). ``common.payload.shapes`` does the same
much faster for payloads that look alike, and leaves the rest to this.
"""

import json
import re
from collections.abc import Collection
from itertools import pairwise
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Final, NamedTuple, NoReturn

from common.intake.events import MAX_NESTING, nested_too_deep

Path = tuple[str, ...]

# AWS Glue: a column name has at most 255 characters.
NAME_LENGTH: Final = 255
ENVELOPE: Final = frozenset(
    {
        "message_id",
        "idempotency_key",
        "topic_name",
        "period_reference",
        "correlation_id",
        "publish_time",
        "ingestion_ts",
    }
)
"""Columns of RAW that Curated has as they are."""
# Columns of the Curated table that are not payload (a test compares), and RAW's text column.
RESERVED_COLUMNS: Final = ENVELOPE | {"json_payload", "_rescued", "_merge_seq", "_tombstone"}
# Partition fields of all specifications, low-volume ones too (a test compares). Iceberg's Java library reads
# no table with a column that is named like a partition field of another column, and so do Athena and Spark.
PARTITION_FIELDS: Final = frozenset({"period_reference", "publish_day", "publish_month", "key_bucket"})
NOT_FOR_LEAVES: Final = RESERVED_COLUMNS | PARTITION_FIELDS
UNPARSABLE: Final = "#unparsable"

# RFC 8259, sections 2, 6 and 7. Possessive quantifiers: a text that does not match fails at once.
_SPACE: Final = r"[ \t\n\r]*+"
_STRING: Final = r"""\"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+\""""
_LITERAL: Final = r"true|false|null|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
_NO_MEMBERS: Final = rf"\{{{_SPACE}\}}"
# Groups: key, string, literal or {}, and what stands after these two; of another container only its key.
_MEMBER: Final = re.compile(
    rf"{_SPACE}({_STRING}){_SPACE}:{_SPACE}"
    rf"(?:(?:({_STRING})|({_LITERAL}|{_NO_MEMBERS})){_SPACE}([,}}])|(?=[\[{{]))"
)
_AFTER_MEMBER: Final = re.compile(rf"{_SPACE}([,}}])")
_EMPTY_OBJECT: Final = re.compile(_NO_MEMBERS)
_OBJECT_START: Final = re.compile(rf"{_SPACE}(?=\{{)")
_SPACE_TO_END: Final = re.compile(rf"{_SPACE}\Z")
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9_]")
_NOT_IN_LINES_OF_NAMES: Final = re.compile(r"[^a-z0-9_\n]")


class NotAnObject(ValueError):  # noqa: N818 - says what the text is
    """The text is not one JSON object; only its caller sees this, and keeps the whole text instead."""


class Leaf(NamedTuple):
    """One leaf: its path of keys, its ``raw`` source text, and its column ``text``.

    ``text`` is the decoded string for a JSON string and the source text for anything else; None where it
    cannot be a column value (an object below the depth limit, a string with half a surrogate pair).
    """

    path: Path
    raw: str
    text: str | None


def normalised(path: Path) -> str:
    """The keys of a path joined by ``__``, lower-cased, anything but a-z, 0-9 and _ made ``_``.

    A name that would start with a digit gets the prefix ``n_``.
    """
    name = (path[0] if len(path) == 1 else "__".join(path)).lower()
    prefixed = f"n_{name}"
    if not (name.isascii() and prefixed.isidentifier()):
        name = _NOT_IN_NAMES.sub("_", name)
        prefixed = f"n_{name}"
    return prefixed if name[:1].isdigit() else name


def normalised_each(paths: Collection[Path]) -> list[str]:
    """``normalised`` of many paths: all at once where no key has anything that a name has not."""
    text = "\n".join(["__".join(path) for path in paths]).lower()
    if _NOT_IN_LINES_OF_NAMES.search(text) or text.count("\n") != len(paths) - 1:
        return [normalised(path) for path in paths]
    return [f"n_{name}" if name[:1].isdigit() else name for name in text.split("\n")]


def column_name(path: Path) -> str | None:
    """The column that a path may have; paths that differ may have one name in common.

    None where there can be no column: the name is reserved, starts with ``_`` (the pipeline's own columns
    do), is empty or is longer than Glue allows.
    """
    name = normalised(path)
    return name if is_usable(name) and name not in NOT_FOR_LEAVES else None


def is_usable(name: str) -> bool:
    """Whether a normalised name may be a column: not empty, not the pipeline's own, not too long for Glue."""
    return name != "" and name[0] != "_" and len(name) <= NAME_LENGTH


def may_have_columns(path: Path) -> bool:
    """Whether leaves below an object can have a column by the length of their names.

    Where they cannot, the object is one leaf: a long key repeated for each of them would take space by the
    square of what was sent.
    """
    return sum(map(len, path)) + len("__") * (len(path) - 1) <= NAME_LENGTH


def pointer(path: Path) -> str:
    """The path as a JSON Pointer (RFC 6901), which keeps every key exactly."""
    text = "/".join(path)
    if "~" not in text and text.count("/") < len(path):
        return f"/{text}"
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)


def json_text(text: str) -> str:
    """A JSON string literal; half surrogate pairs, which UTF-8 cannot hold, stay escaped."""
    literal = encode_basestring if text.isascii() or _encodable(text) else encode_basestring_ascii
    return literal(text)


def rescued_object(entries: list[tuple[str, str]]) -> str | None:
    """The ``_rescued`` text of a row from (pointer, raw JSON) pairs, sorted by pointer; None for none.

    A pointer that occurs again (a key written twice) gets ``#2``, ``#3`` and so on, so that none is lost.
    """
    if not entries:
        return None
    values = dict(entries)
    if len(values) == len(entries):
        members = [f"{json_text(name)}:{raw}" for name, raw in sorted(values.items())]
    else:
        members = _repeated(entries)
    return "{" + ",".join(members) + "}"


def _repeated(entries: list[tuple[str, str]]) -> list[str]:
    """The members of ``rescued_object`` where pointers occur again.

    A long pointer may occur a hundred thousand times, so it is compared and escaped once, where its numbered
    ones stand together: where no other pointer is one of them or between them.
    """
    values: dict[str, list[str]] = {}
    for name, raw in entries:
        values.setdefault(name, []).append(raw)
    names = sorted(values)
    for name, following in pairwise(names):
        if len(values[name]) > 1 and following.startswith(name) and following[len(name)] <= "#":
            return [f"{json_text(free)}:{raw}" for free, raw in sorted(_numbered(entries).items())]
    members = []
    for name in names:
        again = f"{json_text(name)[:-1]}#"
        numbered = sorted((str(number), raw) for number, raw in enumerate(values[name][1:], 2))
        members.append(f"{json_text(name)}:{values[name][0]}")
        if numbered:
            members.append(again + f",{again}".join([f'{number}":{raw}' for number, raw in numbered]))
    return members


def _numbered(entries: list[tuple[str, str]]) -> dict[str, str]:
    values: dict[str, str] = {}
    counts: dict[str, int] = {}  # where counting went on before: a key may be written thousands of times
    for name, raw in entries:
        free, count = name, counts.get(name, 1)
        while free in values:
            count += 1
            free = f"{name}#{count}"
        counts[name] = count
        values[free] = raw
    return values


def read_leaves(payload: str, max_depth: int) -> list[Leaf]:
    """The leaves of a JSON object in document order; raises NotAnObject for anything else.

    A non-empty object whose own path has ``max_depth`` keys, or is too long for a column's name, is one leaf
    without column text: what lies deeper has no column. Grammar: RFC 8259, strictly, with at most
    ``MAX_NESTING`` levels.
    """
    start = _OBJECT_START.match(payload)
    if start is None:
        raise NotAnObject("expected an object")
    if payload.count("{") + payload.count("[") > MAX_NESTING and nested_too_deep(payload):
        raise NotAnObject(f"expected at most {MAX_NESTING} levels")
    leaves: list[Leaf] = []
    try:
        empty = _EMPTY_OBJECT.match(payload, start.end())
        end = empty.end() if empty else _object(payload, start.end(), (), max_depth, leaves)
    except ValueError as error:  # of an array, or of an object below the depth limit
        raise NotAnObject(str(error)) from error
    if not _SPACE_TO_END.match(payload, end):
        raise NotAnObject(f"expected nothing after the object, at character {end}")
    return leaves


def _object(text: str, start: int, path: Path, max_depth: int, leaves: list[Leaf]) -> int:
    """Add the leaves of the object with members whose ``{`` is at ``start``; gives its end."""
    position = start + 1
    while True:
        member = _MEMBER.match(text, position)
        if member is None:
            raise NotAnObject(f"expected a member of an object at character {position}")
        key, string, literal, after = member.groups()
        inner = (*path, key[1:-1] if "\\" not in key else _string(key))
        position = member.end()
        if literal is not None:
            if literal != "null":
                leaves.append(Leaf(inner, literal, literal))
        elif string is not None:
            decoded = _string(string)
            whole = "\\" not in string or _encodable(decoded)
            leaves.append(Leaf(inner, string, decoded if whole else None))
        else:
            position = _container(text, position, inner, max_depth, leaves)
            end = _AFTER_MEMBER.match(text, position)
            if end is None:
                raise NotAnObject(f"expected , or }} at character {position}")
            position, after = end.end(), end[1]
        if after == "}":
            return position


def _container(text: str, start: int, path: Path, max_depth: int, leaves: list[Leaf]) -> int:
    """Add the leaves of the array, or of the object with members, at ``start``; gives its end."""
    if text[start] == "{" and len(path) < max_depth and may_have_columns(path):
        return _object(text, start, path, max_depth, leaves)
    end = _CONTAINERS.raw_decode(text, start)[1]
    raw = text[start:end]
    leaves.append(Leaf(path, raw, raw if raw[0] == "[" else None))
    return end


def _string(literal: str) -> str:
    """The text of a JSON string literal."""
    if "\\" not in literal:
        return literal[1:-1]
    text: str = json.loads(literal)
    return text


def _encodable(text: str) -> bool:
    """Whether UTF-8 can hold the text: JSON may escape half a surrogate pair (RFC 8259, section 8.2)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_constant(name: str) -> NoReturn:
    """JSON has no NaN and no Infinity, though Python's reader takes them."""
    raise NotAnObject(f"expected a JSON value, found {name}")


def _no_number(_: str) -> None:
    """Only the end of a container is wanted: no number is converted (and none can be too long to be)."""


_CONTAINERS: Final = json.JSONDecoder(
    parse_constant=_no_constant, parse_int=_no_number, parse_float=_no_number
)
