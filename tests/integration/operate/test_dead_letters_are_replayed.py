"""Dead letters go back to the source queue: selected, unchanged, each removed once it was accepted."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from typer.testing import CliRunner, Result

from common.runtime.errors import InvalidInput, LeanOpsError, TransientError
from common.runtime.retrying import RetryPolicy
from lean_ops.cli import app
from lean_ops.commands.options import STACKS
from lean_ops.environment import audit
from lean_ops.environment.target import Target
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.operate.replay import dead_letters
from lean_ops.operate.replay.pace import Pace
from lean_ops.operate.replay.selection import Selection

IMPATIENT = RetryPolicy(attempts=3, sleep=lambda _s: None)
AWKWARD = ['{"topic_name":"events","message_id":"m-1"', "käse ☃\t\r\n 'quotes\" $(x)", "{}", "x" * 200_000]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stack whose source queue nobody reads, so that what is sent there can be looked at."""
    stack = Stack(tmp_path_factory.mktemp("stack"), tied_to_parent=True)
    stack.up()
    target = LocalTarget.running(stack.folder)
    provision(target, Tuning(visibility_timeout_s=2))
    client = target.client("lambda")
    for mapping in client.list_event_source_mappings()["EventSourceMappings"]:
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    yield stack.folder
    stack.down(wipe=True)


@pytest.fixture(scope="module")
def name(folder: Path) -> Iterator[str]:
    link = STACKS / f"test-replay-{os.getpid()}"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(folder)
    yield link.name
    link.unlink()


@pytest.fixture
def target(folder: Path) -> Iterator[Target]:
    target = LocalTarget.running(folder)
    yield target
    for queue in (target.source_queue, target.dead_letter_queue):
        target.client("sqs").purge_queue(QueueUrl=target.queue_url(queue))
    s3 = target.client("s3")
    for entry in s3.list_objects_v2(Bucket=target.lake_bucket, Prefix="dead-letters/").get("Contents", []):
        s3.delete_object(Bucket=target.lake_bucket, Key=entry["Key"])


def send(target: Target, body: str, code: str | None = "NOT_JSON", **attributes: str) -> str:
    """Put a dead letter into the dead-letter queue."""
    values = attributes | ({"error_code": code, "error_detail": "why", "first_seen": "then"} if code else {})
    return target.client("sqs").send_message(
        QueueUrl=target.queue_url(target.dead_letter_queue),
        MessageBody=body,
        MessageAttributes={k: {"DataType": "String", "StringValue": v} for k, v in values.items()},
    )["MessageId"]


def event(number: int, topic: str = "events") -> str:
    return json.dumps({"topic_name": topic, "message_id": f"m-{number}"})


def content(target: Target, queue: str) -> list[dict[str, Any]]:
    """Every visible message of a queue."""
    url, found = target.queue_url(queue), []
    while (
        batch := target.client("sqs")
        .receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=30, MessageAttributeNames=["All"]
        )
        .get("Messages")
    ):
        found += batch
    for message in found:
        target.client("sqs").change_message_visibility(
            QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )
    return found  # type: ignore[return-value] # typed dictionaries


def bodies(target: Target, queue: str) -> list[str]:
    return sorted(message["Body"] for message in content(target, queue))


def replay(
    target: Target,
    selection: Selection | None = None,
    *,
    limit: int | None = None,
) -> tuple[audit.Entry, dead_letters.Replayed]:
    with audit.operation(target, "replay.dlq") as entry:
        done = dead_letters.replay(
            target,
            dead_letters.open_queue(target),
            selection or Selection(),
            entry,
            pace=Pace(),
            limit=limit,
            persistence=IMPATIENT,
        )
    return entry, done


def test_bodies_arrive_byte_for_byte_and_leave_the_dead_letter_queue(target: Target) -> None:
    for body in AWKWARD:
        send(target, body)
    entry, done = replay(target)
    assert bodies(target, target.source_queue) == sorted(AWKWARD)
    assert bodies(target, target.dead_letter_queue) == []
    assert (entry.counts["sent"], done.refused, done.complete) == (len(AWKWARD), {}, True)


def test_why_it_was_dead_is_left_out_and_the_senders_attributes_stay(target: Target) -> None:
    send(target, "a", device="d-1", replayed_by="an earlier one")
    entry, _ = replay(target)
    (message,) = content(target, target.source_queue)
    values = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert values == {"device": "d-1", "replayed_by": entry.operation_id}


def test_only_what_is_selected_goes_and_the_rest_is_visible_at_once(target: Target) -> None:
    send(target, event(1), "UNKNOWN_TOPIC")
    send(target, event(2, "weather"), "UNKNOWN_TOPIC")
    send(target, "broken", "NOT_JSON")
    send(target, event(4), code=None)
    replay(target, Selection(reasons=frozenset({"UNKNOWN_TOPIC"}), topic="weather"))
    assert bodies(target, target.source_queue) == [event(2, "weather")]
    assert bodies(target, target.dead_letter_queue) == sorted([event(1), "broken", event(4)])
    replay(target, Selection(ids=frozenset({"m-4"})))
    replay(target, Selection(reasons=frozenset({"REDRIVEN"})))
    assert bodies(target, target.source_queue) == sorted([event(2, "weather"), event(4)])


def test_a_limit_ends_after_so_many(target: Target) -> None:
    for number in range(25):
        send(target, event(number))
    entry, done = replay(target, limit=12)
    assert (entry.counts["sent"], done.complete) == (12, False)
    assert len(bodies(target, target.dead_letter_queue)) == 13


def test_what_comes_back_dead_is_not_sent_again_by_the_same_replay(target: Target) -> None:
    with audit.operation(target, "replay.dlq") as entry:
        send(target, "hopeless", replayed_by=entry.operation_id)
        send(target, "new")
        dead_letters.replay(
            target, dead_letters.open_queue(target), Selection(), entry, pace=Pace(), persistence=IMPATIENT
        )
    assert (entry.counts["sent"], entry.counts["returned"]) == (1, 1)
    assert bodies(target, target.dead_letter_queue) == ["hopeless"]


@pytest.mark.parametrize("queue", ["absent", "lean-ops-local-source"])
def test_a_queue_that_is_not_the_dead_letter_queue_of_the_source_is_refused(
    target: Target, queue: str
) -> None:
    with pytest.raises(InvalidInput, match="expected the dead-letter queue of lean-ops-local-source"):
        dead_letters.open_queue(target, queue)


class Faulty:
    """An SQS client that answers some operations with a fault; everything else reaches the queue."""

    def __init__(self, client: Any, operation: str, fault: Any) -> None:
        self._client, self._operation, self._fault = client, operation, fault

    def __getattr__(self, name: str) -> Any:
        if name != self._operation:
            return getattr(self._client, name)
        return lambda **request: self._fault(getattr(self._client, name), **request)


def with_fault(monkeypatch: pytest.MonkeyPatch, operation: str, fault: Any) -> None:
    client = LocalTarget.client
    monkeypatch.setattr(
        LocalTarget,
        "client",
        lambda self, service: (
            Faulty(client(self, service), operation, fault) if service == "sqs" else client(self, service)
        ),
    )


def throttled(_call: Any, **_request: Any) -> Any:
    raise ClientError({"Error": {"Code": "RequestThrottled", "Message": "slow down"}}, "SendMessageBatch")


def test_throttling_for_good_ends_with_nothing_lost_and_the_same_command_goes_on(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(15):
        send(target, event(number))
    with monkeypatch.context() as patch:
        with_fault(patch, "send_message_batch", throttled)
        with pytest.raises(TransientError, match=r"RequestThrottled; they stay where they are"):
            replay(target)
    assert len(bodies(target, target.dead_letter_queue)) == 15
    assert audit.entries(target, limit=1)[0].outcome is audit.Outcome.FAILED
    replay(target)
    assert bodies(target, target.source_queue) == sorted(event(number) for number in range(15))


def test_passing_throttling_is_waited_out(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def at_first(call: Any, **request: Any) -> Any:
        nonlocal calls
        calls += 1
        return call(**request) if calls > 2 else throttled(call)

    send(target, "a")
    with monkeypatch.context() as patch:
        with_fault(patch, "send_message_batch", at_first)
        replay(target)
    assert bodies(target, target.source_queue) == ["a"]


def test_an_answer_lost_on_the_way_repeats_a_message_and_loses_none(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def cut(call: Any, **request: Any) -> Any:
        nonlocal calls
        calls += 1
        answer = call(**request)
        if calls == 1:
            raise ReadTimeoutError(endpoint_url="queue")
        return answer

    send(target, "a")
    with monkeypatch.context() as patch:
        with_fault(patch, "send_message_batch", cut)
        replay(target)
    assert bodies(target, target.source_queue) == ["a", "a"]
    assert bodies(target, target.dead_letter_queue) == []


def test_what_the_source_queue_never_will_accept_stays_and_is_named(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(call: Any, QueueUrl: str, Entries: Any) -> Any:
        refused = [
            {"Id": e["Id"], "SenderFault": True, "Code": "InvalidMessageContents", "Message": "no"}
            for e in Entries
            if e["MessageBody"] == "bad"
        ]
        good = [e for e in Entries if e["MessageBody"] != "bad"]
        answer = call(QueueUrl=QueueUrl, Entries=good) if good else {}
        return answer | {"Failed": refused}

    send(target, "good")
    bad = send(target, "bad")
    with monkeypatch.context() as patch:
        with_fault(patch, "send_message_batch", picky)
        entry, done = replay(target)
    assert done.refused == {bad: "InvalidMessageContents: no"}
    assert (entry.counts["sent"], entry.counts["refused"]) == (1, 1)
    assert bodies(target, target.source_queue) == ["good"]
    assert bodies(target, target.dead_letter_queue) == ["bad"]


def test_a_letter_that_cannot_be_removed_is_counted_and_sent_once_more_later(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stays(_call: Any, **request: Any) -> Any:
        ids = [entry["Id"] for entry in request["Entries"]]
        return {"Failed": [{"Id": name, "SenderFault": False, "Code": "x"} for name in ids]}

    send(target, "a")
    with monkeypatch.context() as patch:
        with_fault(patch, "delete_message_batch", stays)
        entry, _ = replay(target)
    assert (entry.counts["sent"], entry.counts["unremoved"]) == (1, 1)
    assert bodies(target, target.dead_letter_queue) == ["a"]


def lean_ops(name: str, *arguments: str) -> Result:
    """Run a command in this process; what it raises is ``exception``."""
    return CliRunner().invoke(app, [*arguments, "--stack", name])


# What a killed pass held is visible again after this time; the product's own is longer than a test waits.
_SOON_VISIBLE = """
import sys
from common.intake import queue_pass
from lean_ops import cli
queue_pass.VISIBILITY_S = 2
sys.argv = ["lean-ops", *sys.argv[1:]]
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_replay_that_is_interrupted_or_killed_loses_nothing_and_can_be_run_again(
    target: Target, name: str, number: signal.Signals
) -> None:
    sent = [event(i) for i in range(80)]
    for body in sent:
        send(target, body)
    process = subprocess.Popen(
        [sys.executable, "-c", _SOON_VISIBLE, "replay", "dlq", "--stack", name, "--rate", "20"],
        stderr=subprocess.PIPE,
    )
    while not bodies(target, target.source_queue):
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    entry = audit.entries(target, operation="replay.dlq", limit=1)[0]
    moved = bodies(target, target.source_queue)
    if number is signal.SIGINT:
        assert process.returncode == 130
        assert b"the same command can be run again" in errors
        assert entry.outcome is audit.Outcome.INTERRUPTED
        assert entry.counts["sent"] == len(moved)
        assert sorted(moved + bodies(target, target.dead_letter_queue)) == sorted(sent)
    else:
        assert entry.outcome is audit.Outcome.STARTED
        time.sleep(2)
    assert 0 < len(moved) < len(sent)
    assert json.loads(lean_ops(name, "replay", "dlq", "--rate", "0", "--json").stdout)["complete"]
    assert bodies(target, target.dead_letter_queue) == []
    assert set(bodies(target, target.source_queue)) == set(sent)


def test_the_archive_is_replayed_and_kept_and_an_interrupted_replay_goes_on(
    target: Target, name: str
) -> None:
    for part in range(2):
        for number in range(6):
            send(target, event(10 * part + number))
        assert lean_ops(name, "dlq", "archive").exit_code == 0
    target.client("sqs").purge_queue(QueueUrl=target.queue_url(target.dead_letter_queue))
    first = json.loads(lean_ops(name, "replay", "dlq", "--from-archive", "--limit", "9", "--json").stdout)
    assert (first["done"], first["complete"]) == ({"sent": 9}, False)
    rest = json.loads(
        lean_ops(name, "replay", "dlq", "--from-archive", "--resume", first["operation_id"], "--json").stdout
    )
    assert rest["done"] == {"sent": 3}
    assert set(bodies(target, target.source_queue)) == {event(10 * p + n) for p in range(2) for n in range(6)}
    assert audit.find(target, rest["operation_id"]).resumes == first["operation_id"]
    dry = json.loads(lean_ops(name, "replay", "dlq", "--from-archive", "--dry-run", "--json").stdout)
    assert dry["messages"] == 12


def test_a_replay_of_a_few_archived_letters_goes_on_with_the_next_ones_when_it_is_repeated(
    target: Target, name: str
) -> None:
    sent = [event(number) for number in range(7)]
    for body in sent:
        send(target, body)
    assert lean_ops(name, "dlq", "archive").exit_code == 0
    target.client("sqs").purge_queue(QueueUrl=target.queue_url(target.dead_letter_queue))
    few = ("replay", "dlq", "--from-archive", "--limit", "3", "--json")
    replays = [json.loads(lean_ops(name, *few, "--since", "1h").stdout) for _ in range(4)]
    assert [replay["done"].get("sent", 0) for replay in replays] == [3, 3, 1, 0]
    assert sorted(bodies(target, target.source_queue)) == sorted(sent)
    assert replays[-1]["complete"]
    # Another selection, or one that says so, begins at the first letter.
    for arguments in (["--since", "1h", "--anew"], ["--since", "2h"], ["--reason", "NOT_JSON"]):
        assert json.loads(lean_ops(name, *few, *arguments).stdout)["done"] == {"sent": 3}


def test_only_a_replay_of_the_same_letters_is_resumed(target: Target, name: str) -> None:
    send(target, event(1))
    assert lean_ops(name, "dlq", "archive").exit_code == 0
    queue = json.loads(lean_ops(name, "replay", "dlq", "--json").stdout)["operation_id"]
    archive = json.loads(lean_ops(name, "replay", "dlq", "--from-archive", "--json").stdout)["operation_id"]
    for operation, options, expected in (
        (queue, [], "expected a replay from the archive, found replay.dlq"),
        (archive, ["--topic", "weather"], "expected the selection of operation"),
        (archive, ["--days", "31"], "expected the selection of operation"),
    ):
        done = lean_ops(name, "replay", "dlq", "--from-archive", "--resume", operation, *options)
        assert isinstance(done.exception, InvalidInput)
        assert expected in str(done.exception)


def test_a_damaged_archive_is_shown_and_replayed_without_its_damaged_lines(target: Target, name: str) -> None:
    for number in range(3):
        send(target, event(number))
    assert lean_ops(name, "dlq", "archive").exit_code == 0
    s3 = target.client("s3")
    (entry,) = s3.list_objects_v2(Bucket=target.lake_bucket, Prefix="dead-letters/")["Contents"]
    content = s3.get_object(Bucket=target.lake_bucket, Key=entry["Key"])["Body"].read()
    s3.put_object(Bucket=target.lake_bucket, Key=entry["Key"], Body=content[:-30])
    place = f"s3://{target.lake_bucket}/{entry['Key']}, line 3"
    shown = json.loads(lean_ops(name, "dlq", "show", "--from-archive", "--json").stdout)
    assert (shown["messages"], len(shown["damaged"])) == (2, 1)
    assert place in shown["damaged"][0]
    replayed = lean_ops(name, "replay", "dlq", "--from-archive", "--json")
    assert replayed.exit_code == 1
    assert json.loads(replayed.stdout)["done"] == {"sent": 2}
    assert list(json.loads(replayed.stdout)["refused"]) == [place]
    traced = json.loads(lean_ops(name, "trace", "m-1", "--json").stdout)
    assert place in traced["damaged"][0]


def test_a_dry_run_counts_shows_no_payload_and_sends_nothing(target: Target, name: str) -> None:
    send(target, '{"topic_name":"events","message_id":"m-1","payload":"canary"}', "UNKNOWN_TOPIC")
    send(target, "canary", "NOT_JSON")
    done = lean_ops(name, "replay", "dlq", "--dry-run", "--json")
    document = json.loads(done.stdout)
    assert document["counts"] == [
        {"reason": "NOT_JSON", "topic": "?", "messages": 1},
        {"reason": "UNKNOWN_TOPIC", "topic": "events", "messages": 1},
    ]
    assert "canary" not in done.stdout
    assert "canary" in lean_ops(name, "replay", "dlq", "--dry-run", "--show-payload").stdout
    assert bodies(target, target.source_queue) == []
    assert len(bodies(target, target.dead_letter_queue)) == 2


def test_dlq_show_says_what_waits_how_long_and_what_the_age_metric_leaves_out(
    target: Target, name: str
) -> None:
    send(target, event(1), "UNKNOWN_TOPIC")
    send(target, "a", None)
    for looked in (1, 2, 3):
        document = json.loads(lean_ops(name, "dlq", "show", "--json").stdout)
        assert document["hidden_from_age_metric"] == (2 if looked == 3 else 0)
    assert {entry["reason"] for entry in document["counts"]} == {"UNKNOWN_TOPIC", "REDRIVEN"}
    assert document["oldest"] < document["first_expires"]
    text = lean_ops(name, "dlq", "show", "--reason", "REDRIVEN").stdout
    assert "the queue's age metric leaves them out" in text
    assert lean_ops(name, "dlq", "show", "--reason", "TOO_LARGE").stdout.startswith(
        "lean-ops-local-dlq: no dead letter of this kind among 2."
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["dlq", "show", "--reason", "NOTJSON"], "--reason: expected one of MALFORMED_FIELD"),
        (["replay", "dlq", "--since", "soon"], "--since: expected a time with its offset"),
        (["replay", "dlq", "--queue", "lean-ops-local-source"], "expected the dead-letter queue of"),
        (["replay", "dlq", "--resume", "x"], "--resume: expected together with --from-archive"),
        (["replay", "dlq", "--from-archive", "--resume", "x"], "operation 'x': expected it in"),
    ],
)
@pytest.mark.usefixtures("target")
def test_wrong_options_are_named(name: str, arguments: list[str], expected: str) -> None:
    done = lean_ops(name, *arguments)
    assert isinstance(done.exception, LeanOpsError)
    assert expected in str(done.exception)
    assert done.stdout == ""


@pytest.mark.parametrize("rate", ["-1", "nan", "inf"])
def test_a_pace_that_is_none_is_wrong_usage(name: str, rate: str) -> None:
    done = lean_ops(name, "replay", "dlq", "--rate", rate)
    assert done.exit_code == 2
    assert "--rate" in done.output
