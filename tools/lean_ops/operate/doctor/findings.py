"""What a check says."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from lean_ops.environment.target import Target


class Severity(StrEnum):
    """PROBLEM: something is broken or will be. NOTE: it works, and somebody should know."""

    PROBLEM = "problem"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """``subject``: what it is about; ``found``: what was expected and found; ``advice``: what to do."""

    subject: str
    found: str
    advice: str
    severity: Severity = Severity.PROBLEM


Check = Callable[[Target], Iterator[Finding]]
