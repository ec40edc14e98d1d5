"""Nothing of a payload vanishes, whatever its keys are: columns and ``_rescued`` give every leaf back, once.

Reading by shape argues with what it can count in a text, so keys are what this is about: blanks, tabs,
escapes, colons, quotes, the empty key, repeated keys, keys outside of ASCII and NUL, each also written with
escapes that nobody needs.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.payload.flattening import flatten
from common.payload.leaves import column_name
from common.payload.shapes import KeyTree, Shape

from ...support.generated import cases

Leaf = tuple[str, str]


class Number(str):
    """A number as written."""

    __slots__ = ()


READER = json.JSONDecoder(parse_int=Number, parse_float=Number, object_pairs_hook=tuple)


def leaves_of(pairs: tuple[tuple[str, Any], ...], pointer: str = "") -> Iterator[Leaf]:
    """Pointer and value of every leaf, by the standard library's reader."""
    for key, value in pairs:
        here = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
        if isinstance(value, tuple) and value:
            yield from leaves_of(value, here)
        elif value is not None:
            yield here, shown(value)


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value)
    empty = "[]" if isinstance(value, list) else "{}"
    return "".join(json.dumps(value).split()) if value else empty


def name_of(pointer: str) -> str | None:
    return column_name(tuple(k.replace("~1", "/").replace("~0", "~") for k in pointer.split("/")[1:]))


def rebuilt(row: dict[str, str | None], leaves: list[Leaf]) -> None:
    """Take every value of the row out of the leaves of its payload; nothing may be left on either side."""
    left = Counter(leaves)
    rescued = READER.decode(row["_rescued"] or "{}")
    for pointer, value in rescued:
        plain = pointer.rpartition("#")[0] if (pointer, shown(value)) not in left else pointer
        assert left[plain, shown(value)] > 0, (pointer, "is rescued and not in the payload")
        left[plain, shown(value)] -= 1
    of_columns = Counter((name_of(pointer), text) for pointer, text in left.elements())
    expected = Counter(
        (name, shown(READER.decode(text)) if text[:1] in ("[", "{") else text)
        for name, text in row.items()
        if text is not None and name != "_rescued"
    )
    assert of_columns == expected


def check(payloads: list[str]) -> None:
    rows = flatten(pa.array(payloads, pa.string())).to_pylist()
    for payload, row in zip(payloads, rows, strict=True):
        rebuilt(row, list(leaves_of(READER.decode(payload))))


@pytest.mark.parametrize(
    "odd",
    [
        '{"a b c d e f g":1,"y":2,"y":3}',
        '{"a b c d e f g":1,"y":2,"y" :3}',
        '{"a b c d e f g":1,"y":2,"o":{}}',
        '{"a b c d e f g":1,"y":2,"o":{"i":{}}}',
        '{"a\\u0020b c d e f g":1,"y":2,"a b c d e f g":3}',
        '{"a b c d e f g":1,"y":2,"\\u0079":3}',
        '{"a b c d e f g":1,"o":{"i":1},"o":{"i":2}}',
        '{"a b c d e f g":1,"o":{"i":1},"o":null}',
    ],
)
def test_a_repeated_key_or_an_empty_object_beside_a_key_with_blanks_is_not_lost(odd: str) -> None:
    check([*['{"a b c d e f g":1,"y":2,"o":{"i":"x:y"}}'] * 40, odd])


def test_a_colon_that_a_key_escapes_hides_no_repeated_key() -> None:
    regular = '{"dc:title:x":1,"y":2}'
    check([*[regular] * 40, '{"dc\\u003atitle\\u003Ax":1,"y":2,"y":3,"\\u0079":4}', regular])


@pytest.mark.parametrize(
    "payload",
    [
        '{"a b c":1,"y":2}',
        '{"a b c" : 1 , "y" : "x y" }',
        '{"gr\\u00f6\\u00dfe":1,"\\u0079":2}',
        '{"größe":"a:b","NO₂":{"a b":null,"t":"10:00"}}',
        '{"dc:title":"a:b","y":{"x:y":1}}',
        '{"":1,"y":"\\u003a\\\\"}',
    ],
)
def test_a_key_of_any_kind_costs_no_row_its_shape(payload: str) -> None:
    tree = KeyTree()
    tree.learn(json.loads(payload), 8)
    reading = Shape(tree).read(pa.array([payload.encode()] * 20, pa.binary()))
    assert len(reading.odd) == 0


# ---- generated


def written(key: str, escapes: int) -> str:
    """A key as a JSON string; each bit of ``escapes`` says whether a character is escaped without need."""
    return '"' + "".join(_written(c, bool(escapes >> i & 1)) for i, c in enumerate(key)) + '"'


def _written(character: str, escaped: bool) -> str:
    if escaped and ord(character) < 0x10000:
        return f"\\u{ord(character):04x}"
    return json.dumps(character, ensure_ascii=False)[1:-1]


NAMES = ["a b", "a  b ", " ", "", "y", "Y", "a:b", ":", "a\tb", 'q"', "b\\", "\x00", "ß", "NO₂", "😀", "~"]
KEYS = st.tuples(st.sampled_from(NAMES), st.sampled_from([0, 0, 0, 1, 2, 5, 255])).map(lambda k: written(*k))
BLANKS = st.sampled_from(["", "", "", " ", "\n", "  \t"])
SCALARS = st.sampled_from(
    [
        '"\\ud800"',
        '"\\udc00"',
        '"x y"',
        '":"',
        '"\\u003a"',
        '"\\\\"',
        '"ü\\u00fc"',
        '""',
        "1.10",
        "-0",
        "true",
        "null",
        "[1, 2]",
        "{}",
    ]
)


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.tuples(BLANKS, KEYS, BLANKS, BLANKS, values, BLANKS)
    members = st.lists(member.map(lambda m: f"{m[0]}{m[1]}{m[2]}:{m[3]}{m[4]}{m[5]}"), max_size=6)
    return members.map(lambda found: "{" + ",".join(found) + "}")


PAYLOADS = objects(st.recursive(SCALARS, objects, max_leaves=6))


@settings(max_examples=cases(40), deadline=None)
@given(st.lists(PAYLOADS, min_size=1, max_size=3), st.lists(PAYLOADS, max_size=4))
def test_every_leaf_is_in_its_column_or_rescued_once(regular: list[str], odd: list[str]) -> None:
    check([*regular * 20, *odd, *regular])


@settings(max_examples=cases(40), deadline=None)
@given(PAYLOADS, st.data())
def test_one_more_member_anywhere_is_noticed(payload: str, data: st.DataObject) -> None:
    places = [i for i, c in enumerate(payload) if c == "{" and payload[i + 1 : i + 2] not in ("", "}", '"')]
    places = [i for i in places if payload[i + 1 :].lstrip()[:1] == '"'] or [0]
    place = data.draw(st.sampled_from(places))
    member = data.draw(st.tuples(KEYS, SCALARS).map(lambda m: f"{m[0]}:{m[1]}"))
    rest = payload[place + 1 :]
    more = payload[: place + 1] + member + ("" if rest.lstrip().startswith("}") else ",") + rest
    check([*[payload] * 40, more])
