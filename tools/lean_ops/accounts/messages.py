"""A message on its way to the source queue, with what its sender knows about it.

``body`` is all that is sent. The rest is what the ledger keeps, so that a run can be reconciled: where the
message must end (in the tables, or in the dead-letter queue under ``reject_code``) and, among the messages
of one key, which of them must win.
"""

from enum import StrEnum
from typing import Final

import msgspec

# The violation of a message whose sender does not know the contract: a person's own readings.
UNJUDGED: Final = "unjudged"


class Kind(StrEnum):
    """Why a message is sent."""

    ORIGINAL = "original"
    LATE = "late"  # an original whose device was offline: published long before it is sent
    RETRY = "retry"  # a network retry: byte for byte a message that is sent elsewhere in the run
    CORRECTION = "correction"  # the key of another message, another publish time
    BROKEN = "broken"  # can never succeed: belongs in the dead-letter queue


class Message(msgspec.Struct, frozen=True, gc=False):
    """One SQS body and what must become of it.

    ``publish_us`` is in microseconds since 1970 UTC. A broken message has a ``reject_code`` (see
    ``common.intake.events.RejectCode``) and neither id, key nor time: they cannot be relied on. ``violation``
    names the contract rule that an otherwise good message breaks (it is curated, then quarantined), or is
    UNJUDGED. ``deletes``: it takes its key back.
    """

    body: str
    topic: str
    kind: Kind
    message_id: str = ""
    key: str = ""
    publish_us: int = 0
    reject_code: str = ""
    violation: str = ""
    deletes: bool = False
