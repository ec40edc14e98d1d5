"""Dead letters: looking at them, and sending them into the source queue again.

A dead letter is sent with its body byte for byte and its sender's own attributes; what said why it was dead
(``error_code`` and so on) is left out, and ``replayed_by`` names the replay. A letter that comes back to the
dead-letter queue while the replay goes on carries that mark and is not sent a second time.

The source queue gives a replayed message a new SentTimestamp, so its ``ingestion_ts`` is the time of the
replay. For the de-duplication rule that means: a copy of the message that was delivered before stays the one
that counts, since it was ingested first; and among different messages of a key with the same
``publish_time`` the replayed one is the later, as it is the one that reached the lake last.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from common.intake import archive as dead_letter_archive
from common.intake.dead_letters import ARRIVED_MS, MAX_ATTRIBUTES, REPLAYED_BY, WHY_DEAD
from common.intake.events import RejectCode
from common.intake.queue_pass import QueuedMessage, QueuePass
from common.layers.uncurable import ERROR_CODE as SET_ASIDE
from common.runtime.batching import SEND_MESSAGES
from common.runtime.errors import InvalidInput, TransientError
from common.runtime.retrying import RetryPolicy, code_may_pass
from lean_ops.environment import audit
from lean_ops.environment.target import Target
from lean_ops.operate.replay.intake import PERSISTENCE, Outgoing, QueueIntake, error_code
from lean_ops.operate.replay.pace import Pace
from lean_ops.operate.replay.selection import UNKNOWN_TOPIC, Selection, Tally, Waiting

if TYPE_CHECKING:
    from types_boto3_sqs.client import SQSClient

# The reason of a letter that SQS itself moved, after too many tries.
REDRIVEN: Final = "REDRIVEN"
REASONS: Final = frozenset({*RejectCode, REDRIVEN, SET_ASIDE})
# A message that was received this often no longer counts in the queue's age metric.
HIDING_RECEIVES: Final = 3
OPERATION: Final = "replay.dlq"
_ARCHIVE: Final = "archive"
_THREADS: Final = 4


class _Names(msgspec.Struct):
    """What a body says about itself; anything may be wrong with it."""

    topic_name: object = None
    message_id: object = None


_names: Final = msgspec.json.Decoder(_Names).decode


@dataclass(frozen=True)
class DeadLetterQueue:
    """A dead-letter queue that was seen to belong to the source queue."""

    name: str
    url: str
    source_url: str
    retention_s: int
    messages: int


@dataclass
class Look:
    """What a pass over dead letters found. ``hidden``: letters that the queue's age metric leaves out.

    ``damaged``: lines and objects of the archive that cannot be read, by place.
    """

    tally: Tally
    others: int = 0
    hidden: int = 0
    complete: bool = True
    damaged: list[str] = field(default_factory=list)


@dataclass
class Replayed:
    """What a replay found and what stayed, beside the counts in the audit trail.

    ``refused``: letters that the source queue never will accept, by id, and why. ``complete``: the replay saw
    the whole queue. ``damaged``: lines and objects of the archive that cannot be read, by place.
    """

    tally: Tally = field(default_factory=Tally)
    refused: dict[str, str] = field(default_factory=dict)
    complete: bool = True
    damaged: list[str] = field(default_factory=list)


def describe(message: QueuedMessage) -> Waiting:
    """A dead letter as operators select it: reason, topic and ids, as far as it says."""
    try:
        names = _names(message.body)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        names = _Names()
    topic = names.topic_name if isinstance(names.topic_name, str) else UNKNOWN_TOPIC
    event_id = names.message_id if isinstance(names.message_id, str) else None
    ids = (event_id, message.message_id, message.text_attribute("source_message_id"))
    return Waiting(
        reason=message.text_attribute("error_code") or REDRIVEN,
        topic=topic,
        at=datetime.fromtimestamp(message.sent_ms / 1000, UTC),
        ids=tuple(name for name in ids if name),
        detail=message.text_attribute("error_detail") or "",
        payload=message.body,
    )


def outgoing(message: QueuedMessage, operation_id: str) -> Outgoing:
    """What is sent for a dead letter: its body, its sender's attributes, and the mark of the replay."""
    attributes: dict[str, Any] = {
        name: value for name, value in message.attributes.items() if name not in {*WHY_DEAD, REPLAYED_BY}
    }
    if message.text_attribute("error_code") is None and len(attributes) < MAX_ATTRIBUTES:
        # SQS moved it here: when it came first, only SQS knows, and the replay has another time.
        attributes.setdefault(ARRIVED_MS, {"DataType": "String", "StringValue": str(message.sent_ms)})
    if len(attributes) < MAX_ATTRIBUTES:
        attributes[REPLAYED_BY] = {"DataType": "String", "StringValue": operation_id}
    return Outgoing(message.body, attributes)


def open_queue(target: Target, name: str | None = None) -> DeadLetterQueue:
    """The dead-letter queue ``name`` (default: the environment's own).

    Raises InvalidInput for a queue that the redrive policy of the source queue does not name: its messages
    were never meant for the source queue.
    """
    sqs = target.client("sqs")
    wanted = name or target.dead_letter_queue
    source_url = target.queue_url(target.source_queue)
    source = sqs.get_queue_attributes(QueueUrl=source_url, AttributeNames=["RedrivePolicy"])
    redrive = msgspec.json.decode(source.get("Attributes", {}).get("RedrivePolicy", "{}"))
    dead_letter_arn = str(redrive.get("deadLetterTargetArn", ""))
    if dead_letter_arn.rpartition(":")[2] != wanted:
        raise InvalidInput(
            f"queue {wanted}: expected the dead-letter queue of {target.source_queue}, which is "
            f"{dead_letter_arn.rpartition(':')[2] or 'not set'}; replay from that one"
        )
    url = target.queue_url(wanted)
    found = sqs.get_queue_attributes(
        QueueUrl=url, AttributeNames=["QueueArn", "MessageRetentionPeriod", "ApproximateNumberOfMessages"]
    )["Attributes"]
    if found["QueueArn"] != dead_letter_arn:
        raise InvalidInput(
            f"queue {wanted}: expected {dead_letter_arn}, the dead-letter queue of {target.source_queue}, "
            f"found {found['QueueArn']}; replay from the account and region of the environment"
        )
    return DeadLetterQueue(
        wanted,
        url,
        source_url,
        int(found["MessageRetentionPeriod"]),
        int(found["ApproximateNumberOfMessages"]),
    )


def look(
    target: Target,
    queue: DeadLetterQueue,
    selection: Selection,
    *,
    samples: int = 3,
    limit: int | None = None,
    on_progress: Callable[[int], None] = lambda _n: None,
) -> Look:
    """Count the letters in the queue, and the first ``samples`` of each reason; one receive a letter.

    Ends after ``limit`` letters, when given. Everything is given back at once.
    """
    found = Look(Tally(samples))
    seen = 0
    with _pass(target, queue) as letters:
        for batch in letters.batches():
            for message in batch:
                _count(found, message, selection)
                found.hidden += message.receive_count >= HIDING_RECEIVES
            seen += len(batch)
            on_progress(seen)
            if limit is not None and seen >= limit:
                break
    found.complete = letters.complete
    return found


def archive(target: Target) -> dict[str, Any]:
    """Have the function copy the letters into the lake bucket now; its counts. Raises TransientError."""
    answer = target.client("lambda").invoke(FunctionName=target.live("archive_dead_letters"))
    result: dict[str, Any] = msgspec.json.decode(answer["Payload"].read())
    if "FunctionError" in answer:
        raise TransientError(
            f"function archive_dead_letters: expected it to archive, found "
            f"{result.get('errorType')}: {result.get('errorMessage')}; see its log and run this again"
        )
    return result


def look_at_archive(
    target: Target, selection: Selection, first: date, last: date, *, samples: int = 3
) -> Look:
    """Count the letters in the archive that were sent on ``first`` to ``last``; the queue is not touched."""
    found = Look(Tally(samples))
    for archived in dead_letter_archive.read(target.client("s3"), target.lake_bucket, first, last):
        for message in archived.messages:
            _count(found, message, selection)
        found.damaged += archived.damaged
    return found


def replay(
    target: Target,
    queue: DeadLetterQueue,
    selection: Selection,
    entry: audit.Entry,
    *,
    pace: Pace,
    limit: int | None = None,
    persistence: RetryPolicy = PERSISTENCE,
    on_progress: Callable[[int], None] = lambda _n: None,
) -> Replayed:
    """Send the selected letters into the source queue, each removed once it was accepted.

    Counts in ``entry``: ``sent``; ``refused``, which stay; ``returned``, sent by this very replay and dead
    again; ``unremoved``, which were sent but could not be deleted, and so will be sent once more.
    ``on_progress`` is told how many letters were looked at. Raises TransientError when a queue keeps
    refusing; nothing is lost, and the same replay can be run again.
    """
    done = Replayed()
    mover = _Mover(target.client("sqs"), queue, done, entry, persistence)
    seen = taken = 0
    with _pass(target, queue) as letters, ThreadPoolExecutor(_THREADS, "replay") as threads:
        moving: deque[Future[None]] = deque()
        for batch in letters.batches():
            chosen = mover.choose(batch, selection)[: None if limit is None else limit - taken]
            for message in chosen:
                done.tally.add(describe(message))
            taken += len(chosen)
            if chosen:
                pace.wait(len(chosen))
                moving.append(threads.submit(mover.move, letters, chosen))
            while len(moving) >= 2 * _THREADS:
                moving.popleft().result()
            seen += len(batch)
            on_progress(seen)
            entry.heartbeat()
            if limit is not None and taken >= limit:
                break
        for future in moving:
            future.result()
    done.complete = letters.complete
    return done


def replay_archive(
    target: Target,
    selection: Selection,
    entry: audit.Entry,
    first: date,
    last: date,
    *,
    after: str = "",
    pace: Pace,
    limit: int | None = None,
    persistence: RetryPolicy = PERSISTENCE,
    on_progress: Callable[[int], None] = lambda _n: None,
) -> Replayed:
    """Send the selected letters of the archive, sent on ``first`` to ``last``, into the source queue.

    The archive keeps them. ``entry.place`` is how far the sending is: an object of the archive that was sent
    whole, or one and the letter in it that was sent last. Given as ``after`` to a later call, that goes on
    behind it. Otherwise as ``replay``.
    """
    done = Replayed()
    intake = QueueIntake(target.client("sqs"), target.queue_url(target.source_queue), persistence)
    seen = taken = 0
    entry.place = after
    after_key, _, after_letter = after.partition(" ")
    for archived in dead_letter_archive.read(target.client("s3"), target.lake_bucket, first, last):
        key = archived.key
        messages: Sequence[QueuedMessage] = archived.messages
        if key < after_key or (key == after_key and not after_letter):
            continue
        done.damaged += archived.damaged
        if key == after_key:
            messages = _behind(messages, after_letter)
        chosen = [message for message in messages if selection.takes(describe(message))]
        for start in range(0, len(chosen), SEND_MESSAGES.entries):
            part = chosen[start : start + SEND_MESSAGES.entries][: None if limit is None else limit - taken]
            if not part:
                break
            pace.wait(len(part))
            refused = intake.send([outgoing(message, entry.operation_id) for message in part])
            done.refused |= {part[i].message_id: why for i, why in refused.items()}
            for message in part:
                done.tally.add(describe(message))
            taken += len(part)
            entry.counts["sent"] += len(part) - len(refused)
            entry.counts["refused"] += len(refused)
            entry.place = f"{key} {part[-1].message_id}"
            entry.heartbeat()
        seen += len(messages)
        on_progress(seen)
        if limit is not None and taken >= limit:
            done.complete = False
            break
        entry.place = key
    return done


def _behind(messages: Sequence[QueuedMessage], letter: str) -> Sequence[QueuedMessage]:
    """The messages after the one with the id ``letter``; all of them where it cannot be read any more."""
    ids = [message.message_id for message in messages]
    return messages[ids.index(letter) + 1 :] if letter in ids else messages


def archive_selection(selection: Selection, days: int) -> dict[str, Any]:
    """What the audit trail says of a replay from the archive."""
    return {**selection.as_json(), "from": _ARCHIVE, "days": days}


def continued(target: Target, selection: Selection, days: int) -> audit.Entry | None:
    """The newest replay from the archive that a replay of this selection goes on behind, if there is one."""
    earlier = (entry for entry in audit.entries(target, operation=OPERATION) if entry.place)
    return next((entry for entry in earlier if _goes_on(entry.selection, selection, days)), None)


def resumed(target: Target, operation_id: str, selection: Selection, days: int) -> audit.Entry:
    """The replay from the archive with this id; raises InvalidInput where this selection is not its own."""
    entry = audit.find(target, operation_id)
    if entry.operation != OPERATION or entry.selection.get("from") != _ARCHIVE:
        raise InvalidInput(
            f"--resume: expected a replay from the archive, found {entry.operation}; "
            f"`lean-ops audit` lists operations: take a {OPERATION} whose selection is from the archive"
        )
    if not _goes_on(entry.selection, selection, days):
        raise InvalidInput(
            f"--resume: expected the selection of operation {operation_id}, which is "
            f"{dict(entry.selection)}, found {archive_selection(selection, days)}: what it passed over would "
            "be left out; give the same options, or begin anew without --resume"
        )
    return entry


def _goes_on(earlier: Mapping[str, Any], selection: Selection, days: int) -> bool:
    """Whether a replay of ``selection`` leaves nothing out behind the place of an ``earlier`` one.

    It may begin later, as one since some days ago does on every day.
    """
    now = archive_selection(selection, days)
    begins, began = now.pop("since", ""), earlier.get("since", "")
    same = now | {"days": 0} == {k: v for k, v in earlier.items() if k != "since"} | {"days": 0}
    before = earlier.get("days", 0)
    if not isinstance(began, str) or not isinstance(before, int):
        return False  # a record that somebody has changed
    return same and begins >= began and days <= before


class _Mover:
    """Moves letters from the dead-letter queue to the source queue; ``move`` runs in several threads."""

    def __init__(
        self,
        sqs: "SQSClient",
        queue: DeadLetterQueue,
        done: Replayed,
        entry: audit.Entry,
        persistence: RetryPolicy,
    ) -> None:
        self._intake: Final = QueueIntake(sqs, queue.source_url, persistence)
        self._queue: Final = queue
        self._done: Final = done
        self._entry: Final = entry
        self._persistence: Final = persistence
        self._lock: Final = threading.Lock()

    def choose(self, batch: Sequence[QueuedMessage], selection: Selection) -> list[QueuedMessage]:
        """The letters of the batch that are meant and have not been sent by this very replay."""
        chosen = [message for message in batch if selection.takes(describe(message))]
        ours = [m for m in chosen if m.text_attribute(REPLAYED_BY) == self._entry.operation_id]
        with self._lock:
            self._entry.counts["returned"] += len(ours)
        return [message for message in chosen if message not in ours]

    def move(self, letters: QueuePass, messages: Sequence[QueuedMessage]) -> None:
        """Send, then remove what was accepted."""
        refused = self._intake.send([outgoing(message, self._entry.operation_id) for message in messages])
        accepted = [message for i, message in enumerate(messages) if i not in refused]
        unremoved = self._remove(letters, accepted)
        with self._lock:
            self._done.refused |= {messages[i].message_id: why for i, why in refused.items()}
            self._entry.counts.update(
                {"sent": len(accepted), "refused": len(refused), "unremoved": len(unremoved)}
            )

    def _remove(self, letters: QueuePass, messages: Sequence[QueuedMessage]) -> list[QueuedMessage]:
        """Delete letters from the dead-letter queue; return those that stayed for all attempts."""
        left = list(messages)
        for attempt in range(self._persistence.attempts):
            if not left:
                break
            if attempt:
                self._persistence.wait(attempt)
            try:
                stayed = set(letters.remove(left))
            except ClientError as error:
                if not code_may_pass(error_code(error)):
                    raise
            except BotoCoreError:  # no answer: perhaps they are gone, and deleting twice does no harm
                continue
            else:
                left = [message for message in left if message.message_id in stayed]
        return left


def _pass(target: Target, queue: DeadLetterQueue) -> QueuePass:
    return QueuePass(target.client("sqs"), queue.url, wait_s=target.receive_wait_s)


def _count(found: Look, message: QueuedMessage, selection: Selection) -> None:
    waiting = describe(message)
    if selection.takes(waiting):
        found.tally.add(waiting)
    else:
        found.others += 1
