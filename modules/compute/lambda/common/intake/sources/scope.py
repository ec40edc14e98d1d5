"""What the expressions of a source see while one message is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from common.intake.events import RejectCode
from common.intake.sources import slices
from common.runtime.errors import RejectedEvent

# Bytes of JSON that the expressions of one message may look through, counted once for each expression and
# look: whoever asks for the whole message in each of its thousand readings asks for a thousand messages.
MOST_WORK_BYTES: Final = 16 * 1024 * 1024


class MessageRefused(RejectedEvent):
    """A message is refused as a whole: it is more than one may be, whatever its readings are.

    ``source``: the name of the source that read it, where one did.
    """

    source: str = ""


@dataclass(slots=True)
class Transport:
    """How a message came: what is known of it beside its content.

    ``arrived_us``: when a queue first took it, in microseconds since 1970 UTC. ``topic``, ``client`` and
    ``mqtt_time_ms``: of MQTT, None where it did not come that way. ``attributes``: its text attributes.
    """

    arrived_us: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    topic: str | None = None
    client: str | None = None
    mqtt_time_ms: int | None = None


class Message:
    """What all scopes of one message share. ``document``: what paths of ``$message`` begin at."""

    __slots__ = ("_form", "_left", "_of", "document", "transport")

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.document = slices.NULL
        self._left = MOST_WORK_BYTES
        self._of: msgspec.Raw | None = None
        self._form: Any = None

    def form(self, value: msgspec.Raw) -> Any:
        """The value as Python has it; a look that counts. Raises MessageRefused when there were too many.

        The last one is kept: readings share what they are in.
        """
        self._left -= len(memoryview(value))
        if self._left < 0:
            raise MessageRefused(
                RejectCode.TOO_LARGE,
                f"expected expressions to look through at most {MOST_WORK_BYTES:,} bytes for one message, "
                "found more; let them begin at the reading instead of the message",
            )
        if self._of is not value:
            try:
                self._form = slices.exact(value)
            except (msgspec.DecodeError, ValueError, ArithmeticError):
                raise RejectedEvent(
                    RejectCode.MALFORMED_FIELD,
                    "expected numbers that an expression can read, found one that is too long",
                ) from None
            self._of = value
        return self._form


class Scope:
    """One item that is looked at, in the middle of what it was found in.

    ``item``: the slice that paths begin at. ``names``: what ``$name`` stands for, parents among them.
    ``publish_us``: its time, once that is known.
    """

    __slots__ = ("_fields", "_read", "item", "message", "names", "publish_us")

    def __init__(self, item: msgspec.Raw, names: dict[str, msgspec.Raw], message: Message) -> None:
        self.item = item
        self.names = names
        self.message = message
        self.publish_us: int | None = None
        self._read = False
        self._fields: dict[str, msgspec.Raw] | None = None

    def field(self, name: str) -> msgspec.Raw | None:
        """A field of the item; None where it has none of that name, or is no object."""
        if not self._read:
            self._fields = slices.fields(self.item)
            self._read = True
        return None if self._fields is None else self._fields.get(name)

    def named(self, name: str) -> msgspec.Raw | None:
        """What ``$name`` is, None where there is no such thing for this message."""
        found = self.names.get(name)
        if found is None and (make := _MADE.get(name)):
            return make(self)
        return found


def rfc3339(microseconds: int) -> str:
    """A time as text, in UTC, with microseconds."""
    seconds, us = divmod(microseconds, 1_000_000)
    days, second = divmod(seconds, 86_400)
    return f"{_day(days)}{_MINUTES[second // 60]}{_SECONDS[second % 60]}{us:06d}Z"


@lru_cache(maxsize=1024)
def _day(days: int) -> str:
    return datetime.fromtimestamp(days * 86_400, UTC).strftime("%Y-%m-%d")


# Every message with a time in its key asks for it.
_MINUTES: Final = [f"T{minute // 60:02d}:{minute % 60:02d}:" for minute in range(1440)]
_SECONDS: Final = [f"{second:02d}." for second in range(60)]


def _or_none(value: object) -> msgspec.Raw | None:
    return None if value is None else slices.of(value)


def _levels(scope: Scope) -> msgspec.Raw | None:
    topic = scope.message.transport.topic
    return None if topic is None else slices.of(topic.split("/"))


_MADE: Final[Mapping[str, Callable[[Scope], msgspec.Raw | None]]] = {
    "topic": lambda scope: _or_none(scope.message.transport.topic),
    "levels": _levels,
    "client": lambda scope: _or_none(scope.message.transport.client),
    "mqtt_time": lambda scope: _or_none(scope.message.transport.mqtt_time_ms),
    "attribute": lambda scope: slices.of(dict(scope.message.transport.attributes)),
    "arrived": lambda scope: slices.of(rfc3339(scope.message.transport.arrived_us)),
    "message": lambda scope: scope.message.document,
    "time": lambda scope: None if scope.publish_us is None else slices.of(rfc3339(scope.publish_us)),
}

TRANSPORT_NAMES: Final = frozenset({"topic", "levels", "client", "mqtt_time", "attribute", "arrived"})
"""Names that have nothing to do with the content of a message."""
CONTENT_NAMES: Final = frozenset({"message", "parent", "key", "index"})
"""Names that every reading has; its time, its levels and the captures of a topic come to them."""
