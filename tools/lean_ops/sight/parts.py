"""What is looked at: parts, each read by itself, so that one that is broken or slow hides no other."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from common.runtime.errors import LeanOpsError
from lean_ops.environment.target import Target

Publish = Callable[[Any], None]
"""Takes what is known so far, of a part that takes its time."""
Read = Callable[[Target, Publish], Any]


@dataclass(frozen=True)
class Part:
    """One part. ``read`` gives its value, and may publish what it has before; it only reads.

    ``every_s``: how old a value may be before it is read anew, for somebody who looks. ``within_s``: what
    takes longer is said to be late; it goes on, and what it gives counts.
    """

    name: str
    title: str
    read: Read
    every_s: float
    within_s: float


@dataclass(frozen=True)
class Seen:
    """What is known of a part. ``value`` is None before the first one.

    ``at``: when the value was read; ``trouble``: why there is none that is newer, in one sentence, or empty.
    """

    part: Part
    value: Any = None
    at: datetime | None = None
    trouble: str = ""

    @property
    def ready(self) -> bool:
        """Whether there is something to show."""
        return self.value is not None


_LONGEST: Final = 600


def sentence(target: Target, error: Exception) -> str:
    """Why a part could not be read, as the commands say it; of others' errors the class, for words quote."""
    if isinstance(error, BotoCoreError | ClientError):
        error = _as_told(target, error)
    if isinstance(error, LeanOpsError):
        return str(error)[:_LONGEST]
    return f"expected to read it, found {type(error).__name__}; see `lean-ops doctor`"


def _as_told(target: Target, error: Exception) -> Exception:
    try:
        with target.reached():
            raise error  # noqa: TRY301 - it is told as whatever comes out
    except Exception as told:  # whatever it became is what is asked for
        return told
