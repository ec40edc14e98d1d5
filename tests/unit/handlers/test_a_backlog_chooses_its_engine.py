"""Which engine a backlog goes to: its size, what is asked for, and whether there is Spark at all."""

from pathlib import Path

import pytest

from common.contract.contracts import NEVER
from common.runtime.errors import InvalidInput
from common.runtime.settings import CheckpointsSettings
from get_all_checkpoints.engines import Backlog, choose, unpublished, unread

from ...support.topic import TopicLake, event


def settings(spark: str = "on", rows: int = 100, size: int = 10**6) -> CheckpointsSettings:
    return CheckpointsSettings("p", "e", "lake", "checkpoints", "bucket", spark, rows, size)


@pytest.mark.parametrize(
    ("asked", "backlog", "engine"),
    [
        ("auto", Backlog(99, 10**6 - 1), "lambda"),
        ("auto", Backlog(100, 1), "spark"),
        ("auto", Backlog(1, 10**6), "spark"),
        ("lambda", Backlog(10**9, 10**12), "lambda"),
        ("spark", Backlog(), "spark"),
    ],
)
def test_rows_or_bytes_decide_unless_an_engine_is_asked_for(
    asked: str, backlog: Backlog, engine: str
) -> None:
    assert choose(asked, backlog, settings()) == engine


@pytest.mark.parametrize(
    ("from_rows", "backlog", "engine"),
    [
        (1_000, Backlog(999, 10**9), "lambda"),
        (1_000, Backlog(1_000, 1), "spark"),
        (10, Backlog(10, 1), "spark"),
        (NEVER, Backlog(10**12, 10**15), "lambda"),
    ],
)
def test_what_a_contract_says_counts_in_place_of_both_thresholds(
    from_rows: int, backlog: Backlog, engine: str
) -> None:
    assert choose("auto", backlog, settings(), from_rows) == engine
    assert choose("spark", backlog, settings(), from_rows) == "spark"


def test_without_spark_everything_runs_as_functions_and_nothing_else_is_promised() -> None:
    assert choose("auto", Backlog(10**9, 10**12), settings("off")) == "lambda"
    with pytest.raises(InvalidInput, match="expected an environment with Spark, found none"):
        choose("spark", Backlog(), settings("off"))
    with pytest.raises(InvalidInput, match="expected one of auto, lambda, spark, found 'flink'"):
        choose("flink", Backlog(), settings())


def test_a_backlog_is_what_is_behind_the_checkpoint(tmp_path: Path) -> None:
    lake = TopicLake(tmp_path)
    assert unread(lake.table("raw"), None) == Backlog()
    for number in range(3):
        lake.append([event(f"k{number}{i}", f"m{i}", i, 1) for i in range(10)])
    raw = lake.table("raw")
    assert unread(raw, None).rows == 30
    assert unread(raw, None).bytes > 0
    lake.curate(rows=10)  # a first read, which takes all live files, in portions
    assert lake.raw_read is not None
    assert unread(lake.table("raw"), lake.raw_read).rows == 30, "how much of it is left is not told"
    lake.curate()
    assert unread(lake.table("raw"), lake.raw_read) == Backlog()
    lake.append([event("new", "m", 1, 1)])
    assert unread(lake.table("raw"), lake.raw_read).rows == 1
    assert unpublished(lake.table("curated"), None).rows == 30
    lake.publish()
    assert unpublished(lake.table("curated"), lake.published) == Backlog()
    lake.curate()
    assert unpublished(lake.table("curated"), lake.published).rows == 1
