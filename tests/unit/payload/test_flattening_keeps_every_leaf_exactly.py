"""Flattening against a plain oracle: the standard library's JSON reader, told to convert nothing."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.payload.columns import NOTE, Columns, Limits, notes_of, path_note
from common.payload.flattening import flatten, flatten_rows
from common.payload.leaves import (
    PARTITION_FIELDS,
    RESERVED_COLUMNS,
    column_name,
    json_text,
    normalised,
    normalised_each,
    rescued_object,
)

from ...support.generated import cases

DEFAULT = Limits()
REPOSITORY = Path(__file__).parents[3]


def owned(*paths: tuple[str, ...], limits: Limits = DEFAULT) -> Columns:
    """The columns of a table, named by the paths that own them."""
    return Columns(
        {column: path_note(path) for path in paths if (column := column_name(path))}, limits=limits
    )


def rows(
    payloads: Sequence[str | None], columns: Columns | None = None, limits: Limits = DEFAULT
) -> list[Any]:
    table = flatten(pa.array(payloads, pa.string()), columns or Columns(limits=limits))
    return [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()]


def many(payload: str) -> list[str]:
    """Enough copies for a shape to be learned, the payload itself in front."""
    return [payload] * 40


@pytest.fixture(params=["one row", "many rows"])
def row(request: pytest.FixtureRequest) -> Callable[..., dict[str, str]]:
    def read(payload: str, **options: Any) -> dict[str, str]:
        found = rows([payload] if request.param == "one row" else many(payload), **options)
        first: dict[str, str] = found[0]
        assert all(other == first for other in found)
        return first

    return read


Row = Callable[..., dict[str, str]]


@pytest.mark.parametrize(
    "number",
    [
        "1.10",
        "12345678901234567890",
        "123456789012345678901234567890",
        "1e2",
        "1E400",
        "-0",
        "-0.0",
        "0",
        "-1",
    ],
)
def test_numbers_stay_as_written(row: Row, number: str) -> None:
    assert row(f'{{"a":{number}}}') == {"a": number}


@pytest.mark.parametrize("text", ['[1.10, {"b" : -0}]', "[]", "{}", "{ }", "true", "false"])
def test_arrays_empty_objects_and_booleans_stay_as_written(row: Row, text: str) -> None:
    assert row(f'{{"a": {text} }}') == {"a": text}


def test_strings_are_decoded(row: Row) -> None:
    assert row(r'{"a":"caf\u00e9 \"q\" \ud83d\ude00 \/","b":"","c":"1.10"}') == {
        "a": 'café "q" 😀 /',
        "b": "",
        "c": "1.10",
    }


def test_null_is_the_same_as_absent(row: Row) -> None:
    assert row('{"a":null,"b":{"c":null},"d":1}') == {"d": "1"}


def test_names_are_paths_lower_cased_and_normalised(row: Row) -> None:
    assert row('{"Device":{"ID":1},"größe":2,"1st":3,"a.b c":4}') == {
        "device__id": "1",
        "gr__e": "2",
        "n_1st": "3",
        "a_b_c": "4",
    }


KEYS = st.text(st.sampled_from(["a", "Z", "0", "_", " ", "\n", "\0", "é", "İ", "\u212a", "Σ", "\ud800"]))


@settings(max_examples=cases(100), deadline=None)
@given(st.lists(st.lists(KEYS, min_size=1, max_size=3).map(tuple)))
def test_names_that_are_made_together_are_those_that_are_made_alone(paths: list[tuple[str, ...]]) -> None:
    assert normalised_each(paths) == [normalised(path) for path in paths]


@pytest.mark.parametrize("payload", ['{"a":{"b":"x"},"A__B":1.10}', '{"A__B":1.10,"a":{"b":"x"}}'])
def test_of_two_paths_with_one_name_the_one_that_owns_the_column_has_it(row: Row, payload: str) -> None:
    assert row(payload) == {"a__b": "x", "_rescued": '{"/A__B":1.10}'}
    assert row(payload, columns=owned(("A__B",))) == {"a__b": "1.10", "_rescued": '{"/a/b":"x"}'}


def test_a_key_written_twice_loses_neither_value(row: Row) -> None:
    assert row('{"a":1,"a":2,"a":3,"a":4}') == {"a": "1", "_rescued": '{"/a":2,"/a#2":3,"/a#3":4}'}
    assert row('{"a":{"b":1},"a":{"c":2}}') == {"a__b": "1", "a__c": "2"}


def numbered_one_by_one(pointers: Iterable[str]) -> list[str]:
    """What each pointer is called: the next of ``p``, ``p#2``, ``p#3`` and so on that nothing has."""
    taken: list[str] = []
    for pointer in pointers:
        names = (pointer if number == 1 else f"{pointer}#{number}" for number in range(1, 99))
        taken.append(next(name for name in names if name not in taken))
    return taken


LIKE_EACH_OTHER = ["", "a", "a#2", "a#2#2", "a!", "a#", "b", '"', "é", "\t", "\ud800", "~1", "~0"]


@settings(max_examples=cases(300), deadline=None)
@given(st.lists(st.lists(st.sampled_from(LIKE_EACH_OTHER), min_size=1, max_size=3), max_size=30))
def test_repeated_pointers_are_numbered_and_in_order_whatever_they_are_like(paths: list[list[str]]) -> None:
    entries = [("".join(f"/{key}" for key in path), str(place)) for place, path in enumerate(paths)]
    names = numbered_one_by_one(pointer for pointer, _ in entries)
    members = [f"{json_text(name)}:{raw}" for name, (_, raw) in sorted(zip(names, entries, strict=True))]
    assert rescued_object(entries) == ("{" + ",".join(members) + "}" if members else None)


def test_a_repeated_key_is_seen_whatever_white_space_surrounds_it() -> None:
    regular = '{"a" :1,"b":[1, 2]}'
    assert rows([*many(regular), '{"a":1,"a":1,"b":[1]}', '{"a":1,"b":[1],"b": 2}'])[-2:] == [
        {"a": "1", "b": "[1]", "_rescued": '{"/a":1}'},
        {"a": "1", "b": "[1]", "_rescued": '{"/b":2}'},
    ]


def test_reserved_and_unusable_names_are_rescued(row: Row) -> None:
    found = row('{"message_id":"x","_a":1,"":2,"$b":3,"a/~":4,"ok":5,"' + "l" * 256 + '":6}')
    assert found["ok"] == "5"
    assert found["a__"] == "4"
    assert json.loads(found["_rescued"]) == {
        "/message_id": "x",
        "/_a": 1,
        "/": 2,
        "/$b": 3,
        "/" + "l" * 256: 6,
    }


def test_rows_without_anything_to_rescue_are_not_lost_among_those_with_it() -> None:
    assert rows(['{"a":1}', '{"_x":2}'] * 20) == [{"a": "1"}, {"_rescued": '{"/_x":2}'}] * 20


def test_reserved_names_are_the_columns_of_curated() -> None:
    spec = json.loads((REPOSITORY / "modules/storage/tables/curated.json").read_text())
    assert {f["name"] for f in spec["schema"]["fields"]} | {"json_payload"} == RESERVED_COLUMNS


def test_reserved_names_are_the_partition_fields_of_all_specifications() -> None:
    specs = [json.loads(path.read_text()) for path in (REPOSITORY / "modules/storage/tables").iterdir()]
    assert {
        field["name"]
        for spec in specs
        for kind in ("partition-spec", "partition-spec-low-volume")
        for field in spec[kind]
    } == PARTITION_FIELDS


def test_what_is_nested_too_deep_is_rescued_as_written(row: Row) -> None:
    found = row('{"a":{"b":{"c": 1.0 },"d":2,"e":{}}}', limits=Limits(depth=2))
    assert found == {"a__d": "2", "a__e": "{}", "_rescued": '{"/a/b":{"c": 1.0 }}'}


def test_columns_beyond_the_limit_are_rescued_the_least_used_first_then_by_name() -> None:
    payloads = ['{"b":2,"a":3}', '{"c":1}', '{"z":4,"c":5}']
    assert rows(payloads, owned(("z",), limits=Limits(columns=3))) == [
        {"a": "3", "_rescued": '{"/b":2}'},
        {"c": "1"},
        {"z": "4", "c": "5"},
    ]


@pytest.mark.parametrize(
    "text",
    ["", "no", "[1]", '"x"', '{"a":}', '{"a":01}', '{"a":NaN}', '{"a":[NaN]}', '{"a":1} x', '{"a":"\n"}'],
)
def test_what_is_no_object_is_kept_whole(row: Row, text: str) -> None:
    assert json.loads(row(text)["_rescued"]) == {"#unparsable": text}


def test_nesting_beyond_reason_is_kept_and_not_an_error(row: Row) -> None:
    text = '{"a":' * 50_000 + "1" + "}" * 50_000
    assert json.loads(row(text)["_rescued"]) == {"#unparsable": text}
    arrays = '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"
    assert json.loads(row(arrays)["_rescued"]) == {"#unparsable": arrays}


def test_half_a_surrogate_pair_is_rescued_as_written(row: Row) -> None:
    assert row('{"a":"\\ud800","b":"x"}') == {"b": "x", "_rescued": '{"/a":"\\ud800"}'}


def test_bytes_that_are_not_utf8_do_not_stop_the_others() -> None:
    broken = pa.array([b'{"a":"\xff"}', *(b'{"a":"x"}' for _ in range(30))]).view(pa.string())
    table = flatten(broken)
    assert table["a"].to_pylist() == [None, *["x"] * 30]
    assert "#unparsable" in table["_rescued"][0].as_py()


def test_a_null_payload_is_a_row_of_nulls() -> None:
    assert rows([None, '{"a":1}', None]) == [{}, {"a": "1"}, {}]


def test_no_payloads_give_no_rows() -> None:
    found = flatten(pa.array([], pa.string()))
    assert (found.num_rows, found.column_names) == (0, ["_rescued"])


def test_what_raw_has_of_an_event_beside_the_envelope_stays_there_and_its_name_is_free() -> None:
    row = {"idempotency_key": "k", "json_payload": '{"source": "of the device"}', "source": "boats@1"}
    (batch,) = flatten_rows(pa.Table.from_pylist([row | {"added_by_hand": 1}]).to_batches(), Columns())
    found = {name: batch[name][0].as_py() for name in batch.schema.names if name != "_rescued"}
    assert found == {"idempotency_key": "k", "source": "of the device"}


def test_rows_keep_their_order_across_chunks_and_shapes() -> None:
    texts = [
        f'{{"i":{i}}}' if i % 3 else f'{{"k":{{"x":null}},"i":"{i}"}}' if i % 2 else "odd"
        for i in range(2000)
    ]
    chunked = pa.chunked_array([pa.array(texts[:700]), pa.array(texts[600:]).slice(100)])
    found = flatten(chunked)["i"].to_pylist()
    assert found == [None if t.startswith("odd") else str(i) for i, t in enumerate(texts)]


# ---- generated payloads against the oracle


class Written(str):
    """A number as written."""

    __slots__ = ()


Keys = tuple[str, ...]


def oracle(payload: str, owners: dict[str, str], depth: int) -> dict[str, str]:
    """One row, by the rules and nothing else; arrays are compared as values, not as source text.

    ``owners``: the JSON Pointer of each column's path.
    """

    def walk(
        pairs: Iterable[tuple[str, Any]], path: tuple[str, ...]
    ) -> Iterator[tuple[tuple[str, ...], Any]]:
        for key, value in pairs:
            if isinstance(value, tuple) and value and len(path) + 1 < depth:
                yield from walk(value, (*path, key))
            elif value is not None:
                yield (*path, key), value

    reader = json.JSONDecoder(parse_int=Written, parse_float=Written, object_pairs_hook=tuple)
    row: dict[str, str] = {}
    rescued: list[tuple[str, Any]] = []
    for path, value in walk(reader.decode(payload), ()):
        name = re.sub("[^a-z0-9_]", "_", "__".join(path).lower())
        name = f"n_{name}" if name[:1].isdigit() else name
        pointer = "".join("/" + k.replace("~", "~0").replace("/", "~1") for k in path)
        too_deep = isinstance(value, tuple) and bool(value)
        if too_deep or owners.get(name) != pointer or name in row:
            rescued.append((pointer, value))
        else:
            row[name] = shown(value)
    if rescued:
        row["_rescued"] = repr(sorted(map(repr, (plain(v) for _, v in rescued))))
    return row


def plain(value: Any) -> Any:
    return list(map(plain, value)) if isinstance(value, list | tuple) else value


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str) else repr(plain(value))


def comparable(row: dict[str, str], expected: dict[str, str]) -> dict[str, str]:
    """Bring arrays and ``_rescued`` to the oracle's form."""
    reader = json.JSONDecoder(parse_int=Written, parse_float=Written, object_pairs_hook=tuple)
    found = {}
    for name, text in row.items():
        if name == "_rescued":
            found[name] = repr(sorted(map(repr, (plain(v) for _, v in reader.decode(text)))))
        elif text != expected.get(name) and text[:1] in "[{":
            found[name] = shown(reader.decode(text))
        else:
            found[name] = text
    return found


KEYS = st.sampled_from(["a", "A", "b", "c__d", "c", "d", "_x", "message_id", "ü", 'q"', "", "1", "e.f"])
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
STRINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6).map(
    lambda text: json.dumps(text, ensure_ascii=len(text) % 2 == 0)
)
BLANKS = st.sampled_from(["", "", "", " ", "\n", "\t "])


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.tuples(BLANKS, KEYS.map(json.dumps), BLANKS, BLANKS, values, BLANKS)
    members = st.lists(member.map(lambda m: f"{m[0]}{m[1]}{m[2]}:{m[3]}{m[4]}{m[5]}"), max_size=5)
    return members.map(lambda found: "{" + ",".join(found) + "}")


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(BLANKS, st.lists(values, max_size=3)).map(lambda v: f"[{v[0]}" + ", ".join(v[1]) + "]")


VALUES = st.recursive(
    NUMBERS | STRINGS | st.sampled_from(["true", "false", "null"]),
    lambda v: objects(v) | arrays(v),
    max_leaves=8,
)
PAYLOADS = objects(VALUES)


@settings(max_examples=cases(150), deadline=None)
@given(st.lists(PAYLOADS, min_size=1, max_size=6), st.integers(1, 4), st.lists(st.integers(0, 5), min_size=1))
def test_any_payloads_give_what_the_oracle_gives(payloads: list[str], depth: int, picks: list[int]) -> None:
    texts = [payloads[pick % len(payloads)] for pick in picks] * 8
    flattened = flatten(pa.array(texts), Columns(limits=Limits(depth=depth)))
    owners = {name: json.loads(note.removeprefix(NOTE)) for name, note in notes_of(flattened.schema).items()}
    assert owners.keys() == set(flattened.column_names) - {"_rescued"}
    assert not any(name.startswith("_") for name in owners.keys() | RESERVED_COLUMNS & owners.keys())
    for text, row in zip(texts, flattened.to_pylist(), strict=True):
        expected = oracle(text, owners, depth)
        found = {name: value for name, value in row.items() if value is not None}
        assert comparable(found, expected) == expected


@settings(max_examples=cases(100), deadline=None)
@given(st.lists(PAYLOADS | st.text(max_size=5), min_size=1, max_size=5), st.integers(1, 3), st.integers(0, 6))
def test_reading_by_shape_and_row_by_row_give_the_same(payloads: list[str], depth: int, columns: int) -> None:
    limits = Limits(depth, columns)
    owners = notes_of(flatten(pa.array(payloads), Columns(limits=limits)).schema)
    known = Columns(owners, limits=Limits(depth, len(owners)))
    by_shape = rows(payloads * 20, known)
    one_by_one = [rows([payload], known)[0] for payload in payloads]
    assert by_shape == one_by_one * 20
