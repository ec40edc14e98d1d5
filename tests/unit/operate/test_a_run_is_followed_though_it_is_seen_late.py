"""Step Functions answers with what was a moment ago: a run that has just begun, or ended, is not seen so."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from common.runtime import outside
from common.runtime.errors import InvalidInput
from lean_ops.operate import pipeline

BEGAN = datetime(2026, 6, 1, tzinfo=UTC)


class UnknownError(Exception):
    """Step Functions knows of no such execution."""


class StepFunctions:
    """Answers one after another: None where it knows of no execution."""

    def __init__(self, statuses: list[str | None], histories: list[list[Any] | None]) -> None:
        self.exceptions = SimpleNamespace(ExecutionDoesNotExist=UnknownError)
        self._statuses, self._histories = iter(statuses), iter(histories)

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:
        status = next(self._statuses)
        if status is None:
            raise UnknownError(executionArn)
        ended = {} if status == "RUNNING" else {"stopDate": BEGAN + timedelta(seconds=9)}
        return {"status": status, "startDate": BEGAN, "input": "{}", **ended}

    def get_paginator(self, _name: str) -> SimpleNamespace:
        def pages(**_: Any) -> Iterator[dict[str, Any]]:
            events = next(self._histories)
            if events is None:
                raise UnknownError
            yield {"events": events}

        return SimpleNamespace(paginate=pages)


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, each time."""
    found: list[float] = []
    monkeypatch.setattr(outside, "sleep", found.append)
    return found


def target(*answers: Any) -> Any:
    client = StepFunctions(*answers)
    return SimpleNamespace(client=lambda _name: client, look_s=0.2)


def visit(name: str) -> list[dict[str, Any]]:
    return [
        {"id": 1, "timestamp": BEGAN, "stateEnteredEventDetails": {"name": name, "input": "{}"}},
        {"id": 2, "timestamp": BEGAN, "stateExitedEventDetails": {"name": name, "output": "{}"}},
    ]


def test_one_that_is_not_known_yet_is_waited_for(waited: list[float]) -> None:
    late = target([None, None, "RUNNING", "SUCCEEDED"], [None, visit("NoNewData")])
    assert [one.name for one in pipeline.follow(late, "arn")] == ["NoNewData"]
    assert waited == [1.0, 1.0, 0.1]


def test_one_that_has_ended_is_not_said_to_run(waited: list[float]) -> None:
    found = pipeline.ended(target(["RUNNING", "SUCCEEDED"], []), "arn")
    assert (found.status, found.seconds, waited) == ("SUCCEEDED", 9.0, [0.1])


def test_one_that_nobody_knows_is_said_so_in_a_sentence(waited: list[float]) -> None:
    with pytest.raises(InvalidInput, match="execution arn: expected one that Step Functions knows"):
        pipeline.outcome(target([None] * 4, []), "arn")
    assert sum(waited) == 4.0
