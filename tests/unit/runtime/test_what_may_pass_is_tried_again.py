"""One list says what may pass on another try, one back-off how long to wait; what is refused never passes."""

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.exceptions import CommitStateUnknownException, NoSuchTableError, ServerError

from common.lake.merge import passing
from common.runtime.retrying import RetryPolicy, may_pass


def refused(code: str, status: int) -> ClientError:
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Call")  # type: ignore[arg-type]  # no more of an answer is looked at


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (refused("InternalFailure", 500), True),
        (refused("NobodyKnowsThisCode", 503), True),
        (refused("ThrottlingException", 400), True),
        (refused("RequestThrottled", 403), True),
        (refused("KmsThrottled", 400), True),
        (refused("OverLimit", 403), True),
        (refused("ProvisionedThroughputExceededException", 400), True),
        (refused("ExpiredTokenException", 403), True),
        (refused("AccessDenied", 403), False),
        (refused("ValidationException", 400), False),
        (refused("ResourceNotFoundException", 400), False),
        (ConnectTimeoutError(endpoint_url="https://here.invalid"), True),
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (PermissionError(), False),
        (FileNotFoundError(), False),
        (ValueError(), False),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_a_service_or_a_network_says_is_sorted(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes
    assert passing.may_pass(error) is passes


def test_a_catalog_may_say_so_too() -> None:
    assert passing.may_pass(CommitStateUnknownException("?"))
    assert passing.may_pass(ServerError("?"))
    assert not passing.may_pass(NoSuchTableError("?"))


@given(st.integers(0, 60), st.floats(0.001, 1), st.floats(0.001, 60))
def test_a_pause_is_bounded_and_never_negative(attempt: int, base_s: float, longest_s: float) -> None:
    waited: list[float] = []
    policy = RetryPolicy(base_s=base_s, longest_s=longest_s, sleep=waited.append)
    policy.wait(attempt)
    assert 0 <= waited[0] <= min(longest_s, base_s * 2**attempt)


def test_pauses_differ_so_that_those_refused_together_do_not_come_back_together() -> None:
    policy = RetryPolicy(base_s=1.0)
    assert len({policy.pause_s(3) for _ in range(20)}) > 1
