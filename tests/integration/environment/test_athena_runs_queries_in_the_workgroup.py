"""A query of Athena ends with rows and what it scanned, or is stopped, and ends in a sentence."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.runtime import outside
from common.runtime.errors import InvalidInput, ServiceRefused
from lean_ops.environment import athena
from lean_ops.local.target import LocalTarget


@pytest.fixture(scope="module")
def workgroup(target: LocalTarget) -> Iterator[LocalTarget]:
    """The stack with the workgroup, and a place for results."""
    client: Any = target.client("athena")
    target.client("s3").create_bucket(Bucket="athena-results", CreateBucketConfiguration=REGION)
    configuration = {"ResultConfiguration": {"OutputLocation": "s3://athena-results/"}}
    client.create_work_group(Name=target.workgroup, Configuration=configuration)
    yield target
    client.delete_work_group(WorkGroup=target.workgroup, RecursiveDeleteOption=True)


REGION: Any = {"LocationConstraint": "eu-west-1"}


def test_rows_come_with_types_and_with_what_was_scanned(workgroup: LocalTarget) -> None:
    done = athena.run(
        workgroup,
        "SELECT 'a' AS name, 2 AS number, CAST(NULL AS varchar) AS nothing,"
        " CAST('1.50' AS decimal(5,2)) AS price, true AS yes, DATE '2026-01-31' AS day",
        timeout_s=60,
    )
    assert done.fetched.columns == ["name", "number", "nothing", "price", "yes", "day"]
    assert list(done.fetched.rows()) == [("a", 2, None, Decimal("1.50"), True, date(2026, 1, 31))]
    assert done.fetched.arrow().read_all().column_names == done.fetched.columns
    assert done.billed_bytes >= 10_000_000


def test_what_athena_cannot_run_is_said_in_its_words(workgroup: LocalTarget) -> None:
    with pytest.raises(InvalidInput, match=r"^query: expected a statement that Athena.* found: .*nosuch"):
        athena.run(workgroup, "SELECT nosuch", timeout_s=60)


class Stub:
    """Athena, as its API reference has it, where a state of the query is what the test is about."""

    def __init__(self, *states: str, refusal: tuple[str, str] | None = None) -> None:
        self.states, self.refusal = list(states), refusal
        self.stopped: list[str] = []

    def start_query_execution(self, **_: Any) -> dict[str, str]:
        if self.refusal is not None:
            code, said = self.refusal
            raise ClientError({"Error": {"Code": code, "Message": said}}, "StartQueryExecution")
        return {"QueryExecutionId": "q1"}

    def get_query_execution(self, QueryExecutionId: str) -> dict[str, Any]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if state == "interrupt":
            raise KeyboardInterrupt
        why = "Bytes scanned limit was exceeded" if state == "CANCELLED" else ""
        status = {"State": state, "StateChangeReason": why}
        return {"QueryExecution": {"Status": status, "Statistics": {"DataScannedInBytes": 7}}}

    def stop_query_execution(self, QueryExecutionId: str) -> None:
        self.stopped.append(QueryExecutionId)


@pytest.fixture
def asked(target: LocalTarget, monkeypatch: pytest.MonkeyPatch) -> Any:
    def ask(stub: Stub, timeout_s: float = 1.0) -> None:
        clock = outside.Outside()
        monkeypatch.setattr(type(target), "client", lambda _self, _service: stub)
        monkeypatch.setattr(clock, "sleep", lambda _seconds: None)
        with outside.standing_in(clock):
            athena.run(target, "SELECT 1", timeout_s)

    return ask


def test_a_query_that_takes_too_long_is_stopped(asked: Any) -> None:
    stub = Stub("QUEUED", "RUNNING")
    with pytest.raises(InvalidInput, match=r"expected rows within 0\.1 s, found it queued; it was stopped"):
        asked(stub, 0.1)
    assert stub.stopped == ["q1"]


def test_ctrl_c_stops_the_query_in_athena(asked: Any) -> None:
    stub = Stub("interrupt")
    with pytest.raises(KeyboardInterrupt):
        asked(stub)
    assert stub.stopped == ["q1"]


def test_a_query_beyond_the_limit_says_the_limit_and_what_was_scanned(asked: Any) -> None:
    with pytest.raises(InvalidInput, match=r"Bytes scanned limit was exceeded \(7 bytes scanned\)"):
        asked(Stub("CANCELLED"))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("AccessDeniedException", "not authorized to perform: athena:StartQueryExecution"),
        ("InvalidRequestException", "WorkGroup lean-ops-local is not found."),
    ],
)
def test_a_workgroup_that_is_not_there_or_not_ours_says_whom_to_ask(asked: Any, code: str, said: str) -> None:
    with pytest.raises(ServiceRefused, match=f"found {code}: {said}; attach the policy"):
        asked(Stub("QUEUED", refusal=(code, said)))


def test_moments_keep_their_zone() -> None:
    read = athena._READERS["timestamp with time zone"]
    assert read("2026-01-02 03:04:05.123456 UTC") == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
    assert athena._READERS["timestamp"]("2026-01-02 03:04:05.123") == datetime(2026, 1, 2, 3, 4, 5, 123000)
