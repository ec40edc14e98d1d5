"""A query in DuckDB ends when its time is over, whether it makes rows or hands them on."""

import threading
from collections.abc import Callable

import duckdb
import pytest

from common.runtime.errors import InvalidInput
from lean_ops.environment.lake import Result, limited

ENDLESS = "SELECT {} FROM range(10000000) a (x), range(10000000) b (y)"


def of_rows(connection: duckdb.DuckDBPyConnection) -> None:
    for _ in Result(connection.execute(ENDLESS.format("a.x"))).rows():
        pass


def of_batches(connection: duckdb.DuckDBPyConnection) -> None:
    for _ in Result(connection.execute(ENDLESS.format("a.x"))).arrow():
        pass


def of_one(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(ENDLESS.format("sum(a.x + b.y)"))


@pytest.mark.parametrize("query", [of_rows, of_batches, of_one])
def test_it_ends_with_a_sentence(query: Callable[[duckdb.DuckDBPyConnection], None]) -> None:
    threads = threading.active_count()
    with (
        duckdb.connect() as connection,
        pytest.raises(InvalidInput, match=r"within 0\.1 s, found it running.*--timeout"),
        limited(connection, 0.1),
    ):
        query(connection)
    assert threading.active_count() == threads


def test_what_is_done_in_time_is_left_alone_and_other_errors_are_theirs() -> None:
    with duckdb.connect() as connection:
        with limited(connection, 3600):
            assert connection.execute("SELECT 1").fetchall() == [(1,)]
        with pytest.raises(OSError, match="disk"), limited(connection, 3600):
            raise OSError("the disk is full")
        assert connection.execute("SELECT 2").fetchall() == [(2,)]
