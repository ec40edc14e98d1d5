"""The leaves of one JSON object, exactly as written and in document order: the rule that flattening follows.

A leaf is whatever is neither null nor a non-empty object: a number, string, boolean, array or ``{}``. This
module is the plain statement of what each leaf's text is and what its column is called; it sees what JSON
libraries hide (repeated keys, the source text of numbers and arrays). ``common.json_shapes`` does the same
much faster for payloads that look alike, and leaves the rest to this.
"""

import json
import re
from functools import lru_cache
from typing import Final, NamedTuple, NoReturn

Path = tuple[str, ...]

# AWS Glue: a column name has at most 255 characters.
NAME_LENGTH: Final = 255
# Columns of the Curated table that are not payload (a test compares), and RAW's text column.
RESERVED_COLUMNS: Final = frozenset(
    {
        "message_id",
        "idempotency_key",
        "topic_name",
        "period_reference",
        "correlation_id",
        "publish_time",
        "ingestion_ts",
        "json_payload",
        "_rescued",
        "_merge_seq",
    }
)
UNPARSABLE: Final = "#unparsable"

# RFC 8259, sections 2, 6 and 7. Possessive quantifiers: a text that does not match fails at once.
_SPACE: Final = r"[ \t\n\r]*+"
_STRING: Final = r"""\"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+\""""
_LITERAL: Final = r"true|false|null|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
_MEMBER: Final = re.compile(
    rf"{_SPACE}(?P<key>{_STRING}){_SPACE}:{_SPACE}(?:(?P<string>{_STRING})|(?P<literal>{_LITERAL})|(?=[\[{{]))"
)
_AFTER_MEMBER: Final = re.compile(rf"{_SPACE}([,}}])")
_EMPTY_OBJECT: Final = re.compile(rf"\{{{_SPACE}\}}")
_OBJECT_START: Final = re.compile(rf"{_SPACE}(?=\{{)")
_SPACE_TO_END: Final = re.compile(rf"{_SPACE}\Z")
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9_]")


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


@lru_cache(maxsize=8192)
def column_name(path: Path) -> str | None:
    """The column of a path: its keys joined by ``__``, lower-cased, anything but a-z, 0-9 and _ made ``_``.

    A name that would start with a digit gets the prefix ``n_``. None where there can be no column: the name
    is reserved, starts with ``_`` (the pipeline's own columns do), is empty or is longer than Glue allows.
    """
    name = _NOT_IN_NAMES.sub("_", "__".join(path).lower())
    if name[:1].isdigit():
        name = f"n_{name}"
    if not name or name.startswith("_") or name in RESERVED_COLUMNS or len(name) > NAME_LENGTH:
        return None
    return name


@lru_cache(maxsize=8192)
def pointer(path: Path) -> str:
    """The path as a JSON Pointer (RFC 6901), which keeps every key exactly."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)


def json_text(text: str) -> str:
    """A JSON string literal; half surrogate pairs, which UTF-8 cannot hold, stay escaped."""
    return json.dumps(text, ensure_ascii=not _encodable(text))


def rescued_object(entries: list[tuple[str, str]]) -> str | None:
    """The ``_rescued`` text of a row from (pointer, raw JSON) pairs, sorted by pointer; None for none.

    A pointer that occurs again (a key written twice) gets ``#2``, ``#3`` and so on, so that none is lost.
    """
    values: dict[str, str] = {}
    for name, raw in entries:
        free, count = name, 1
        while free in values:
            count += 1
            free = f"{name}#{count}"
        values[free] = raw
    if not values:
        return None
    return "{" + ",".join(f"{json_text(name)}:{values[name]}" for name in sorted(values)) + "}"


def read_leaves(payload: str, max_depth: int) -> list[Leaf]:
    """The leaves of a JSON object in document order; raises NotAnObject for anything else.

    A non-empty object whose own path has ``max_depth`` keys is one leaf without column text: what lies
    deeper has no column. Grammar: RFC 8259, strictly.
    """
    start = _OBJECT_START.match(payload)
    if start is None:
        raise NotAnObject("expected an object")
    try:
        end, leaves = _object(payload, start.end(), (), max_depth)
    except (ValueError, RecursionError) as error:  # of an array, or of nesting beyond any device
        raise NotAnObject(str(error)) from error
    if not _SPACE_TO_END.match(payload, end):
        raise NotAnObject(f"expected nothing after the object, at character {end}")
    return leaves


def _object(text: str, start: int, path: Path, max_depth: int) -> tuple[int, list[Leaf]]:
    """End and leaves of the object whose ``{`` is at ``start``."""
    leaves: list[Leaf] = []
    if empty := _EMPTY_OBJECT.match(text, start):
        return empty.end(), leaves
    position = start + 1
    while True:
        member = _MEMBER.match(text, position)
        if member is None:
            raise NotAnObject(f"expected a member of an object at character {position}")
        inner = (*path, _string(member["key"]))
        position = member.end()
        if (literal := member["literal"]) is not None:
            if literal != "null":
                leaves.append(Leaf(inner, literal, literal))
        elif (string := member["string"]) is not None:
            decoded = _string(string)
            leaves.append(Leaf(inner, string, decoded if _encodable(decoded) else None))
        else:
            position, found = _container(text, position, inner, max_depth)
            leaves += found
        after = _AFTER_MEMBER.match(text, position)
        if after is None:
            raise NotAnObject(f"expected , or }} at character {position}")
        position = after.end()
        if after[1] == "}":
            return position, leaves


def _container(text: str, start: int, path: Path, max_depth: int) -> tuple[int, list[Leaf]]:
    """End and leaves of the array or object at ``start``."""
    if text[start] == "[":
        end = _ARRAYS.raw_decode(text, start)[1]
        raw = text[start:end]
        return end, [Leaf(path, raw, raw)]
    end, leaves = _object(text, start, path, max_depth)
    raw = text[start:end]
    if _EMPTY_OBJECT.fullmatch(raw):
        return end, [Leaf(path, raw, raw)]
    return end, leaves if len(path) < max_depth else [Leaf(path, raw, None)]


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
    """Only the end of an array is wanted: no number is converted (and none can be too long to be)."""


_ARRAYS: Final = json.JSONDecoder(parse_constant=_no_constant, parse_int=_no_number, parse_float=_no_number)
