"""Events: the text of a queued message → the record that Firehose writes into RAW, or a reason why not.

The rules are those of the event contract (docs/architecture.md, "The event"). A record carries every
column of RAW by name: Firehose drops unknown fields silently and refuses records with missing ones.
Timestamps are whole microseconds since 1970 UTC, the only form that Firehose's Iceberg destination takes
for certain. The payload travels as one string, byte for byte as it was sent.

Nothing here depends on the wall clock: a message that is delivered again yields the same record.
"""

import json
import re
import traceback
from collections import Counter
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from common.runtime.errors import RejectedEvent
from common.runtime.logs import logger
from common.runtime.topics import named

# "Maximum size of a record ... 1,000 KiB", Firehose quotas. Counted after the payload became a JSON string.
MAX_RECORD_BYTES: Final = 1_000 * 1024
# Levels of objects and arrays. Parsers give up somewhere beyond, each Python version elsewhere; the rule must
# not depend on where a function runs.
MAX_NESTING: Final = 500
EARLIEST_PUBLISH_US: Final = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
MAX_FUTURE_US: Final = 86_400 * 1_000_000
_DAY_US: Final = 86_400 * 1_000_000
SURELY_FLAT: Final = 2 * MAX_NESTING
"""Characters of a text that cannot be nested too deep: what is closed again takes two a level."""
# A text that never ends reaches to the end: else each quote after it would be tried as a beginning again.
_NO_BRACKET: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[^"\[\]{}]++', re.DOTALL)
# Quotes around the required fields' names and values, around the payload's name, and around an optional
# field's name and value.
_REQUIRED_QUOTES: Final = 4 * 4
_PAYLOAD_QUOTES: Final = 2
_OPTIONAL_QUOTES: Final = 4
DELETE: Final = "delete"
"""The ``operation`` that takes a key away; without one, an event is an upsert."""
_ABSENT: Final = msgspec.Raw(b"")


class RejectCode(StrEnum):
    """Why a message can never succeed. Stable: metrics, attributes and replay filters use these names."""

    NOT_JSON = "NOT_JSON"
    NOT_AN_OBJECT = "NOT_AN_OBJECT"
    MISSING_FIELD = "MISSING_FIELD"
    MALFORMED_FIELD = "MALFORMED_FIELD"
    REPEATED_FIELD = "REPEATED_FIELD"
    UNKNOWN_TOPIC = "UNKNOWN_TOPIC"
    TIME_OUT_OF_RANGE = "TIME_OUT_OF_RANGE"
    TOO_LARGE = "TOO_LARGE"
    NOT_UNPACKED = "NOT_UNPACKED"
    NO_SOURCE = "NO_SOURCE"
    TWO_SOURCES = "TWO_SOURCES"
    UNPROCESSABLE = "UNPROCESSABLE"
    """No rule is broken that is known: reading the message failed, which is a fault of this code."""


class Envelope(msgspec.Struct, gc=False):
    """The event as devices send it. Fields beyond these are not read: what is open is the payload."""

    message_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    idempotency_key: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    topic_name: str
    publish_time: Annotated[datetime, msgspec.Meta(tz=True)]
    # Required, but for a delete, which has none.
    payload: msgspec.Raw = _ABSENT
    # There is no year 0: ISO 8601 and Python's, Java's and SQL's dates disagree on what it would be.
    period_reference: Annotated[str, msgspec.Meta(pattern=r"^(?!0000)[0-9]{4}-(0[1-9]|1[0-2])\Z")] | None = (
        None
    )
    correlation_id: str | None = None
    operation: Literal["upsert", "delete"] | None = None


class RawRecord(msgspec.Struct, gc=False):
    """One row of RAW, in the column order of ``modules/storage/tables/raw.json`` (a test compares them)."""

    message_id: str
    idempotency_key: str
    topic_name: str
    period_reference: str | None
    correlation_id: str | None
    publish_time: int
    ingestion_ts: int
    json_payload: str | None
    # Records from before there was one have none.
    operation: str | None = None
    source: str | None = None


class EventParser:
    """Turns message bodies into Firehose records for the topics of one environment."""

    def __init__(self, topics: AbstractSet[str]) -> None:
        self._topics = topics
        self._decode = msgspec.json.Decoder(Envelope).decode
        self._encode = msgspec.json.Encoder().encode
        self._period_of_day: dict[int, str] = {}

    def parse(self, body: str, ingestion_us: int) -> tuple[str, bytes]:
        """Return (topic, Firehose record) of one message.

        ``body`` is the message as queued; ``ingestion_us`` its SentTimestamp in microseconds since 1970
        UTC. Raises RejectedEvent with a RejectCode; the detail never repeats a value of the message.
        """
        # Hardly a longer message has as many brackets.
        if (
            len(body) > SURELY_FLAT
            and body.count("{") + body.count("[") > MAX_NESTING
            and nested_too_deep(body)
        ):
            raise _too_deep()
        try:
            event = self._decode(body)
        except msgspec.ValidationError as error:
            raise _breach(error) from None
        except RecursionError:  # of what is never closed
            raise _too_deep() from None
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise RejectedEvent(RejectCode.NOT_JSON, f"expected one JSON object: {error}") from None

        payload = bytes(event.payload).decode()
        _check_payload(event.operation, payload)
        if _quotes_beside(payload, body) != _quotes_needed(event) and (twice := _repeated(body)):
            raise RejectedEvent(
                RejectCode.REPEATED_FIELD, f"expected each field once, found more than one {', '.join(twice)}"
            )
        row = RawRecord(
            event.message_id,
            event.idempotency_key,
            event.topic_name,
            event.period_reference,
            event.correlation_id,
            round(event.publish_time.timestamp() * 1_000_000),
            ingestion_us,
            payload or None,
            event.operation,
        )
        return event.topic_name, self.record(row)

    def record(self, row: RawRecord) -> bytes:
        """The Firehose record of an event whose parts are well-formed; raises RejectedEvent.

        A row without a period gets that of its time.
        """
        topic, publish_us = row.topic_name, row.publish_time
        if topic not in self._topics:
            raise RejectedEvent(
                RejectCode.UNKNOWN_TOPIC,
                f"topic_name: expected a topic of this environment ({named(self._topics)}), found another",
            )
        if not EARLIEST_PUBLISH_US <= publish_us <= row.ingestion_ts + MAX_FUTURE_US:
            found = "an earlier time" if publish_us < EARLIEST_PUBLISH_US else "a later time"
            raise RejectedEvent(
                RejectCode.TIME_OUT_OF_RANGE,
                "publish_time: expected 2000-01-01 to one day after the queue accepted the message, "
                f"found {found}",
            )
        if not row.period_reference:
            row.period_reference = self._period(publish_us)
        record = self._encode(row)
        if len(record) > MAX_RECORD_BYTES:
            raise RejectedEvent(
                RejectCode.TOO_LARGE,
                f"expected a Firehose record of at most {MAX_RECORD_BYTES} bytes, found {len(record)}",
            )
        return record

    def _period(self, publish_us: int) -> str:
        day = publish_us // _DAY_US
        period = self._period_of_day.get(day)
        if period is None:
            period = datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m")
            self._period_of_day[day] = period
        return period


def _check_payload(operation: str | None, payload: str) -> None:
    if operation == DELETE:
        if payload:
            raise RejectedEvent(
                RejectCode.MALFORMED_FIELD,
                "payload: expected none beside operation delete, found one; with a payload it is an upsert",
            )
    elif not payload:
        raise RejectedEvent(RejectCode.MISSING_FIELD, "Object missing required field `payload`")
    elif payload[0] != "{":
        raise RejectedEvent(RejectCode.MALFORMED_FIELD, "payload: expected a JSON object, found another type")


def _too_deep() -> RejectedEvent:
    return RejectedEvent(
        RejectCode.NOT_JSON, f"expected JSON of at most {MAX_NESTING} levels: nested too deep"
    )


def unprocessable(error: Exception, message_id: str = "") -> RejectedEvent:
    """The reason of what a fault of the code kept from being read; an error's own words may quote a value."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}, line {last.lineno}"
    logger("sqs_processor").error(
        "message could not be read",
        extra={"message_id": message_id, "error": type(error).__name__, "where": where},
    )
    return RejectedEvent(
        RejectCode.UNPROCESSABLE,
        f"expected to read the message, found {type(error).__name__} at {where}: mend the code, then replay",
    )


def nested_too_deep(body: str) -> bool:
    """Whether more levels of objects and arrays are open at once than allowed; texts may hold brackets."""
    depth = 0
    for mark in _NO_BRACKET.sub("", body):
        if mark in "{[":
            depth += 1
            if depth > MAX_NESTING:
                return True
        else:
            depth -= 1
    return False


def _quotes_needed(event: Envelope) -> int:
    """How many quotes the envelope's fields have at least; one that is there twice adds two or more."""
    return (
        _REQUIRED_QUOTES
        + _PAYLOAD_QUOTES * bool(event.payload)
        + _OPTIONAL_QUOTES * (event.operation is not None)
        + _OPTIONAL_QUOTES * (event.period_reference is not None)
        + _OPTIONAL_QUOTES * (event.correlation_id is not None)
    )


def _quotes_beside(payload: str, body: str) -> int:
    """Quotes of ``body`` outside its ``payload``, which most often comes last and need not be read then."""
    end = len(body) - 1
    if body.endswith(payload, 0, end):
        return body.count('"', 0, end - len(payload))
    return body.count('"') - payload.count('"')


def _repeated(body: str) -> list[str]:
    """Envelope fields that a valid event names more than once, however their names are escaped."""
    # Numbers stay texts: reading a long one takes time that grows with the square of its length.
    names = json.loads(body, object_pairs_hook=_names, parse_int=str, parse_float=str)
    counts = Counter(names)
    return [name for name in Envelope.__struct_fields__ if counts[name] > 1]


def _names(pairs: list[tuple[str, object]]) -> list[str]:
    return [name for name, _ in pairs]


def _breach(error: msgspec.ValidationError) -> RejectedEvent:
    """Name the broken rule. msgspec's messages name types and paths, never values."""
    text = str(error)
    if text.startswith("Object missing required field"):
        return RejectedEvent(RejectCode.MISSING_FIELD, text)
    if "`$." not in text:
        return RejectedEvent(RejectCode.NOT_AN_OBJECT, text)
    return RejectedEvent(RejectCode.MALFORMED_FIELD, text)
