"""Posting JSON over HTTPS, again where that may help. Keys are part of URLs: no message shows one."""

import re
from typing import Final
from urllib.parse import unquote

from alert.channels import Post
from common.runtime.asking import PASSING, Asker, Unanswered
from common.runtime.errors import PermanentError, TransientError

# All tries together; the function ends after a minute, and Lambda invokes it again.
_TIME_S: Final = 25.0
# Enough for what Slack and PagerDuty say of a message that they do not take.
_MOST_BYTES: Final = 2_000
_MOST_WORDS: Final = 30
_WORD: Final = re.compile(r"[A-Za-z_]{1,20}")


class AlertRefused(PermanentError):  # noqa: N818 - the alert was refused; "error" would say less
    """The channel does not take the message: a wrong key, or a webhook that was revoked."""


class AlertUndelivered(TransientError):  # noqa: N818 - undelivered so far; "error" would say less
    """The channel could not be reached, or asked to come back later, every time."""


def send(asker: Asker, post: Post) -> None:
    """Make the request; raises AlertRefused or AlertUndelivered with what the channel said."""
    try:
        answer = asker.ask("POST", post.url, document=post.document, seconds=_TIME_S, most_bytes=_MOST_BYTES)
    except Unanswered as error:
        raise AlertUndelivered(f"{post.channel}: {error}; Lambda tries again") from None
    if answer.status in PASSING:
        raise AlertUndelivered(
            f"{post.channel}: expected success, found status {answer.status} every time, or no time left to "
            "come back when it asked to; Lambda tries again"
        )
    if not 200 <= answer.status < 300:
        raise AlertRefused(
            f"{post.channel}: expected success, found status {answer.status}: "
            f"{_words(answer.body, post)}; check its value in the secret <project>-<env>-alert-endpoints"
        )
    # Slack says "ok" and PagerDuty JSON; a page is a proxy's, and nobody was told.
    if answer.body.lstrip().startswith(b"<"):
        raise AlertUndelivered(
            f"{post.channel}: expected its own answer, found a web page with status {answer.status}; a proxy "
            "may answer in its place; Lambda tries again"
        )


def _words(body: bytes, post: Post) -> str:
    """The plain words of an answer, without anything that may be a piece of a key that it echoes."""
    secret = unquote(f"{post.url} {post.document.get('routing_key', '')}").lower()
    found = re.split(r"[^\w]+", body.decode(errors="replace"))
    words = [word for word in found if _WORD.fullmatch(word) and word.lower() not in secret]
    return " ".join(words[:_MOST_WORDS]) or "without a word"
