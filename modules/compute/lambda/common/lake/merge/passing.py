"""Which failures of a catalog or object store may pass, so that looking again makes sense."""

from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.exceptions import CommitStateUnknownException, ServerError, ServiceUnavailableError

_THROTTLED = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException", "SlowDown"})
_SERVER_FAULT = 500


def may_pass(error: Exception) -> bool:
    """Whether the same call may succeed later, and this one may have succeeded unseen.

    Timeouts and broken connections (botocore, REST and file systems alike), HTTP 5xx and throttling.
    A missing permission or a malformed request never passes.
    """
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= _SERVER_FAULT or error.response.get("Error", {}).get("Code") in _THROTTLED
    passing = (CommitStateUnknownException, ServerError, ServiceUnavailableError, BotoCoreError)
    if isinstance(error, PermissionError | FileNotFoundError):
        return False
    return isinstance(error, (*passing, OSError))
