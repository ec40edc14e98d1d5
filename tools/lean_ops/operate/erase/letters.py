"""Events that lie outside of tables: dead letters, their archive, and what Firehose could not deliver.

An event is meant where its topic and key are; a message of a device, where those of a reading in it are.
Where nobody can read a key (a message that is no JSON, a record that is cut off), it is meant if one of the
keys stands in it; a message of another known topic never is.
"""

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import msgspec

from common.intake.archive import PREFIX as ARCHIVE
from common.intake.archive import MalformedArchive, decode_line
from common.intake.events import EventParser
from common.intake.queue_pass import QueuedMessage, QueuePass
from common.intake.sources import Sources
from common.intake.sources.matching import content_of
from common.intake.sources.registry import NONE
from common.layers.erased import Erased
from common.runtime import outside
from common.runtime.errors import RejectedEvent
from lean_ops.accounts.observation import REDRIVEN
from lean_ops.environment.target import Target
from lean_ops.operate.erase.objects import Objects
from lean_ops.operate.erase.terms import Terms
from lean_ops.operate.replay.error_objects import PREFIX as ERRORS

# Letters that this pass has just removed count as hidden for a while: SQS's counts are consistent after a
# minute at the earliest (API reference, GetQueueAttributes). What the pass holds itself is hidden for longer.
_COUNTED_S: Final = 90.0

PLACES: Final = {"dead-letter archive": ARCHIVE, "delivery errors": ERRORS}


@dataclass(frozen=True)
class Meant:
    """Whether an event outside of tables is to go: by clear keys, and by what is remembered.

    ``topics``: those of the environment. ``until_us``: what was published up to then of ``keys`` is meant,
    in microseconds since 1970. ``sources``: by which a message of a device says its keys.
    """

    topic: str
    topics: Collection[str]
    keys: frozenset[str]
    until_us: int
    erased: Erased
    sources: Sources = NONE

    def event(self, key: str, published_us: int | None = None) -> bool:
        """Whether an event of the topic is meant; one whose time nobody can tell is."""
        named = key in self.keys and (published_us is None or published_us <= self.until_us)
        return named or self.erased.covers(key, published_us)

    def message(self, body: bytes) -> bool:
        """Whether a message, or a record of RAW, is of an erased key."""
        try:
            event = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._names_a_key(body)
        if not isinstance(event, dict):
            return self._names_a_key(body)
        topic, key = event.get("topic_name"), event.get("idempotency_key")
        if topic != self.topic and isinstance(topic, str) and topic in self.topics:
            return False
        if isinstance(key, str):
            return self.event(key, _published(event.get("publish_time")))
        return self._names_a_key(body)

    def letter(self, letter: QueuedMessage) -> bool:
        """Whether a dead letter is, or holds a reading, of an erased key, however it is packed."""
        return self.message(letter.body.encode("utf-8", "surrogatepass")) or self._reading(letter)

    def _reading(self, letter: QueuedMessage) -> bool:
        attributes = {
            name: {"dataType": "String", "stringValue": attribute["StringValue"]}
            for name, attribute in letter.attributes.items()
            if attribute.get("StringValue")
        }
        record = {
            "body": letter.body,
            "attributes": {"SentTimestamp": str(letter.sent_ms)},
            "messageAttributes": attributes,
        }
        try:
            made = self.sources.read(record, EventParser(frozenset(self.topics))).events
        except RejectedEvent:
            made = []
        rows = [msgspec.json.decode(one.record) for one in made if one.topic == self.topic]
        if any(self.event(row["idempotency_key"], row["publish_time"]) for row in rows):
            return True
        # What no source reads, or a reading that it refuses, may name a key all the same.
        content, _ = content_of(letter.body)
        return not isinstance(content, str) and self._names_a_key(content)

    def line(self, key: str, line: bytes) -> bool:
        """Whether a line of an archive object, or of an error object, holds such an event."""
        if key.startswith(ARCHIVE):
            try:
                letter = decode_line(line, key)
            except MalformedArchive:
                return self._names_a_key(line)
            return self.letter(letter)
        return any(self.message(record) for record in _records(line))

    def lines(self, key: str, content: bytes) -> list[tuple[bytes, bool]] | None:
        """The lines of an object, and whether each holds such an event; None for one that holds no events."""
        if not key.startswith((ARCHIVE, ERRORS)):
            return None
        return [(line, bool(line.strip()) and self.line(key, line)) for line in content.split(b"\n")]

    def count(self, key: str, content: bytes) -> int:
        """How many lines of an object hold such an event."""
        return sum(meant for _, meant in self.lines(key, content) or ())

    def _names_a_key(self, text: bytes) -> bool:
        """Of what nobody can read: whether a key stands in it within quotes, or one in clear anywhere

        alone.
        """
        return any(map(self.event, _texts_in(text))) or bool(self._terms.standing_alone(text))

    @cached_property
    def _terms(self) -> Terms:
        return Terms(sorted(self.keys))


def _texts_in(text: bytes) -> Iterator[str]:
    """All that stands between two quotes, inside or outside: where a text is cut off nobody knows which is
    which.

    A JSON text within another has its quotes escaped.
    """
    plain = text.replace(b'\\"', b'"')
    for whole in {text, plain}:
        for found in whole.split(b'"')[1:-1]:
            try:
                yield msgspec.json.decode(b'"' + found + b'"', type=str)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                yield found.decode(errors="replace")


def _records(line: bytes) -> Iterator[bytes]:
    """What a line of an error object may hold an event in: its record, and else itself."""
    try:
        document = msgspec.json.decode(line)
        yield base64.b64decode(document["rawData"], validate=True)
        # Firehose's own words about a record may quote it.
        yield str({name: value for name, value in document.items() if name != "rawData"}).encode()
    except (
        msgspec.MsgspecError,
        UnicodeDecodeError,
        RecursionError,
        binascii.Error,
        TypeError,
        KeyError,
        ValueError,
    ):
        yield line


def _published(value: Any) -> int | None:
    """Microseconds since 1970 of a publish time, as an event or a record of RAW has it; None for neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return round(datetime.fromisoformat(str(value)).timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        return None


def count_in_queue(target: Target, meant: Meant, queue_url: str) -> int:
    """How many dead letters of the queue are meant; all are given back."""
    with _pass(target, queue_url) as letters:
        return sum(meant.letter(message) for batch in letters.batches() for message in batch)


def erase_from_queue(
    target: Target, meant: Meant, queue_url: str, told: Callable[[Counter[str]], None]
) -> bool:
    """Remove the dead letters that are meant; whether the whole queue was seen, and all of them went.

    It was not where somebody else hides letters to the end: the archive, a replay, or an erasure that was
    killed, for minutes yet. What they hide comes back unseen, so the queue is gone through until nobody did
    before the last round, nor after it. ``told`` how many went, by the reason that they were rejected for.
    """
    stayed, alone, deadline = 0, False, None
    with _pass(target, queue_url) as letters:
        while True:
            for batch in letters.batches():
                if gone := [message for message in batch if meant.letter(message)]:
                    kept = set(letters.remove(gone))
                    removed = [message for message in gone if message.message_id not in kept]
                    told(Counter(message.text_attribute("error_code") or REDRIVEN for message in removed))
                    stayed += len(kept)
            if stayed or not letters.complete:
                return False
            deadline = deadline or outside.monotonic() + _COUNTED_S
            was_alone, alone = alone, _hidden(target, queue_url) <= letters.held
            if alone and was_alone:
                return True
            if outside.monotonic() >= deadline:
                return False
            if not alone:
                outside.sleep(_COUNTED_S / 6)  # SQS's count is right within a minute


def _hidden(target: Target, queue_url: str) -> int:
    """How many letters somebody hides, this process too, as SQS counts them."""
    found = target.client("sqs").get_queue_attributes(
        QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessagesNotVisible"]
    )
    return int(found["Attributes"]["ApproximateNumberOfMessagesNotVisible"])


def count_in_objects(objects: Objects, meant: Meant, prefix: str) -> int:
    """How many lines of the current objects under ``prefix`` are meant."""
    current = (one for one in objects.versions(prefix) if one.current and not one.marker)
    return sum(meant.count(one.key, objects.read(one) or b"") for one in current)


def erase_from_objects(objects: Objects, meant: Meant, prefix: str, told: Callable[[int], None]) -> None:
    """Take such lines out of all objects under ``prefix``, and remove the versions that have them."""
    for one in list(objects.versions(prefix)):
        content = None if one.marker else objects.read(one)
        lines = meant.lines(one.key, content or b"") or ()
        if not any(gone for _, gone in lines):
            continue
        if one.current:
            kept = [line for line, gone in lines if not gone]
            objects.replace(one.key, b"\n".join(kept) if any(map(bytes.strip, kept)) else b"")
            told(len(lines) - len(kept))
        else:
            objects.remove([one])


def _pass(target: Target, queue_url: str) -> QueuePass:
    return QueuePass(target.client("sqs"), queue_url, wait_s=target.receive_wait_s)
