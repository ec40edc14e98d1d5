"""For whom a source is: by MQTT topic, by attributes of the queue's message, by fields of the content."""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from common.intake.dead_letters import ARRIVED_MS
from common.intake.sources import slices
from common.intake.sources.expressions import (
    Condition,
    Place,
    condition,
    described,
    listed,
    mapping,
    only,
    words,
)
from common.intake.sources.mqtt import FilterError, MqttFilter
from common.intake.sources.scope import CONTENT_NAMES, TRANSPORT_NAMES, Message, Scope, Transport
from common.runtime.errors import RejectedEvent

OTHERS: Final = "others"
TOPIC_FIELD: Final = "mqtt_topic"
"""Attribute, or field of the body, in which a bridge says the MQTT topic of a message."""
CLIENT_FIELD: Final = "client_id"
TIME_FIELD: Final = "mqtt_time"
CONTENT_FIELD: Final = "data"
"""Field of the body in which a bridge puts the message itself, as base64: its text stays exact."""
# What AWS IoT's clientid() says of a message that came by HTTP (SQL reference, "clientid()").
_NO_CLIENT: Final = "n/a"
_QUOTED_TOPIC: Final = f'"{TOPIC_FIELD}"'

_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True)
class Match:
    """``topics``: any of these filters; ``attributes``: each with one of these texts (None: any); ``fields``:
    each of these conditions on the content, with how they were written. ``others``: what nobody takes.
    """  # fmt: skip

    topics: tuple[MqttFilter, ...]
    attributes: Mapping[str, frozenset[str] | None]
    fields: tuple[Condition, ...]
    written_fields: Mapping[str, Any]
    others: bool = False

    @property
    def by_content_alone(self) -> bool:
        """Whether nothing but the content says that a message is for it."""
        return not self.topics and not self.attributes

    def takes(self, transport: Transport, content: Callable[[], msgspec.Raw | None]) -> dict[str, str] | None:
        """The captures of a message that is for this source, None for any other."""
        captures: dict[str, str] = {}
        if self.topics:
            topic = transport.topic
            fitting = (
                None
                if topic is None
                else next((f for t in self.topics if (f := t.match(topic)) is not None), None)
            )
            if fitting is None:
                return None
            captures = fitting
        for name, texts in self.attributes.items():
            found = transport.attributes.get(name)
            if found is None or (texts is not None and found not in texts):
                return None
        if self.fields:
            document = content()
            if document is None or not _hold(self.fields, document, transport):
                return None
        return captures

    def may_meet(self, other: "Match") -> str:
        """``always`` where one message may be for both by what both say, ``perhaps``, or nothing."""
        if self.others or other.others:
            return "always" if self.others and other.others else ""
        for name in self.attributes.keys() & other.attributes.keys():
            ours, theirs = self.attributes[name], other.attributes[name]
            if ours is not None and theirs is not None and not ours & theirs:
                return ""
        for path in self.written_fields.keys() & other.written_fields.keys():
            if not _may_share(self.written_fields[path], other.written_fields[path]):
                return ""
        if self.topics and other.topics and not any(a.meets(b) for a in self.topics for b in other.topics):
            return ""
        return "always" if self._asks <= other._asks or other._asks <= self._asks else "perhaps"

    @property
    def _asks(self) -> frozenset[str]:
        """What it looks at: who looks at no more than another cannot tell its messages from the other's."""
        return frozenset(
            (*("topic" for _ in self.topics), *map("attribute {}".format, self.attributes),
             *map("field {}".format, self.written_fields))
        )  # fmt: skip


def match_of(written: object, place: Place) -> Match:
    """Compile ``match``; raises SourceError."""
    if written == OTHERS:
        return Match((), {}, (), {}, others=True)
    given = mapping(written, place)
    only(given, place, "topic", "attributes", "fields")
    fields = mapping(given["fields"], place.at("fields")) if "fields" in given else {}
    attributes = mapping(given["attributes"], place.at("attributes")) if "attributes" in given else {}
    return Match(
        _filters(given.get("topic", []), place.at("topic")),
        {
            str(name): _texts(texts, place.at("attributes").at(str(name)))
            for name, texts in attributes.items()
        },
        tuple(_field(path, wanted, place.at("fields")) for path, wanted in fields.items()),
        dict(fields),
    )


def _filters(written: object, place: Place) -> tuple[MqttFilter, ...]:
    found = []
    for one in written if isinstance(written, list) else [written]:
        try:
            found.append(MqttFilter(words(one, place)))
        except FilterError as error:
            raise place.error(str(error)) from None
    if any(one.captures.keys() != found[0].captures.keys() for one in found):
        raise place.error("expected the same names in all filters, found others")
    return tuple(found)


def _texts(written: object, place: Place) -> frozenset[str] | None:
    if written is True:
        return None
    return frozenset(words(one, place) for one in (written if isinstance(written, list) else [written]))


def _field(path: object, wanted: object, place: Place) -> Condition:
    at = place.at(str(path))
    tested = {"of": path, "present": True} if wanted is True else {"of": path, "one_of": _list(wanted, at)}
    return condition(tested, Place(at.where, TRANSPORT_NAMES | CONTENT_NAMES))


def _list(written: object, place: Place) -> list[Any]:
    if written is None or isinstance(written, Mapping):
        raise place.error(f"expected true, a value or a list of values; found {described(written)}")
    return listed(written, place) if isinstance(written, list) else [written]


def _may_share(ours: Any, theirs: Any) -> bool:
    if ours is True or theirs is True:
        return True
    mine, other = (one if isinstance(one, list) else [one] for one in (ours, theirs))
    return any(a == b for a in mine for b in other)


def _hold(conditions: tuple[Condition, ...], document: msgspec.Raw, transport: Transport) -> bool:
    message = Message(transport)
    message.document = document
    scope = Scope(document, {}, message)
    try:
        return all(one(scope) for one in conditions)
    except RejectedEvent:  # what cannot be read is no message of this source
        return False


def received(record: Mapping[str, Any]) -> tuple[bytes | str, Transport]:
    """The content and the transport of an SQS record: of what a bridge wrapped, the message inside.

    A bridge, as AWS IoT's rule of this project, may put topic, client and time beside the message: in
    attributes, or in a body of their own with the message as base64 in ``data``.
    """
    body: str = record["body"]
    attributes = {
        name: text
        for name, attribute in record.get("messageAttributes", {}).items()
        if (text := attribute.get("stringValue")) is not None
    }
    sent_ms = int(record["attributes"]["SentTimestamp"])
    arrived_ms = attributes.pop(ARRIVED_MS, "") if ARRIVED_MS in attributes else ""
    if arrived_ms and arrived_ms.isascii() and arrived_ms.isdigit() and len(arrived_ms) < 14:
        sent_ms = min(sent_ms, int(arrived_ms))
    content: bytes | str = body
    topic, client, time_ms = attributes.get(TOPIC_FIELD), attributes.get(CLIENT_FIELD), None
    if _QUOTED_TOPIC in body and (wrapped := _wrapped(body)) is not None:
        content, topic, client, time_ms = wrapped
    return content, Transport(sent_ms * 1000, attributes, topic, client, time_ms)


def content_of(body: str) -> tuple[bytes | str, str | None]:
    """What a bridge wrapped, with its MQTT topic; a body that nobody wrapped as it is."""
    wrapped = _wrapped(body) if _QUOTED_TOPIC in body else None
    return (body, None) if wrapped is None else wrapped[:2]


def _wrapped(body: str) -> tuple[bytes | str, str, str | None, int | None] | None:
    """Content, topic, client and time of a body that says its topic, None of any other."""
    try:
        found = _fields(body)
        topic, client, time, data = (
            found.get(name) for name in (TOPIC_FIELD, CLIENT_FIELD, TIME_FIELD, CONTENT_FIELD)
        )
        if topic is None or slices.kind(topic) != "text":
            return None
        said = slices.number(time) if time is not None else None
        content: bytes | str = body
        if data is not None and slices.kind(data) == "text" and found.keys() <= _OF_BRIDGE:
            content = base64.b64decode(slices.text(data) or "", validate=True)
    except (msgspec.DecodeError, UnicodeError, binascii.Error, RecursionError):
        return None
    whole = int(said) if said is not None and said == said.to_integral_value() else None
    client_id = None if client is None else slices.text(client)
    return content, slices.text(topic) or "", None if client_id == _NO_CLIENT else client_id, whole


_OF_BRIDGE: Final = frozenset({TOPIC_FIELD, CLIENT_FIELD, TIME_FIELD, CONTENT_FIELD})
