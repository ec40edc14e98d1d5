"""What ``WantedKeys`` finds is what Arrow's hash join finds, also of keys that are made to defeat it."""

import random
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.lake.merge.wantedkeys import WantedKeys

from ...support.generated import cases


def assert_as_a_join_finds(wanted: list[str], stored: list[list[str | None]]) -> None:
    keys = pa.array(wanted, pa.string())
    # With rows around them that are cut off: a column may begin anywhere in its buffers.
    chunks = [pa.array(["cut", *chunk, "off"], pa.string()).slice(1, len(chunk)) for chunk in stored]
    column = pa.chunked_array(chunks, pa.string())
    matches = pc.index_in(column, value_set=keys)
    expected = np.flatnonzero(matches.is_valid().to_numpy())
    rows, places = WantedKeys(keys).find(column)
    assert rows.tolist() == expected.tolist()
    assert places.tolist() == matches.take(expected).to_pylist()


PIECES = st.sampled_from(["", "a", "b", "\0", "é", "漢", "🌍", "0" * 7, "0" * 8, "1" * 8, "x" * 130])
TEXTS = st.lists(PIECES, max_size=4).map("".join)


@settings(max_examples=cases(300), deadline=None)
@given(
    wanted=st.lists(TEXTS, unique=True, max_size=12),
    stored=st.lists(st.lists(st.none() | TEXTS, max_size=12), max_size=3),
)
def test_keys_of_few_pieces(wanted: list[str], stored: list[list[str | None]]) -> None:
    assert_as_a_join_finds(wanted, [*stored, [*wanted]])


FAMILIES: dict[str, Callable[[int], str]] = {
    "random": lambda n: str(uuid.UUID(int=random.Random(n).getrandbits(128))),
    "begin alike": lambda n: "the-same-beginning-of-all-keys/" * 3 + str(n),
    "end alike": lambda n: f"{n:08d}" + "/the-same-end-of-all-keys" * 3,
    "differ only beyond what is looked at": lambda n: f"{n:06d}" + "-" * 300,
    "differ in the middle": lambda n: "device/" + f"{n:04d}" + "/2026-11-27T00:00:00.000000Z",
    "of many devices and times": lambda n: f"sensor-{n % 37}:2026-01-01T{n // 37 % 24:02d}:{n % 60:02d}:00Z",
    "short numbers": str,
    "one letter more": lambda n: "k" * n,
    "not ASCII": lambda n: "дом-" + chr(0x4E00 + n % 9000) + "-é",
    "one byte in a word": lambda n: f"{n % 10}abcdefg{n // 10 % 10}abcdefg{n // 100 % 10}abcdefg",
    "filled up with NUL": lambda n: str(n // 9) + "\0" * (n % 9),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_keys_that_are_hard_to_tell_apart(family: str) -> None:
    chance = random.Random(family)
    keys = list(dict.fromkeys(map(FAMILIES[family], range(900))))
    chance.shuffle(keys)
    wanted, others = keys[:300], keys[300:]
    stored = [*others, *chance.sample(wanted, 50), *chance.choices(wanted, k=9), "", None]
    chance.shuffle(stored)
    assert_as_a_join_finds(wanted, [stored[:400], [], stored[400:]])
    # One that is much longer than all others, wanted and stored.
    assert_as_a_join_finds([*wanted, "long" * 9000], [[*stored, "long" * 9000, "long" * 8999]])


def test_stored_keys_whose_prints_are_those_of_wanted_ones() -> None:
    """The wanted ones are told apart by their end, where each stored one is like one of them."""
    ends = [f"{n:08d}" for n in range(500)]
    assert_as_a_join_finds([f"w{end}" for end in ends], [[f"s{end}" for end in ends], [f"w{ends[7]}"]])


def compared(wanted: list[str], stored: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many stored keys are left, by the way in which they are compared."""
    counted = {"_compared": 0, "_joined": 0}
    for way in counted:
        really = getattr(WantedKeys, way)

        def counting(self: Any, left: Any, *more: Any, way: str = way, really: Any = really) -> Any:
            counted[way] += len(left)
            return really(self, left, *more)

        monkeypatch.setattr(WantedKeys, way, counting)
    WantedKeys(pa.array(wanted)).find(pa.chunked_array([stored]))
    return counted


@pytest.mark.parametrize(
    "family", ["random", "begin alike", "end alike", "differ in the middle", "short numbers"]
)
def test_almost_all_others_are_ruled_out(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [FAMILIES[family](n) for n in range(5000)]
    random.Random(1).shuffle(keys)
    left = compared(keys[:200], keys[200:], monkeypatch)
    assert sum(left.values()) < 0.06 * len(keys)


def test_keys_that_look_alike_are_joined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [FAMILIES["differ only beyond what is looked at"](n) for n in range(1000)]
    assert compared(keys[:100], keys[100:], monkeypatch) == {"_compared": 0, "_joined": 900}
    monkeypatch.undo()
    # One that is wanted says nothing of where keys differ, here not at their end.
    keys = [FAMILIES["differ in the middle"](n) for n in range(1000)]
    assert compared(keys[:1], keys[1:], monkeypatch) == {"_compared": 0, "_joined": 999}
