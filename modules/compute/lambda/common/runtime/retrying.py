"""What may pass when it is tried again, and how long to wait before: one list and one back-off for all."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from common.runtime import outside

# Parts of the error codes of what passes, whatever status they come with: throttling (botocore's list of what
# to retry; AWS SDKs reference guide, "Retry behavior"), a token that is renewed, another writer, a service's
# own fault.
_PASSING: Final = (
    "Throttl", "TooManyRequests", "RequestLimit", "SlowDown", "LimitExceeded", "ThroughputExceeded",
    "OverLimit", "ExpiredToken", "ConcurrentModification", "InternalError", "InternalFailure",
    "ServiceUnavailable",
)  # fmt: skip
_SERVER_FAULT: Final = 500


@dataclass(frozen=True)
class RetryPolicy:
    """How often to try and how long to wait between: at most ``base_s * 2**attempt``, and ``longest_s``.

    The wait has full jitter, so that those who were refused together do not come back together.
    """

    attempts: int = 4
    base_s: float = 0.1
    longest_s: float = 20.0
    sleep: Callable[[float], None] = outside.sleep

    def pause_s(self, attempt: int) -> float:
        """Seconds to wait after ``attempt`` (0 is the first)."""
        return outside.uniform(0, min(self.longest_s, self.base_s * 2**attempt))

    def wait(self, attempt: int) -> None:
        """Wait before the attempt after ``attempt`` (0 is the first)."""
        self.sleep(self.pause_s(attempt))


def code_may_pass(code: str) -> bool:
    """Whether an AWS error code says that the same call may succeed later."""
    return any(part in code for part in _PASSING)


def may_pass(error: Exception) -> bool:
    """Whether the same call may succeed later, and may have succeeded unseen.

    Time-outs and broken connections (botocore, HTTP and file systems alike), HTTP 5xx and throttling. A
    missing permission, a missing file or a malformed request never passes.
    """
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", _SERVER_FAULT)
        return status >= _SERVER_FAULT or code_may_pass(error.response.get("Error", {}).get("Code", ""))
    if isinstance(error, PermissionError | FileNotFoundError):
        return False
    return isinstance(error, BotoCoreError | OSError)
