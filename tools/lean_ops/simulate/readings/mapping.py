"""The mapping: which columns are an event's key and time, and what its payload looks like.

A row becomes one event. ``message_id`` is a hash of topic, key, time and payload, so that sending the same
file again changes nothing, and a corrected row (same key, later time) is a correction.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from common.intake.events import DELETE, EventParser
from common.runtime.errors import InvalidInput, RejectedEvent
from lean_ops.accounts.messages import UNJUDGED, Kind, Message
from lean_ops.simulate.readings.rows import BadRow, Row, json_of_cell, json_string, plain_text, read_rows
from lean_ops.simulate.readings.times import TimeReader

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_Tree = dict[str, "str | _Tree"]


@dataclass(frozen=True)
class ReadingMapping:
    """How rows become events of ``topic``.

    ``key`` names the columns whose values, joined by ``:``, are the idempotency key; ``time`` the column of
    the publish time (``timezone`` and ``time_format``: see TimeReader). Both may name a constant, or a
    value inside a nested one (``device.id``). All columns go into the payload, key and time included,
    except those in ``drop``; ``rename`` gives them other names (old → new), where dots make nested objects.
    ``constants`` (name → text) are added to every row, read as CSV cells are. ``operation`` names the column
    that says what a row does: ``delete`` takes its key back and has no payload; else ``upsert`` or null.
    """

    topic: str
    key: tuple[str, ...]
    time: str
    timezone: str = "UTC"
    time_format: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()
    constants: Mapping[str, str] = field(default_factory=dict)
    operation: str | None = None

    def __post_init__(self) -> None:
        """Refuse a mapping without a key."""
        if not self.key or not all(self.key):
            raise InvalidInput(f"key: expected the name of at least one column, found {self.key}; name one")

    def source(self, path: Path) -> Mapping[str, object]:
        """What a ledger run of ``path`` sends from (JSON values): equal means the same messages."""
        stat = path.stat()
        return {
            "file": str(path.resolve()),
            "bytes": stat.st_size,
            "modified_ns": stat.st_mtime_ns,
            "mapping": {**asdict(self), "drop": sorted(self.drop)},
        }


class RowMapper:
    """Turns rows into messages. ``now_us`` (microseconds UTC) is what "not in the future" is judged by."""

    def __init__(self, mapping: ReadingMapping, now_us: int) -> None:
        self._mapping: Final = mapping
        self._now_us: Final = now_us
        self._times: Final = TimeReader(mapping.timezone, mapping.time_format)
        self._rules: Final = EventParser({mapping.topic})
        self._constants: Final = {name: json_of_cell(text) for name, text in mapping.constants.items()}
        self._paths: dict[str, tuple[str, ...]] = {}

    def message(self, row: Row) -> Message | BadRow:
        """The event of one row, or why it has none: it must pass the rules that the pipeline applies."""
        values = {**row.values, **self._constants}
        try:
            key = ":".join(_scalar(values, name) for name in self._mapping.key)
            publish_us = self._times.microseconds(_scalar(values, self._mapping.time))
            publish_time = (_EPOCH + timedelta(microseconds=publish_us)).isoformat().replace("+00:00", "Z")
            deletes = self._deletes(values)
            payload = "" if deletes else self._payload(values)
        except (ValueError, OverflowError) as error:
            return BadRow(row.number, str(error))
        content = "\0".join((self._mapping.topic, key, publish_time, payload))
        message_id = hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
        what = '"operation":"delete"' if deletes else f'"payload":{payload}'
        body = (
            f'{{"message_id":"{message_id}","idempotency_key":{json_string(key)},'
            f'"topic_name":{json_string(self._mapping.topic)},"publish_time":"{publish_time}",{what}}}'
        )
        # The two characters that JSON allows in a string and SQS does not (SQS API, SendMessage).
        body = body.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
        try:
            self._rules.parse(body, self._now_us)
        except RejectedEvent as refusal:
            return BadRow(row.number, str(refusal))
        return Message(
            body,
            self._mapping.topic,
            Kind.ORIGINAL,
            message_id,
            key,
            publish_us,
            violation=UNJUDGED,
            deletes=deletes,
        )

    @property
    def ambiguous_times(self) -> int:
        """How many times stood in an hour that the timezone has twice, so that two readings may share one."""
        return self._times.ambiguous

    def _deletes(self, values: Mapping[str, str]) -> bool:
        """Whether the row takes its key back; raises ValueError for a word that is no operation."""
        if self._mapping.operation is None:
            return False
        name = self._mapping.operation
        text = _find(values, name)
        if text is None:
            raise ValueError(f"{name!r}: expected delete, upsert or nothing, found no such column")
        word = (plain_text(text) or "").strip()
        if word not in ("", DELETE, "upsert"):
            raise ValueError(f"{name!r}: expected delete, upsert or nothing, found another word")
        return word == DELETE

    def _payload(self, values: Mapping[str, str]) -> str:
        """JSON text of the payload; raises ValueError where two columns claim the same place."""
        tree: _Tree = {}
        for column, text in values.items():
            if column in self._mapping.drop or column == self._mapping.operation:
                continue
            *parents, leaf = self._path(column)
            node = tree
            for parent in parents:
                child = node.setdefault(parent, {})
                if isinstance(child, str):
                    raise _taken(column)
                node = child
            if leaf in node:
                raise _taken(column)
            node[leaf] = text
        return _render(tree)

    def _path(self, column: str) -> tuple[str, ...]:
        """Where a column stands in the payload."""
        path = self._paths.get(column)
        if path is None:
            path = self._paths[column] = tuple(self._mapping.rename.get(column, column).split("."))
        return path


def messages(
    path: Path,
    mapping: ReadingMapping,
    on_bad_row: Callable[[BadRow], None],
    on_ambiguous_time: Callable[[Row], None] = lambda _row: None,
) -> Iterator[Message]:
    """The events of a file, in its order; ``on_bad_row`` is told of each row that is left out.

    ``on_ambiguous_time`` is told of each whose time stands in an hour that the timezone has twice: it was
    taken for the first, so that two readings may have one time and one key. Raises InvalidInput for a file or
    a mapping that cannot be used at all.
    """
    mapper = RowMapper(mapping, current_us())
    for row in read_rows(path):
        before = mapper.ambiguous_times
        message = row if isinstance(row, BadRow) else mapper.message(row)
        if isinstance(message, BadRow):
            on_bad_row(message)
            continue
        if isinstance(row, Row) and mapper.ambiguous_times > before:
            on_ambiguous_time(row)
        yield message


def current_us() -> int:
    """Now, in microseconds since 1970 UTC."""
    return time.time_ns() // 1_000


def _taken(column: str) -> ValueError:
    return ValueError(f"expected a place of its own in the payload for {column!r}, found it taken; rename it")


def _scalar(values: Mapping[str, str], name: str) -> str:
    """Text of a column, a constant, or a value nested in one; raises ValueError where there is none."""
    text = _find(values, name)
    value = None if text is None else plain_text(text)
    if value is None or not value.strip():
        raise ValueError(f"{name!r}: expected a value, found {'no such column' if text is None else 'none'}")
    return value


def _find(values: Mapping[str, str], name: str) -> str | None:
    if name in values:
        return values[name]
    parent, _, rest = name.partition(".")
    if not rest or not values.get(parent, "").startswith("{"):
        return None
    nested = msgspec.json.decode(values[parent], type=dict[str, msgspec.Raw])
    return _find({key: bytes(text).decode() for key, text in nested.items()}, rest)


def _render(tree: _Tree) -> str:
    members = (
        f"{json_string(name)}:{_render(child) if isinstance(child, dict) else child}"
        for name, child in tree.items()
    )
    return "{" + ",".join(members) + "}"
