"""Clients of AWS services whose calls end before their function does.

The SDK waits a minute for an answer, then asks up to four more times (botocore, ``Config``). A function of a
minute would end within its first call that hangs, and its whole batch with it. Here a call gives up in time
for its caller to say which records it was about, or for the next schedule to begin anew.
"""

from typing import Any, Final

import boto3
from botocore.config import Config

ATTEMPTS: Final = 3
CONNECT_S: Final = 2.0
READ_S: Final = 10.0
"""Far more than a call takes inside a region; nothing here asks a service to hold its answer back longer."""

# What the mode "standard" waits before the second and the third attempt at most (SDK reference guide, "Retry
# behavior": a random part of 1 s, then of 2 s).
_BACKOFF_S: Final = 1 + 2

LONGEST_CALL_S: Final = ATTEMPTS * (CONNECT_S + READ_S) + _BACKOFF_S
"""After so long a call has an answer or an error."""


def client(service: str, **options: Any) -> Any:
    """A client of ``service`` whose calls take ``LONGEST_CALL_S`` at most; ``options`` are boto3's."""
    config = Config(
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
    )
    return boto3.client(service, config=config, **options)  # type: ignore[call-overload] # noqa: TID251 - any service; the one place of functions


def credentials() -> Any:
    """The credentials that clients sign with, which renew themselves; None where the environment has none."""
    return boto3.Session().get_credentials()  # noqa: TID251 - as above
