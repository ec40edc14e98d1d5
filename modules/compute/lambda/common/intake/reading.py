"""A message of the queue → what it becomes, by the sources of the environment.

Light: the sources' own code is loaded where there are some, or where a bridge wrapped a message.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from common.intake.events import EventParser
from common.runtime import outside
from common.runtime.errors import RejectedEvent, ServiceFailure
from common.runtime.logs import logger
from common.runtime.topics import FRESH_S

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

    from common.intake.sources.outcome import Outcome
    from common.intake.sources.registry import Sources

_BRIDGED: Final = '"mqtt_topic"'
_OF_EVENTS: Final = ('"idempotency_key"', '"topic_name"')


class KnownSources:
    """The sources as this process knows them: read again when the registry of topics has another digest.

    ``stale``: why it knows older ones than there are, or none; empty where it knows them.
    """

    def __init__(
        self, s3: "S3Client", bucket: str, *, clock: Callable[[], float] = outside.monotonic
    ) -> None:
        self.stale = ""
        self._s3, self._bucket, self._clock = s3, bucket, clock
        self._failed_at: float | None = None
        self._digest = ""
        self._known: Sources | None = None

    def current(self, digest: str) -> "MessageReader":
        """The reader by the sources of ``digest`` (empty: there are none), or by those read last."""
        failed = self._failed_at
        if digest != self._digest and (failed is None or self._clock() - failed >= FRESH_S):
            self._read(digest)
        return MessageReader(self._known, self.stale)

    def _read(self, digest: str) -> None:
        if not digest:
            self._known, self._digest, self.stale = None, "", ""
            return
        from common.intake.sources.registry import read_sources  # noqa: PLC0415 - loaded by those who have some

        try:
            self._known, self._digest, self.stale = read_sources(self._s3, self._bucket), digest, ""
            self._failed_at = None
        except ServiceFailure as error:
            self.stale, self._failed_at = str(error), self._clock()
            logger("sources").error(f"{error}; those that were read before, if any, count on")


class MessageReader:
    """Reads messages by ``sources``; None: there are none, or none could be read (``unread`` says why)."""

    def __init__(self, sources: "Sources | None" = None, unread: str = "") -> None:
        self._sources = sources
        self._read = None if sources is None else sources.read
        self.read_short = _none if sources is None else sources.read_short
        """The one event of a plain message and its source; None where ``read`` has to look."""
        self._unread = unread if sources is None else ""

    def is_plain(self, message: Mapping[str, Any]) -> bool:
        """Whether nobody but an event's parser has to look at a message."""
        body = message["body"]
        if self._sources is None:
            return not self._unread and _BRIDGED not in body
        key, topic = _OF_EVENTS
        # The text is looked through last: who speaks through a source mostly has attributes.
        return not message.get("messageAttributes") and key in body and topic in body and _BRIDGED not in body

    def read(self, message: Mapping[str, Any], parser: EventParser) -> "Outcome":
        """What a message becomes; raises RejectedEvent.

        Raises ServiceFailure for one that is no event while nobody can say which sources there are.
        """
        if self._read is None:
            from common.intake.sources.registry import NONE  # noqa: PLC0415 - loaded by those who come here

            self._read = NONE.read
        try:
            return self._read(message, parser)
        except RejectedEvent:
            if self._unread:
                raise ServiceFailure(self._unread) from None
            raise


def _none(_message: Mapping[str, Any], _parser: EventParser, _ingestion_us: int) -> None:
    """Without sources there is no short way."""
