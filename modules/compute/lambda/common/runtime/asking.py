"""Asking a service outside of AWS over HTTPS: bounded in time and in bytes, whatever it answers.

A service that is in trouble answers late, drop by drop, without an end, with another's page, or with "come
back in an hour". None of it may cost more than what the caller gave: the time covers all tries, all waiting
and all reading of bodies (who sends the headers drop by drop is ended by the function's own timeout), and no
more bytes are kept than were asked for. What an answer says is for the caller to judge; it is given as bytes,
and nothing of it is part of an error here. URLs may hold keys: no error names one.
"""

import zlib
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

import urllib3
from urllib3.exceptions import DecodeError, HTTPError

from common.runtime import outside
from common.runtime.errors import TransientError
from common.runtime.retrying import RetryPolicy

PASSING: Final = frozenset({429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed (RFC 9110, sections 15.5.29 and 15.6; RFC 6585)."""

_RETRY: Final = RetryPolicy(base_s=0.5)
_CHUNK_BYTES: Final = 64 * 1024
_LONGEST_SILENCE_S: Final = 5.0


class BodyTooSlowError(HTTPError):
    """The body did not end in time."""


class Unanswered(TransientError):  # noqa: N818 - it is unanswered; "error" would say less
    """There was no answer within the time; the message says what came instead."""


@dataclass(frozen=True)
class Answer:
    """A status with as much of the body as was asked for; ``cut``: there was more."""

    status: int
    body: bytes = b""
    cut: bool = False
    content_type: str = ""


@dataclass(frozen=True)
class Asker:
    """Makes requests through ``pool``, each as often as ``retry`` says."""

    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))
    retry: RetryPolicy = _RETRY
    clock: Callable[[], float] = outside.monotonic

    def ask(
        self,
        method: str,
        url: str,
        *,
        document: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float,
        most_bytes: int,
    ) -> Answer:
        """The answer, again where its status is a passing one and time is left; raises Unanswered.

        ``document`` is sent as JSON. Where the service asks to come back later than there is time, its answer
        is given at once: who invoked the caller tries again.
        """
        deadline = self.clock() + seconds
        failure = ""
        answer: Answer | None = None
        for attempt in range(self.retry.attempts):
            wait = self.retry.pause_s(attempt)
            try:
                request = {"json": document, "headers": headers}
                given, later_s = self._once(method, url, request, deadline, most_bytes)
            except HTTPError as error:
                failure, answer = type(error).__name__, None
            else:
                if given.status not in PASSING:
                    return given
                answer, wait = given, max(wait, later_s)
            if attempt + 1 == self.retry.attempts or self.clock() + wait >= deadline:
                break
            self.retry.sleep(wait)
        if answer is not None:
            return answer
        raise Unanswered(
            f"expected an answer within {seconds:.0f} s, found {failure or 'none'} in {attempt + 1} tries"
        )

    def _once(
        self,
        method: str,
        url: str,
        request: Mapping[str, Any],
        deadline: float,
        most_bytes: int,
    ) -> tuple[Answer, float]:
        """One try: the answer, and for how many seconds the service asks to be left alone."""
        silence = max(0.1, min(_LONGEST_SILENCE_S, deadline - self.clock()))
        response = self.pool.request(
            method,
            url,
            **request,
            timeout=silence,
            retries=False,
            redirect=False,
            preload_content=False,
        )
        # Closed, not given back: what was not read of it is not to be read.
        with closing(response):
            body, cut = self._body(response, deadline, most_bytes)
            content_type = response.headers.get("Content-Type", "").partition(";")[0][:100]
            later = response.headers.get("Retry-After", "")
        # The other form, a date, is as good as none: what it says is in somebody else's clock.
        later_s = float(later) if later.isascii() and later.isdigit() else 0.0
        return Answer(response.status, body, cut, content_type), later_s

    def _body(
        self, response: urllib3.BaseHTTPResponse, deadline: float, most_bytes: int
    ) -> tuple[bytes, bool]:
        """As much of the body as asked for, unpacked, and whether there is more. Raises HTTPError."""
        unpack = None
        if response.headers.get("Content-Encoding", "").strip().lower() == "gzip":
            unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        body = bytearray()
        while len(body) <= most_bytes:
            if self.clock() >= deadline:
                raise BodyTooSlowError
            chunk = response.read1(_CHUNK_BYTES, decode_content=False)
            if not chunk:
                return bytes(body), False
            try:
                body += unpack.decompress(chunk, most_bytes + 1) if unpack else chunk
            except zlib.error as error:
                raise DecodeError from error
        return bytes(body[:most_bytes]), True
