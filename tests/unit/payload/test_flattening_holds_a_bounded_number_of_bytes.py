"""However many rows come, and however long or wide they are, flattening holds a bounded part of them."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from common.payload.columns import Columns
from common.payload.flattening import Flattener, flatten_rows

MIB = 2**20
STEP_BYTES = 8 * MIB
STEP_ROWS = 16_384


def batches(payloads: Iterator[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Rows as a file gives them."""
    texts = list(payloads)
    keys = [f"k{number}" for number in range(len(texts))]
    table = pa.table({"idempotency_key": keys, "json_payload": texts})
    yield from table.to_batches(max_chunksize=rows)


@pytest.fixture
def arrow() -> Iterator[pa.MemoryPool]:
    """Counts what Arrow allocates during the test."""
    pool, before = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    yield pool
    pa.set_memory_pool(before)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Rows and bytes of each step."""
    seen: list[tuple[int, int]] = []
    honest = Flattener.flatten

    def count(flattener: Flattener, payloads: Any) -> Any:
        sizes = [len(text) for text in payloads.to_pylist()]
        seen.append((len(sizes), sum(sizes)))
        return honest(flattener, payloads)

    monkeypatch.setattr(Flattener, "flatten", count)
    return seen


LONG = ('{"a":"' + "x" * 500_000 + f'","b":{n}}}' for n in range(60))
WIDE_AND_SPARSE = (
    "{" + ",".join(f'"c{(n * 7 + i * 97) % 490}":{n}' for i in range(5)) + "}" for n in range(40_000)
)
MANY = (f'{{"a":{n}}}' for n in range(40_000))


@pytest.mark.parametrize(
    ("payloads", "rows", "most"),
    [
        pytest.param(LONG, 10**6, 8 * STEP_BYTES, id="long payloads in one batch"),
        pytest.param(WIDE_AND_SPARSE, 10**6, 490 * STEP_ROWS * 5 * 6, id="wide and sparse in one batch"),
        pytest.param(MANY, 100, 8 * STEP_BYTES, id="many small batches"),
    ],
)
def test_a_step_is_bounded_in_rows_and_bytes_and_so_is_what_it_takes(
    payloads: Iterator[str], rows: int, most: int, steps: list[tuple[int, int]], arrow: pa.MemoryPool
) -> None:
    source = list(batches(payloads, rows))
    held = arrow.bytes_allocated()
    given = 0
    for batch in flatten_rows(iter(source), Columns()):
        assert batch.num_rows <= STEP_ROWS
        given += batch.num_rows
        del batch
    assert given == sum(batch.num_rows for batch in source)
    assert all(count <= STEP_ROWS and size <= STEP_BYTES for count, size in steps)
    # Neighbours are put together: no more steps than twice what would do.
    assert len(steps) <= 2 + 2 * sum(size for _, size in steps) // STEP_BYTES + 2 * given // STEP_ROWS
    peak = arrow.max_memory()
    assert peak is not None
    assert peak - held <= most


def test_a_payload_larger_than_a_step_is_a_step_of_its_own(steps: list[tuple[int, int]]) -> None:
    payloads = ['{"a":1}', '{"a":"' + "x" * STEP_BYTES + '"}', '{"a":2}']
    rows = [batch.num_rows for batch in flatten_rows(batches(iter(payloads), 10), Columns())]
    assert rows == [1, 1, 1]
    assert [count for count, _ in steps] == [1, 1, 1]
