"""Reconciliation: how far the rows of every topic were held against RAW, and what was wrong then.

Nothing is reconciled for the page, which takes minutes: it shows the marks that the function leaves every
hour (``common.layers.marks``), and the command that does it now.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from common.layers.marks import Mark
from common.runtime.items import read_items
from common.runtime.topics import read_registry
from lean_ops.environment.target import Target
from lean_ops.sight.parts import Publish


@dataclass(frozen=True)
class Reconciled:
    """A topic. ``upto``: what was received before is where it must be; ``at``: when that was found."""

    topic: str
    upto: datetime | None
    at: datetime | None
    wrong: int


def read(target: Target, _: Publish) -> tuple[Reconciled, ...]:
    """The marks of all topics, those with faults first."""
    topics = read_registry(target.client("s3"), target.lake_bucket).topics
    keys = [f"{topic}#reconciled" for topic in topics]
    items = read_items(target.client("dynamodb"), target.checkpoints_table, keys)
    found = [_of(topic, Mark.of(items.get(f"{topic}#reconciled", {}))) for topic in topics]
    return tuple(sorted(found, key=lambda one: (-one.wrong, one.at is None, one.topic)))


def _of(topic: str, mark: Mark) -> Reconciled:
    return Reconciled(topic, _moment(mark.upto), _moment(mark.at), mark.wrong)


def _moment(seconds: int) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
