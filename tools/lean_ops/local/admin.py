"""The Firehose stand-in's own two paths, from the caller's side: look at it, make it deliver now."""

import http.client
from typing import Any
from urllib.parse import urlsplit

import msgspec

from lean_ops.local.errors import LocalStackError

# Delivering a large backlog takes a while; ten minutes is a stand-in that hangs.
_PATIENCE_S = 600
# What it holds, it says at once.
_LOOK_S = 20


class StreamState(msgspec.Struct, frozen=True):
    """A delivery stream: bytes it holds, and records and commits since its process started.

    ``failure``: what its last delivery failed of; empty when it did not. ``overdue_s``: how much longer its
    oldest record has waited than it is buffered for.
    """

    backlog_bytes: int
    delivered: int
    undelivered: int
    commits: int
    failure: str = ""
    overdue_s: float = 0.0


def streams(endpoint: str) -> dict[str, StreamState]:
    """Every delivery stream by name; ``endpoint`` is the stand-in's base URL. Raises OSError when down."""
    return _states(_ask(endpoint, "GET", "/_health", _LOOK_S))


def flush(endpoint: str) -> dict[str, StreamState]:
    """Deliver everything that is buffered, whatever the buffering hints say, and give the streams after it.

    Raises LocalStackError naming each stream that could not deliver, and why.
    """
    answer = _ask(endpoint, "POST", "/_flush", _PATIENCE_S)
    if answer["failures"]:
        found = "; ".join(f"{stream}: {failure}" for stream, failure in answer["failures"].items())
        raise LocalStackError(
            f"flush of {endpoint}: expected every record delivered, found {found}; the records are kept and "
            "tried again, look at `lean-ops status`"
        )
    return _states(answer)


def _ask(endpoint: str, method: str, path: str, patience_s: int) -> dict[str, Any]:
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=patience_s)
    try:
        connection.request(method, path)
        answer: dict[str, Any] = msgspec.json.decode(connection.getresponse().read())
        return answer
    finally:
        connection.close()


def _states(answer: dict[str, Any]) -> dict[str, StreamState]:
    return msgspec.convert(answer["streams"], dict[str, StreamState])
