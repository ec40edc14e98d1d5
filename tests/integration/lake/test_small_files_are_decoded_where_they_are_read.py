"""A small file is decoded by the thread that reads it; handing it to others takes as long as decoding it."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from common.lake.merge import reading
from common.lake.reading import read_rows

from ...support.topic import TopicLake, event


@pytest.mark.parametrize("most", [0, reading.SHARED_OUT_BYTES])
def test_only_large_row_groups_are_shared_out_and_rows_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    shared: list[bool] = []
    ahead: list[bool] = []

    class Seen(pq.ParquetFile):
        def __init__(self, *given: Any, **named: Any) -> None:
            ahead.append(named["pre_buffer"])
            super().__init__(*given, **named)

        def iter_batches(self, *given: Any, **named: Any) -> Any:
            shared.append(named["use_threads"])
            return super().iter_batches(*given, **named)

    lake = TopicLake(tmp_path)
    lake.run(*(event(f"k{number}", f"m{number}", number, number) for number in range(9)))
    monkeypatch.setattr(reading, "SHARED_OUT_BYTES", most)
    monkeypatch.setattr(pq, "ParquetFile", Seen)
    found = read_rows(lake.table("curated")).read_all()
    lake.close()
    assert sorted(map(str, found["idempotency_key"].to_pylist())) == [f"k{number}" for number in range(9)]
    assert shared == [most == 0] * len(shared)
    assert shared
    assert ahead == [False] * len(ahead), "what is in memory is read ahead"
