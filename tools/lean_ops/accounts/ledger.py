"""The ledger: what was sent, so that a run can be reconciled with what arrived.

    <ledger>/<run>/run.json          what the run sends from: its source, as JSON values
    <ledger>/<run>/000000.parquet    a segment: the messages planned to be sent together
    <ledger>/<run>/000000.sent       the queue accepted that segment to the last message
    <ledger>/<run>/finished          the source was sent to its end
    <ledger>/erased-letters.json     how many dead letters were erased, by reason

A segment is on record before its first message leaves and is marked once the queue has taken the last one.
So a crash leaves messages that count as possibly sent, never messages that nobody knows of; a run that is
taken up again sends that segment once more, which changes nothing in the tables. No segment ever changes its
name: the ledger can be asked while a run is sending. Writing takes constant memory; questions are answered
by DuckDB over the segments.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from common.runtime.errors import InvalidInput
from lean_ops.accounts.messages import UNJUDGED, Kind, Message
from lean_ops.accounts.reconciliation import Observed, Reconciliation, Sent, SentTopic, Since, reconcile

_LETTERS: Final = "erased-letters.json"
_NAME: Final[pa.DataType] = pa.dictionary(pa.int8(), pa.string())
_SCHEMA: Final = pa.schema(
    [
        pa.field("topic", pa.dictionary(pa.int16(), pa.string())),
        pa.field("kind", _NAME),
        pa.field("message_id", pa.string()),
        pa.field("idempotency_key", pa.string()),
        pa.field("publish_us", pa.int64()),
        pa.field("reject_code", _NAME),
        pa.field("violation", _NAME),
        pa.field("deletes", pa.bool_()),
        pa.field("erased", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class WrongRow:
    """A key whose row in Curated is not the version that must have won.

    ``expected`` holds the message ids that may be there (none: the key was never sent), ``found`` the one
    that is (None: the key is missing).
    """

    idempotency_key: str
    expected: list[str]
    found: str | None


class LedgerRun:
    """The record of one run, written by one sender at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory: Final = directory
        self._segments = len(list(directory.glob("*.sent")))
        self._planned: Path | None = None

    @property
    def name(self) -> str:
        """The run's number in its ledger, as text."""
        return self.directory.name

    def messages_sent(self) -> int:
        """How many messages of the source the queue has accepted: where to take up the run again."""
        sent = (mark.with_suffix(".parquet") for mark in self.directory.glob("*.sent"))
        return sum(pq.read_metadata(segment).num_rows for segment in sent)

    def plan(self, messages: Sequence[Message]) -> None:
        """Put the next segment on record, before any of it is sent."""
        planned = self.directory / f"{self._segments:06d}.parquet"
        writing = planned.with_suffix(".writing")
        pq.write_table(_segment(messages), writing, compression="zstd")
        writing.replace(planned)
        self._planned = planned

    def confirm(self) -> None:
        """Record that the queue accepted every message of the planned segment."""
        if self._planned is None:
            raise InvalidInput(
                f"ledger run {self.directory}: expected a planned segment to confirm, found none; "
                "plan it first"
            )
        self._planned.with_suffix(".sent").touch()
        self._segments += 1
        self._planned = None

    def finish(self) -> None:
        """Record that the source was sent to its end."""
        (self.directory / "finished").touch()


class Ledger:
    """All runs that were sent into one stack."""

    def __init__(self, directory: Path) -> None:
        self._directory: Final = directory

    def begin(self, source: Mapping[str, object]) -> LedgerRun:
        """Start the record of a new run. ``source`` (JSON values) says what it sends from."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._directory.chmod(0o700)  # keys of readings are in it
        number = len(self._runs())
        while True:
            directory = self._directory / f"{number:06d}"
            try:
                directory.mkdir()
            except FileExistsError:  # another sender took this number
                number += 1
                continue
            # Whole or not at all: a run whose record is cut off could be told from no other.
            draft = directory / "run.json.new"
            try:
                draft.write_text(json.dumps({"source": source}, indent=1, allow_nan=False) + "\n")
                draft.replace(directory / "run.json")
            except OSError:  # a full disk leaves nothing of the run behind
                draft.unlink(missing_ok=True)
                directory.rmdir()
                raise
            return LedgerRun(directory)

    def resume(self, source: Mapping[str, object]) -> LedgerRun:
        """Take up the newest unfinished run of ``source``; raises InvalidInput where there is none."""
        wanted = json.loads(json.dumps(source))
        for directory in reversed(self._runs()):
            if _source(directory) == wanted and not (directory / "finished").exists():
                return LedgerRun(directory)
        raise InvalidInput(
            f"ledger {self._directory}: expected an unfinished run of the same source and options, "
            "found none; send without resuming, or give the options of the interrupted run"
        )

    def expected_in_raw(self, run: LedgerRun) -> int:
        """How many different good messages the queue has accepted from ``run``: so many must be in RAW."""
        return sum(len(ids) for ids in self.sent_ids(run).values())

    def sent_ids(self, run: LedgerRun) -> dict[str, set[str]]:
        """Message ids by topic of what the queue has accepted from ``run`` and RAW must have."""
        segments = [str(mark.with_suffix(".parquet")) for mark in sorted(run.directory.glob("*.sent"))]
        found: dict[str, set[str]] = {}
        for segment in segments:
            rows = pq.read_table(segment)
            columns = [rows[name].to_pylist() for name in ("topic", "kind", "message_id")]
            erased = rows["erased"].to_pylist() if "erased" in rows.column_names else [False] * rows.num_rows
            for topic, kind, message_id, gone in zip(*columns, erased, strict=True):
                if kind != Kind.BROKEN and not gone:
                    found.setdefault(topic, set()).add(message_id)
        return found

    def runs(self) -> list[LedgerRun]:
        """Every run that was sent into the stack, oldest first."""
        return [LedgerRun(directory) for directory in self._runs()]

    def source(self, run: LedgerRun) -> Mapping[str, object]:
        """What ``run`` sends from; empty where its record cannot be read."""
        return _source(run.directory) or {}

    def take_back(self, run: LedgerRun, message_ids: Set[str]) -> None:
        """Record that the queue lost ``message_ids``: ``run`` is to be resumed where the first of them is.

        What comes after it counts as possibly sent and is sent again, which changes nothing in the tables.
        """
        lost = False
        for mark in sorted(run.directory.glob("*.sent")):
            ids = pq.read_table(mark.with_suffix(".parquet"), columns=["message_id"])["message_id"]
            lost = lost or not message_ids.isdisjoint(ids.to_pylist())
            if lost:
                (run.directory / "finished").unlink(missing_ok=True)
                mark.unlink()

    def forget(self, topic: str, meant: Callable[[str, int], bool], name: Callable[[str], str]) -> int:
        """Keep of messages that were erased only that they were sent; gives how many there are.

        ``meant``: whether an event of ``topic`` is, by its key and publish time. ``name`` gives what stands
        in place of keys and message ids. They count as erased from now on (``Sent.erased``).
        """
        forgotten = 0
        for segment in sorted(self._directory.glob("*/*.parquet")):
            rows = pq.read_table(segment)
            names = ("topic", "idempotency_key", "publish_us", "message_id")
            topics, keys, times, ids = (list[Any](rows[name].to_pylist()) for name in names)
            gone = [
                one == topic and bool(key) and meant(key, at)
                for one, key, at in zip(topics, keys, times, strict=True)
            ]
            if not any(gone):
                continue
            before = rows["erased"].to_pylist() if "erased" in rows.column_names else [False] * len(gone)
            told = {
                "message_id": [name(text) if one else text for one, text in zip(gone, ids, strict=True)],
                "idempotency_key": [
                    name(text) if one else text for one, text in zip(gone, keys, strict=True)
                ],
                "erased": [one or was for one, was in zip(gone, before, strict=True)],
            }
            for column, values in told.items():
                array = pa.array(values, _SCHEMA.field(column).type)
                place = rows.schema.get_field_index(column)
                field = _SCHEMA.field(column)
                rows = rows.append_column(field, array) if place < 0 else rows.set_column(place, field, array)
            draft = segment.with_suffix(".erasing")
            pq.write_table(rows, draft, compression="zstd")
            draft.replace(segment)
            forgotten += sum(gone)
        return forgotten

    def forget_letters(self, codes: Mapping[str, int]) -> None:
        """Record that dead letters were erased, by the reason that they were rejected for."""
        letters = self._letters_erased() + Counter(codes)
        draft = self._directory / "erased-letters.json.new"
        self._directory.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(dict(letters)) + "\n")
        draft.replace(self._directory / _LETTERS)

    def _letters_erased(self) -> Counter[str]:
        path = self._directory / _LETTERS
        return Counter(json.loads(path.read_text())) if path.exists() else Counter()

    def unfinished(self) -> list[Mapping[str, object]]:
        """The sources of the runs that were not sent to their end, oldest first."""
        sources = [_source(run) for run in self._runs() if not (run / "finished").exists()]
        return [source for source in sources if source is not None]

    def sent(self, since: Mapping[str, Since] | None = None) -> Sent:
        """What was sent, in counts; without what is past, by topic."""
        with self._open() as ledger:
            _register_since(ledger, since or {})
            ((certain, uncertain, erased, past),) = ledger.execute(_CERTAINTY).fetchall()
            letters = self._letters_erased()
            broken = Counter(dict(ledger.execute(_BROKEN).fetchall()))
            violations: dict[str, dict[str, int]] = {}
            for topic, rule, count in ledger.execute(_VIOLATIONS).fetchall():
                violations.setdefault(topic, {})[rule] = count
            return Sent(
                messages=certain - letters.total(),
                uncertain=uncertain,
                erased=erased + letters.total(),
                past=past,
                by_kind=dict(ledger.execute(_KINDS).fetchall()),
                broken=dict(broken - letters),
                topics={
                    topic: SentTopic(*[*counts, violations.get(topic, {})])
                    for topic, *counts in ledger.execute(_TOPICS).fetchall()
                },
            )

    def reconcile(self, observed: Observed) -> Reconciliation:
        """Hold what arrived against what was sent."""
        since = {name: topic.since for name, topic in observed.topics.items()}
        return reconcile(self.sent(since), observed)

    def wrong_rows(self, topic: str, curated: pa.RecordBatchReader, limit: int = 20) -> list[WrongRow]:
        """Compare Curated, row by row, with the versions that must have won; at most ``limit`` differences.

        ``curated`` has the columns idempotency_key and message_id and is read once, in batches. A key whose
        newest versions tie on publish time may hold any of them: ingestion time decides, which the sender
        does not know. Empty when every message has arrived and every merge was right.
        """
        with self._open() as ledger:
            ledger.register("curated", curated)
            rows = ledger.execute(_WRONG_ROWS, {"topic": topic, "limit": limit}).fetchall()
        return [WrongRow(*row) for row in rows]

    def _runs(self) -> list[Path]:
        return sorted(path.parent for path in self._directory.glob("*/run.json"))

    def _open(self) -> duckdb.DuckDBPyConnection:
        """A connection with the views ``planned`` and ``messages``, which leaves out what was erased.

        ``uncertain`` marks those not known to be sent.
        """
        # What does not fit into memory is spilled beside the ledger, not into the current directory.
        connection = duckdb.connect(config={"temp_directory": str(self._directory / "spill")})
        segments = sorted(self._directory.glob("*/*.parquet"))
        if segments:
            open_segments = [str(path) for path in segments if not path.with_suffix(".sent").exists()]
            connection.register("open_segments", pa.table({"path": pa.array(open_segments, pa.string())}))
            # Segments of earlier versions know no deletes and no erasures.
            messages = connection.read_parquet(
                [str(path) for path in segments], filename=True, union_by_name=True
            )
            for missing in {"deletes", "erased"} - set(messages.columns):
                messages = messages.project(f"*, false AS {missing}")
            messages = messages.project("*, filename IN (SELECT path FROM open_segments) AS uncertain")
        else:
            messages = connection.from_arrow(_SCHEMA.append(pa.field("uncertain", pa.bool_())).empty_table())
        messages.create_view("planned")
        messages.filter("NOT erased").create_view("messages")
        return connection


def _source(directory: Path) -> Mapping[str, object] | None:
    """What a run sends from; None where its record cannot be read: nobody can resume it."""
    try:
        source = json.loads((directory / "run.json").read_bytes())["source"]
    except (ValueError, KeyError, TypeError):
        return None
    return source if isinstance(source, dict) else None


def _segment(messages: Sequence[Message]) -> pa.Table:
    return pa.Table.from_pydict(
        {
            "topic": [message.topic for message in messages],
            "kind": [message.kind.value for message in messages],
            "message_id": [message.message_id for message in messages],
            "idempotency_key": [message.key for message in messages],
            "publish_us": [message.publish_us for message in messages],
            "reject_code": [message.reject_code for message in messages],
            "violation": [message.violation for message in messages],
            "deletes": [message.deletes for message in messages],
            "erased": [False] * len(messages),
        },
        schema=_SCHEMA,
    )


def _register_since(connection: duckdb.DuckDBPyConnection, since: Mapping[str, Since]) -> None:
    rows = {
        "topic": pa.array(since.keys(), pa.string()),
        **{
            f"{layer}_us": pa.array((getattr(one, layer) for one in since.values()), pa.int64())
            for layer in ("raw", "curated", "semantic")
        },
    }
    connection.register("since", pa.table(rows))


_KINDS: Final = "SELECT kind, count(*) FROM messages GROUP BY kind ORDER BY kind"
_CERTAINTY: Final = f"""
    WITH aged AS (
        SELECT planned.*, NOT erased AND kind <> '{Kind.BROKEN}' AND publish_us < coalesce(raw_us, 0) AS past
        FROM planned LEFT JOIN since USING (topic))
    SELECT count(*) FILTER (NOT uncertain AND NOT erased AND NOT past),
           count(*) FILTER (uncertain AND NOT erased AND NOT past),
           count(*) FILTER (erased), count(*) FILTER (past)
    FROM aged"""  # noqa: S608 - constants only
_BROKEN: Final = f"""
    SELECT reject_code, count(*) FROM messages
    WHERE kind = '{Kind.BROKEN}' GROUP BY reject_code ORDER BY reject_code"""  # noqa: S608 - constants only
_VIOLATIONS: Final = f"""
    SELECT topic, violation, count(*) FROM messages
    WHERE violation NOT IN ('', '{UNJUDGED}') GROUP BY ALL ORDER BY ALL"""  # noqa: S608 - constants only
# One row a key: whether any version since its last delete keeps the contract, and how those of the newest
# time fare.
_TOPICS: Final = f"""
    WITH versions AS (
        SELECT *, publish_us = max(publish_us) OVER of_key AS newest,
               publish_us > coalesce(max(publish_us) FILTER (deletes) OVER of_key, -1) AS since_delete
        FROM messages LEFT JOIN since USING (topic) WHERE kind <> '{Kind.BROKEN}'
        WINDOW of_key AS (PARTITION BY topic, idempotency_key)),
    keys AS (
        SELECT topic, idempotency_key,
               count(*) AS messages,
               count(DISTINCT message_id) FILTER (publish_us >= coalesce(raw_us, 0)) AS message_ids,
               max(publish_us) >= coalesce(any_value(curated_us), 0) AS kept,
               max(publish_us) >= coalesce(any_value(semantic_us), 0) AS judged,
               bool_or(violation = '' AND since_delete AND publish_us >= coalesce(semantic_us, 0)) AS good,
               bool_and(violation <> '') FILTER (newest) AS bad,
               bool_or(violation <> '') FILTER (newest) AS maybe_bad,
               bool_or(violation = '{UNJUDGED}') AS unjudged
        FROM versions GROUP BY ALL)
    SELECT topic,
           sum(messages)::BIGINT, sum(message_ids)::BIGINT, count(*) FILTER (kept),
           count(*) FILTER (good), count(*) FILTER (judged AND bad),
           count(*) FILTER (judged AND maybe_bad AND NOT bad),
           NOT bool_or(unjudged)
    FROM keys GROUP BY topic ORDER BY topic"""  # noqa: S608 - constants only
_WRONG_ROWS: Final = f"""
    WITH newest AS (
        SELECT idempotency_key, message_id
        FROM messages WHERE topic = $topic AND kind <> '{Kind.BROKEN}'
        GROUP BY idempotency_key, message_id
        QUALIFY rank() OVER (PARTITION BY idempotency_key ORDER BY max(publish_us) DESC) = 1),
    expected AS (
        SELECT idempotency_key, list(message_id ORDER BY message_id) AS message_ids
        FROM newest GROUP BY idempotency_key)
    SELECT coalesce(expected.idempotency_key, curated.idempotency_key) AS idempotency_key,
           coalesce(message_ids, []), curated.message_id
    FROM expected FULL JOIN curated USING (idempotency_key)
    WHERE NOT coalesce(list_contains(message_ids, curated.message_id), false)
    ORDER BY ALL LIMIT $limit"""  # noqa: S608 - constants only
