"""Posting JSON over HTTPS, again where that may help. Keys are part of URLs: no message shows one."""

from typing import Final

import urllib3
from urllib3.exceptions import HTTPError

from alert.channels import Post
from common.errors import PermanentError, TransientError

_TIMEOUT_S: Final = 5.0
_PASSING: Final = (429, 500, 502, 503, 504)
_TRIES: Final = 4


class AlertRefused(PermanentError):  # noqa: N818 - the alert was refused; "error" would say less
    """The channel does not take the message: a wrong key, or a webhook that was revoked."""


class AlertUndelivered(TransientError):  # noqa: N818 - undelivered so far; "error" would say less
    """The channel could not be reached, or asked to come back later, every time."""


def retries(backoff_s: float = 0.5) -> urllib3.Retry:
    """When to ask again: no answer, too many requests (for as long as it says), or a server's error."""
    return urllib3.Retry(
        total=_TRIES - 1,
        backoff_factor=backoff_s,
        status_forcelist=_PASSING,
        allowed_methods=None,  # POST as well: both channels take a repetition for the same message
        respect_retry_after_header=True,
        raise_on_status=False,
        redirect=False,
    )


def send(pool: urllib3.PoolManager, post: Post) -> None:
    """Make the request; raises AlertRefused or AlertUndelivered with what the channel said."""
    try:
        answer = pool.request("POST", post.url, json=post.document, timeout=_TIMEOUT_S)
    except HTTPError as error:
        raise AlertUndelivered(
            f"{post.channel}: expected an answer within {_TIMEOUT_S:.0f} s, found {type(error).__name__} "
            f"{_TRIES} times; Lambda tries again"
        ) from None  # the original names the URL, and with it the key
    if answer.status in _PASSING:
        raise AlertUndelivered(
            f"{post.channel}: expected success, found status {answer.status} {_TRIES} times; "
            "Lambda tries again"
        )
    if not 200 <= answer.status < 300:
        raise AlertRefused(
            f"{post.channel}: expected success, found status {answer.status}: {answer.data[:200]!r}; "
            "check its value in the secret <project>-<env>-alert-endpoints"
        )
