"""``make bench-quick`` compares ratios with those that were kept, and says which fell."""

import importlib
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("bench_quick")


def test_what_was_kept_is_compared(quick: Any, tmp_path: Path) -> None:
    place = tmp_path / "kept.json"
    assert quick.last_kept(place) == {}
    quick.keep(place, {"a": 2.0, "b": 3.0, "gone": 1.0})
    kept = quick.last_kept(place)
    assert kept == {"a": 2.0, "b": 3.0, "gone": 1.0}
    assert quick.fallen({"a": 2.0 * quick.FELL, "b": 9.0, "new": 0.1}, kept) == []
    (said,) = quick.fallen({"a": 2.0, "b": 1.5}, kept)
    assert said == "b: expected about 3.00, found 1.50; it fell by 50%"


def test_the_table_says_whether_a_goal_is_met(quick: Any) -> None:
    row = quick.Row("work", "yardstick", 2.5, lambda: 1.0, lambda: 3.0)
    slow = quick.Row("slow", "yardstick", 3.5, lambda: 1.0, lambda: 3.0)
    for one in (row, slow):
        one.turn()
    _, _, first, second = quick.table([row, slow], {quick.name_of(row): 3.1}).splitlines()
    assert first == "| work | 1.00 s | yardstick | 3.00 s | 3.00 | ≥ 2.5 | yes | 3.10 |"
    assert second == "| slow | 1.00 s | yardstick | 3.00 s | 3.00 | ≥ 3.5 | **no** | - |"
