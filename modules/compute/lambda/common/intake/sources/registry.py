"""The sources of an environment are data, as its topics are: one object of the lake bucket, read whole.

{"version": 1, "sources": {"boilers": {…as in sources/boilers.yaml…}}, "descriptors": {"fleet.binpb":
"<base64>"}}

``terraform apply`` and ``lean-ops up`` write it before the registry of topics, which has its digest: an
environment without sources is asked for none, and one whose sources have not changed reads them once."""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from common.intake.events import EventParser, RejectCode
from common.intake.sources import slices
from common.intake.sources.matching import TOPIC_FIELD, received
from common.intake.sources.outcome import Made, Outcome
from common.intake.sources.paths import SourceError
from common.intake.sources.scope import Transport
from common.intake.sources.source import Source, compile_source
from common.runtime.errors import RejectedEvent, ServiceFailure

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

SOURCES_KEY: Final = "registry/sources.json"
# Names that an event has and hardly a device's message; a message that has both at its top is taken for an
# event.
_OF_EVENTS: Final = ("idempotency_key", "topic_name")
_QUOTED: Final = tuple(f'"{name}"' for name in _OF_EVENTS)

_NO_CAPTURES: Final[Mapping[str, str]] = {}

_names: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Written(msgspec.Struct):
    version: Literal[1]
    sources: dict[str, dict[str, Any]]
    descriptors: dict[str, str] = {}


def written(sources: Mapping[str, object], descriptors: Mapping[str, bytes]) -> bytes:
    """The object's content, the same for the same sources."""
    packed = {name: base64.b64encode(content).decode() for name, content in descriptors.items()}
    return msgspec.json.encode({"version": 1, "sources": sources, "descriptors": packed}, order="sorted")


def digest_of(content: bytes) -> str:
    """What the registry of topics says of the object."""
    return hashlib.sha256(content).hexdigest()


def sources_if_any(s3: "S3Client", bucket: str) -> "Sources":
    """The sources as they are now, none where there is no registry of them; raises ServiceFailure."""
    try:
        s3.head_object(Bucket=bucket, Key=SOURCES_KEY)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchKey", "NotFound"}:
            return NONE
    return read_sources(s3, bucket)


def read_sources(s3: "S3Client", bucket: str) -> "Sources":
    """The sources as they are now; raises ServiceFailure, whatever the failure is: an apply mends it."""
    where = f"registry of sources: expected s3://{bucket}/{SOURCES_KEY}"
    try:
        content = s3.get_object(Bucket=bucket, Key=SOURCES_KEY)["Body"].read()
        return Sources.of(content)
    except ClientError as error:
        found = error.response["Error"]["Code"]
    except (BotoCoreError, OSError) as error:
        found = f"no answer ({type(error).__name__})"
    except (SourceError, msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as error:
        found = f"sources that cannot be read: {error}"
    raise ServiceFailure(f"{where}, found {found}; apply the environment, or `lean-ops up`")


class Sources:
    """All sources of an environment. A message is for one of them, or is an event already."""

    def __init__(self, sources: Iterable[Source]) -> None:
        every = tuple(sources)
        some = [source for source in every if not source.match.others]
        self._by_transport = tuple(source for source in some if not source.match.by_content_alone)
        self._by_content = tuple(source for source in some if source.match.by_content_alone)
        self._others = next((source for source in every if source.match.others), None)
        attributes = [source for source in self._by_transport if not source.match.topics]
        self._by_attributes = [(tuple(source.match.attributes.items()), source) for source in attributes]
        # Without a look at its content nobody can say that a message is for one source alone.
        self._looks_inside = bool(self._by_content) or any(
            source.match.fields for source in self._by_transport
        )

    @classmethod
    def of(cls, content: bytes) -> "Sources":
        """Those of the registry; raises SourceError and what msgspec and base64 raise."""
        found = msgspec.json.decode(content, type=_Written)
        descriptors = {
            name: base64.b64decode(packed, validate=True) for name, packed in found.descriptors.items()
        }
        compiled = []
        for name, described in sorted(found.sources.items()):
            try:
                compiled.append(compile_source(name, described, descriptors))
            except SourceError as error:
                raise SourceError(f"sources/{name}.yaml: {error.where}", error.message) from None
        return cls(compiled)

    def read_short(
        self, record: Mapping[str, Any], parser: EventParser, ingestion_us: int
    ) -> tuple[tuple[str, bytes], str] | None:
        """Topic and record of a plain message that came with attributes alone, and its source; else None.

        What it gives is what ``read`` gives.
        """
        attributes, body = record.get("messageAttributes", _NO_CAPTURES), record["body"]
        if self._looks_inside or TOPIC_FIELD in attributes or TOPIC_FIELD in body:
            return None
        chosen = None
        for wanted, source in self._by_attributes:
            for name, texts in wanted:
                text = attributes[name].get("stringValue") if name in attributes else None
                if text is None or (texts is not None and text not in texts):
                    break
            else:
                if chosen is not None:
                    return None
                chosen = source
        if chosen is None or chosen.express is None:
            return None
        event = chosen.express(body, _NO_CAPTURES, parser, ingestion_us)
        return None if event is None else (event, chosen.name)

    def read(self, record: Mapping[str, Any], parser: EventParser) -> Outcome:
        """What a message of the queue becomes: by the source that it is for, or as the event that it is.

        Raises RejectedEvent where it can become nothing.
        """
        content, transport = received(record)
        ingestion_us = int(record["attributes"]["SentTimestamp"]) * 1000
        chosen = self._choose(content, transport)
        if chosen is not None:
            source, captures = chosen
            return source.read(content, transport, captures, parser, ingestion_us)
        try:
            return as_event(content, parser, ingestion_us)
        except RejectedEvent as reason:
            if not (self._by_transport or self._by_content or self._others) or looks_like_an_event(content):
                raise
            raise RejectedEvent(
                RejectCode.NO_SOURCE,
                f"expected an event, or a message of a source; no source is for it, as an event: {reason}",
            ) from None

    def _choose(self, content: bytes | str, transport: Transport) -> tuple[Source, dict[str, str]] | None:
        document = _Lazy(content)
        chosen = _only(self._by_transport, transport, document, None)
        if (self._by_content or self._others) and not (chosen and not self._by_content):
            if looks_like_an_event(content):
                return chosen
            chosen = _only(self._by_content, transport, document, chosen)
            if chosen is None and self._others is not None:
                return self._others, {}
        return chosen


def _only(
    sources: Iterable[Source],
    transport: Transport,
    document: "_Lazy",
    chosen: tuple[Source, dict[str, str]] | None,
) -> tuple[Source, dict[str, str]] | None:
    """The one source that takes a message; raises RejectedEvent where there is one beside it."""
    for source in sources:
        captures = source.match.takes(transport, document)
        if captures is None:
            continue
        if chosen is not None:
            raise RejectedEvent(
                RejectCode.TWO_SOURCES,
                f"expected one source for a message, found {chosen[0].name} and {source.name}; "
                "narrow what they match",
            )
        chosen = source, captures
    return chosen


class _Lazy:
    """The document of a message, read when it is asked for first."""

    __slots__ = ("_content", "_found", "_read")

    def __init__(self, content: bytes | str) -> None:
        self._content = content
        self._read = False
        self._found: msgspec.Raw | None = None

    def __call__(self) -> msgspec.Raw | None:
        if not self._read:
            self._found, self._read = _document(self._content), True
        return self._found


def looks_like_an_event(content: bytes | str) -> bool:
    """Whether a message has the names of an event: then sources that go by content are not for it."""
    try:
        text = content if isinstance(content, str) else content.decode()
        key, topic = _QUOTED
        return key in text and topic in text and _names(text).keys() >= set(_OF_EVENTS)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False


def as_event(content: bytes | str, parser: EventParser, ingestion_us: int) -> Outcome:
    """A message that is an event already; raises RejectedEvent."""
    try:
        text = content if isinstance(content, str) else content.decode()
    except UnicodeDecodeError as error:
        raise RejectedEvent(
            RejectCode.NOT_JSON, f"expected text in UTF-8, found another byte at {error.start}"
        ) from None
    topic, record = parser.parse(text, ingestion_us)
    return Outcome("", 0, [Made("", topic, record)])


def _document(content: bytes | str) -> msgspec.Raw | None:
    try:
        return slices.document(content if isinstance(content, bytes) else content.encode())
    except (RejectedEvent, UnicodeEncodeError):
        return None


NONE: Final = Sources(())
"""The sources of an environment that has none."""
