"""Rows that were refused and stand in Semantic since are no longer something to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lean_ops.operate import run_report

from ...support.topic import TopicLake, event


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[TopicLake]:
    lake = TopicLake(tmp_path)
    yield lake
    lake.close()


def waiting(lake: TopicLake) -> int | None:
    return run_report.still_refused(lake.table("quarantine"), lake.table("semantic"), "run")


def test_it_counts_what_has_not_come_to_semantic(lake: TopicLake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.run(event("a", "1", 0, 500), event("b", "2", 0, 501), event("c", "3", 0, 1))
    assert waiting(lake) == 2
    lake.run(event("a", "4", 1, 2))  # a newer version is good
    assert waiting(lake) == 1
    monkeypatch.setattr(run_report, "_LOOKED_UP", 1)
    lake.run(event("d", "5", 0, 500), event("e", "6", 0, 501))
    assert waiting(lake) is None


def test_a_run_that_refused_nothing_has_nothing_to_wait_for(lake: TopicLake) -> None:
    lake.run(event("c", "3", 0, 1))
    assert waiting(lake) == 0
