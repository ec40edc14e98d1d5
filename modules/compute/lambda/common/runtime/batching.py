"""Batch calls of AWS services: entries cut into the longest runs that one call takes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class CallLimits:
    """What one call takes at most: ``entries``, and ``bytes`` of all entries together."""

    entries: int
    bytes: int


SEND_MESSAGES: Final = CallLimits(10, 1_048_576)
"""SQS SendMessageBatch: bodies and attributes of all entries together (Amazon SQS quotas)."""
PUT_RECORDS: Final = CallLimits(500, 4 * 1_048_576)
"""Firehose PutRecordBatch (Amazon Data Firehose quotas)."""


def batches(
    items: Iterable[_Item], size: Callable[[_Item], int], limits: CallLimits
) -> Iterator[list[_Item]]:
    """The longest runs of ``items`` that one call takes, in order; ``size`` gives an item's bytes.

    An item that no call takes is a run of its own: what becomes of it is the caller's business.
    """
    run: list[_Item] = []
    total = 0
    for item in items:
        weight = size(item)
        if run and (len(run) == limits.entries or total + weight > limits.bytes):
            yield run
            run, total = [], 0
        run.append(item)
        total += weight
    if run:
        yield run
