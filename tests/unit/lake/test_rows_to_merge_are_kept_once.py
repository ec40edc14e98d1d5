"""A source holds its rows in memory or on disk, whatever columns came when, and has each key in one shard."""

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.lake.merge import StagedSource
from common.lake.merge.staging import SHARDS
from common.lake.rule import SOURCE_RULE
from common.runtime.errors import InvalidInput

from ...support.generated import cases

Row = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def batch(rows: list[Row], *columns: str) -> pa.RecordBatch:
    kinds: dict[str, pa.DataType] = {"idempotency_key": pa.string(), "_source_merge_seq": pa.int64()}
    schema = pa.schema(kinds | dict.fromkeys(columns, pa.string()))
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def row(key: str, number: int, **values: str) -> Row:
    return {"idempotency_key": key, "_source_merge_seq": number, **values}


def given_back(source: StagedSource) -> list[list[Row]]:
    return [shard.to_pylist() for shard in source.shards()]


@settings(max_examples=cases(20), deadline=None)
@given(
    batches=st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 40), st.text(max_size=3)), max_size=5),
            st.sets(st.sampled_from("abcd")),
        ),
        max_size=8,
    ),
    budget=st.sampled_from([0, 64]),
)
def test_rows_come_back_with_all_columns_and_no_key_is_in_two_shards(
    batches: list[tuple[list[tuple[int, str]], set[str]]], budget: int
) -> None:
    names = list(dict.fromkeys(name for _, columns in batches for name in sorted(columns)))
    expected: list[Row] = []
    with StagedSource(SOURCE_RULE, budget) as source:
        for rows, columns in batches:
            made = [
                row(f"k{key}", len(expected) + place, **dict.fromkeys(columns, text))
                for place, (key, text) in enumerate(rows)
            ]
            expected += [dict.fromkeys(names) | r for r in made]
            source.write(batch(made, *sorted(columns)))
        first, again = given_back(source), given_back(source)
        assert source.rows == len(expected)
        assert source.spilled is (budget == 0 and bool(expected))
        assert source.schema.names[2:] == (names if batches else [])
    assert first == again
    found = sorted((r for shard in first for r in shard), key=lambda r: r["_source_merge_seq"])
    assert found == expected
    keys = [{r["idempotency_key"] for r in shard} for shard in first]
    assert sum(map(len, keys)) == len(set().union(*keys))


def test_a_source_of_no_rows_has_no_shard_and_no_file(folder: Path) -> None:
    with StagedSource.of([batch([], "a")], SOURCE_RULE, memory_budget_mb=0) as source:
        assert (source.rows, source.schema.names[2:], given_back(source)) == (0, ["a"], [])
        assert not list(folder.iterdir())


def test_every_row_lies_on_disk_once_and_leaves_with_the_source(folder: Path) -> None:
    wide = [batch([row(f"k{n}-{i}", n, a="x") for i in range(500)], *"abc"[: 1 + n % 3]) for n in range(6)]
    with StagedSource.of(wide, SOURCE_RULE, memory_budget_mb=0) as source:
        given_back(source)  # ends the streams
        files = list(folder.rglob("*.arrows"))
        stored = 0
        for file in files:
            with pa.OSFile(str(file), "rb") as open_file:
                while open_file.tell() < open_file.size():
                    stored += pa.ipc.open_stream(open_file).read_all().num_rows
        assert (len(files), stored) == (SHARDS, 3000)
    assert not list(folder.iterdir())


def test_what_was_staged_is_gone_when_reading_the_source_fails(folder: Path) -> None:
    def broken() -> Any:
        yield batch([row("k", 1)])
        raise OSError("the source")

    with pytest.raises(OSError, match="the source"):
        StagedSource.of(broken(), SOURCE_RULE, memory_budget_mb=0)
    assert not list(folder.iterdir())


def test_columns_that_come_late_count_in_the_rows_before_them() -> None:
    """A column of nulls takes five bytes a row: in 300 columns and 1,000 rows, more than a megabyte."""
    with StagedSource(SOURCE_RULE, memory_budget_mb=4) as source:
        source.write(batch([row(f"k{n}", n) for n in range(1000)]))
        assert not source.spilled
        source.write(batch([row("k", 0)], *(f"leaf{n}" for n in range(300))))
        assert source.spilled


@pytest.mark.parametrize("column", SOURCE_RULE.columns)
def test_rows_without_their_key_or_order_are_refused_at_once(column: str) -> None:
    with StagedSource(SOURCE_RULE, 64) as source, pytest.raises(InvalidInput, match=f"found no {column}"):
        source.write(batch([row("k", 1)]).drop_columns([column]))


def test_a_key_that_is_no_text_is_refused_at_once() -> None:
    wrong = pa.record_batch({"idempotency_key": [1], "_source_merge_seq": [1]})
    with StagedSource(SOURCE_RULE, 64) as source, pytest.raises(InvalidInput, match="found int64; cast"):
        source.write(wrong)
