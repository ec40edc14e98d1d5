"""An operation on a table waits for whatever may still commit to it, and for nothing else."""

from datetime import UTC, datetime, timedelta

import pytest

from lean_ops.operate.leases import Lease

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LIFETIME = timedelta(minutes=15)


@pytest.mark.parametrize(
    ("status", "ended_minutes_ago", "expected"),
    [
        ("", None, False),
        ("RUNNING", None, True),
        ("SUCCEEDED", 1, False),
        ("FAILED", 1, False),
        ("ABORTED", 1, True),
        ("ABORTED", 16, False),
        ("TIMED_OUT", 14, True),
        ("FORGOTTEN", None, False),
    ],
)
def test_a_stopped_execution_counts_while_its_function_may_live(
    status: str, ended_minutes_ago: int | None, expected: bool
) -> None:
    ended = None if ended_minutes_ago is None else NOW - timedelta(minutes=ended_minutes_ago)
    lease = Lease("events", "arn", status, ended)
    assert lease.in_progress(NOW, LIFETIME) is expected
