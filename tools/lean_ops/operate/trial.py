"""What would become of messages: the functions' own code on files, with every outcome beside its message."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from common.intake.events import EventParser
from common.intake.sources import Sources, registry
from common.runtime.errors import InvalidInput, RejectedEvent
from common.runtime.topics import read_registry
from lean_ops.environment.target import Target

MAX_BODY_BYTES: Final = 1024 * 1024
"""Of a message of SQS (quotas, "Message size")."""


@dataclass(frozen=True)
class Raw:
    """A message as the queue would hold it. ``name``: where it was found."""

    name: str
    body: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    def record(self, arrived_ms: int) -> dict[str, Any]:
        """As Lambda is handed it."""
        return {
            "messageId": self.name,
            "body": self.body,
            "attributes": {"SentTimestamp": str(arrived_ms)},
            "messageAttributes": {
                name: {"dataType": "String", "stringValue": text} for name, text in self.attributes.items()
            },
        }


@dataclass(frozen=True)
class Event:
    """An event that would be delivered, as RAW would have it."""

    place: str
    fields: Mapping[str, Any]


@dataclass
class Tried:
    """What one message would become. ``dead``: code and reason of its dead letter, None for none."""

    message: Raw
    source: str = ""
    events: list[Event] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    dead: tuple[str, str] | None = None


def messages(
    path: Path, *, lines: bool, attributes: Mapping[str, str], mqtt_topic: str | None, client: str | None
) -> Iterator[Raw]:
    """The messages of a file: the whole of it, or each of its lines.

    With an MQTT topic each is wrapped as AWS IoT's rule does; bytes that are no text become base64, as
    whatever puts them on a queue must make of them. Raises InvalidInput.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: expected a file with messages, found {error.strerror}") from None
    parts = [line for line in content.split(b"\n") if line.strip()] if lines else [content]
    for number, part in enumerate(parts, start=1):
        name = f"{path.name}:{number}" if lines else path.name
        yield raw(name, part, attributes, mqtt_topic, client)


def raw(
    name: str, content: bytes, attributes: Mapping[str, str], mqtt_topic: str | None, client: str | None
) -> Raw:
    """One message of the queue; raises InvalidInput for one that no queue takes."""
    if mqtt_topic is not None:
        wrapped = {"data": base64.b64encode(content).decode(), "mqtt_topic": mqtt_topic, "client_id": client}
        body = json.dumps({key: value for key, value in wrapped.items() if value is not None})
    else:
        try:
            body = content.decode()
        except UnicodeDecodeError:
            body = base64.b64encode(content).decode()
    if not 0 < len(body.encode()) <= MAX_BODY_BYTES:
        raise InvalidInput(
            f"{name}: expected a message of 1 to {MAX_BODY_BYTES:,} bytes (SQS), found {len(body.encode()):,}"
        )
    return Raw(name, body, attributes)


def sources_of(target: Target) -> Sources:
    """The sources of an environment as its functions read them; raises ServiceFailure."""
    s3 = target.client("s3")
    if not read_registry(s3, target.lake_bucket).sources:
        return registry.NONE
    return registry.read_sources(s3, target.lake_bucket)


def tried(
    sources: Sources, topics: Iterable[str], several: Iterable[Raw], arrived_ms: int
) -> Iterator[Tried]:
    """What becomes of each message, one after the other."""
    parser = EventParser(frozenset(topics))
    for message in several:
        found = Tried(message)
        try:
            outcome = sources.read(message.record(arrived_ms), parser)
        except RejectedEvent as reason:
            found.dead = reason.code, reason.detail
        else:
            found.source = outcome.label if outcome.source else ""
            found.events = [Event(made.place, json.loads(made.record)) for made in outcome.events]
            found.skipped = outcome.skipped
            found.refused = [(refusal.place, refusal.code, refusal.detail) for refusal in outcome.refused]
            if (reason_of := outcome.reason) is not None:
                found.dead = reason_of.code, reason_of.detail
        yield found
