"""A generator that somebody leaves half-way ends where garbage is collected, and must not wait for threads.

That may be in the middle of a thread's start, under a lock of ``threading`` that every thread needs to end:
a run then stood still until the function's time was over, once in a few hundred tries on a busy machine.
"""

import ast
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from common.lake import reading
from common.lake.reading import decoded_sizes, read_rows
from lean_ops.environment.repository import ROOT

from ..support.topic import TopicLake, event


def generators_around(code: str) -> Iterator[str]:
    """Names of generators that yield inside a pool of threads; what is a context ends where it is left."""
    for function in ast.walk(ast.parse(code)):
        if not isinstance(function, ast.FunctionDef) or any(
            "contextmanager" in ast.unparse(one) for one in function.decorator_list
        ):
            continue
        for block in ast.walk(function):
            if isinstance(block, ast.With) and any(
                "Executor(" in ast.unparse(item.context_expr) for item in block.items
            ):
                inside = [node for statement in block.body for node in ast.walk(statement)]
                if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in inside):
                    yield function.name


def test_no_generator_yields_inside_a_pool_of_threads() -> None:
    bad = "def f():\n    with ThreadPoolExecutor(1) as pool:\n        yield 1\n"
    assert list(generators_around(bad)) == ["f"]
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in ("modules", "tools")
        for path in (ROOT / folder).rglob("*.py")
        for name in generators_around(path.read_text())
    }
    assert not found


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A table of a dozen files."""
    lake = TopicLake(tmp_path_factory.mktemp("lake"))
    for number in range(12):
        lake.append([event(f"k{number}", f"m{number}", number, number)])
    return lake.table("raw")


READERS: dict[str, Callable[[Any], Iterator[Any]]] = {
    "sizes of files": lambda raw: decoded_sizes(raw, (task.file for task in raw.scan().plan_files())),
    "rows": lambda raw: iter(read_rows(raw)),
}


@pytest.mark.parametrize("reader", READERS)
def test_what_is_left_half_way_ends_while_no_thread_can(
    raw: Any, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH_ROWS", 1)
    left = [READERS[reader](raw)]
    next(left[0])

    def collect() -> None:
        with threading._shutdown_locks_lock:  # type: ignore[attr-defined] # as in the start of a thread
            left.clear()

    collector = threading.Thread(target=collect, daemon=True)
    collector.start()
    collector.join(60)
    stands_still = collector.is_alive()
    if stands_still:
        threading._shutdown_locks_lock.release()  # type: ignore[attr-defined] # or nothing here ever ends
    assert not stands_still
