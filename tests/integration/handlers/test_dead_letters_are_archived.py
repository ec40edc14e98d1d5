"""Dead letters are copied to the lake bucket, each once, and stay in their queue."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from archive_dead_letters.archive import archive
from common.intake import archive as dead_letter_archive
from common.intake.archive import ArchivedObject, MalformedArchive, decode_line, encode_line
from common.intake.queue_pass import QueuedMessage
from common.lake.setting_aside import SetAside
from common.layers.uncurable import send_letters, set_aside_since
from lean_ops.environment.target import Target
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.operate.doctor import stored

from ...support.topic import event

BODIES = ['{"topic_name": "events"', "käse ☃ 𝄞\t\r\n", "x" * 300_000, "\"quoted\" 'text' \\u0000"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    stack = Stack(tmp_path_factory.mktemp("stack"), tied_to_parent=True)
    stack.up()
    provision(LocalTarget.running(stack.folder), Tuning(visibility_timeout_s=2))
    yield stack.folder
    stack.down(wipe=True)


@pytest.fixture
def target(folder: Path) -> Iterator[Target]:
    target = LocalTarget.running(folder)
    yield target
    sqs, url = target.client("sqs"), target.queue_url(target.dead_letter_queue)
    sqs.purge_queue(QueueUrl=url)
    s3 = target.client("s3")
    for entry in s3.list_objects_v2(Bucket=target.lake_bucket, Prefix="dead-letters/").get("Contents", []):
        s3.delete_object(Bucket=target.lake_bucket, Key=entry["Key"])


def send(target: Target, *bodies: str) -> None:
    url = target.queue_url(target.dead_letter_queue)
    for body in bodies:
        target.client("sqs").send_message(
            QueueUrl=url,
            MessageBody=body,
            MessageAttributes={
                "error_code": {"DataType": "String", "StringValue": "NOT_JSON"},
                "signature": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
            },
        )


def waiting(target: Target) -> dict[str, str]:
    url = target.queue_url(target.dead_letter_queue)
    counts = target.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return {
        "visible": counts["ApproximateNumberOfMessages"],
        "hidden": counts["ApproximateNumberOfMessagesNotVisible"],
    }


def run(target: Target, seconds_left: float = 900.0) -> Any:
    return archive(
        target.client("sqs"),
        target.client("s3"),
        target.queue_url(target.dead_letter_queue),
        target.lake_bucket,
        now=datetime.now(UTC),
        time_left_s=lambda: seconds_left,
    )


def objects_of_today(target: Target) -> Iterator[ArchivedObject]:
    today = datetime.now(UTC).date()
    return dead_letter_archive.read(target.client("s3"), target.lake_bucket, today - timedelta(days=1), today)


def archived_now(target: Target) -> list[QueuedMessage]:
    return [message for archived in objects_of_today(target) for message in archived.messages]


def test_bodies_and_attributes_are_kept_byte_for_byte_and_the_queue_keeps_its_messages(
    target: Target,
) -> None:
    send(target, *BODIES)
    done = run(target)
    assert (done.written, done.known, done.complete) == (len(BODIES), 0, True)
    found = archived_now(target)
    assert sorted(message.body for message in found) == sorted(BODIES)
    for message in found:
        assert message.attributes["error_code"] == {"DataType": "String", "StringValue": "NOT_JSON"}
        assert message.attributes["signature"] == {"DataType": "Binary", "BinaryValue": b"\x00\xff"}
        assert abs(message.sent_ms / 1000 - datetime.now(UTC).timestamp()) < 60
    assert waiting(target) == {"visible": str(len(BODIES)), "hidden": "0"}


def test_a_message_is_archived_once_however_many_passes_see_it(target: Target) -> None:
    send(target, *(f"first {i}" for i in range(25)))
    assert run(target).written == 25
    send(target, "second")
    again = run(target)
    assert (again.written, again.known, again.objects) == (1, 25, 1)
    assert run(target).objects == 0
    assert len(archived_now(target)) == 26


def test_a_pass_that_runs_out_of_time_gives_back_and_the_next_one_goes_on(target: Target) -> None:
    send(target, *(f"message {i}" for i in range(25)))
    stopped = run(target, seconds_left=30.0)
    assert (stopped.written, stopped.complete) == (10, False)
    assert waiting(target) == {"visible": "25", "hidden": "0"}
    assert run(target).written == 15


def damage(target: Target, change: Callable[[bytes], bytes]) -> str:
    """Change the one object of the archive; gives its key."""
    s3 = target.client("s3")
    (entry,) = s3.list_objects_v2(Bucket=target.lake_bucket, Prefix="dead-letters/")["Contents"]
    content = s3.get_object(Bucket=target.lake_bucket, Key=entry["Key"])["Body"].read()
    s3.put_object(Bucket=target.lake_bucket, Key=entry["Key"], Body=change(content))
    return entry["Key"]


@pytest.mark.parametrize(
    ("change", "lost", "damaged"),
    [
        (lambda content: content[:-20], 1, 1),
        (lambda content: content + b"[" * 5_000 + b"\n", 0, 1),
        (lambda content: content.replace(b'"sent_ms":', b'"sent_ms":9999'), 3, 3),
        (lambda content: content.replace(b"AP8=", "käse".encode(), 1), 1, 1),
        (lambda content: b"\x00" * 100 + b"\n" + content, 0, 1),
        (lambda _content: b"", 3, 0),
    ],
)
def test_a_damaged_line_is_named_and_stops_neither_archiving_nor_reading(
    target: Target, change: Callable[[bytes], bytes], lost: int, damaged: int
) -> None:
    send(target, "a", "b", "c")
    run(target)
    key = damage(target, change)
    found = list(objects_of_today(target))
    readable = [message.body for archived in found for message in archived.messages]
    assert len(readable) == 3 - lost
    places = [place for archived in found for place in archived.damaged]
    assert all(place.startswith(f"s3://{target.lake_bucket}/{key}, line ") for place in places)
    assert len(places) == damaged
    notes = [shown.found for shown in stored.archive(target)]
    assert notes == ([f"{damaged} lines cannot be read, the first: {places[0]}"] if places else [])
    again = run(target)
    # What cannot be read is archived once more while its letter waits, so that nothing is lost by the damage.
    assert (again.written, again.known, again.complete) == (lost, 3 - lost, True)
    assert len(again.damaged) == len(places)
    assert sorted(message.body for message in archived_now(target)) == ["a", "b", "c"]


def test_a_window_of_any_length_is_one_listing_of_its_days(target: Target) -> None:
    s3, bucket = target.client("s3"), target.lake_bucket
    days = ["0999-12-31", "2019-12-31", "2020-01-01", "2020-01-02", "2020-02-29", "9999-12-31"]
    inside = [f"dead-letters/{day}/{name}" for day in days for name in ("a", "b/c")]
    for key in [*inside, "dead-letters/2020-01-01", "dead-letters/2020-01-1/a", "dead-letters/readme"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    requests: list[object] = []
    s3.meta.events.register("before-call.s3.ListObjectsV2", lambda **call: requests.append(call))
    for first, last in [
        (date.min, date.max),
        (date(2020, 1, 1), date(2020, 1, 1)),
        (date(2020, 1, 2), date(2026, 1, 1)),
        (date(2020, 1, 3), date(2020, 1, 3)),
    ]:
        requests.clear()
        found = list(dead_letter_archive.keys(s3, bucket, first, last))
        assert found == [key for key in inside if first.isoformat() <= key.split("/")[1] <= last.isoformat()]
        assert len(requests) == 1


def test_a_line_is_one_json_object_with_its_body_as_text(target: Target) -> None:
    send(target, "plain")
    run(target)
    s3 = target.client("s3")
    (entry,) = s3.list_objects_v2(Bucket=target.lake_bucket, Prefix="dead-letters/")["Contents"]
    day = datetime.now(UTC)
    assert entry["Key"].startswith(f"dead-letters/{day:%Y-%m-%d}/{day:%Y%m%d}T")
    line = json.loads(s3.get_object(Bucket=target.lake_bucket, Key=entry["Key"])["Body"].read())
    assert (line["body"], line["attributes"]["signature"]["BinaryValue"]) == ("plain", "AP8=")


def test_the_deployed_function_archives_what_waits(target: Target) -> None:
    send(target, "by the function")
    answer = target.client("lambda").invoke(
        FunctionName=target.function("archive_dead_letters"), Payload=b'{"trigger": "schedule"}'
    )
    result = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, result
    assert (result["written"], result["known"], result["complete"]) == (1, 0, True)
    assert [message.body for message in archived_now(target)] == ["by the function"]


def test_what_is_no_unicode_text_is_kept_in_base64() -> None:
    message = QueuedMessage("id", "half a pair \ud800", 1)
    line = encode_line(message)
    assert json.loads(line).keys() >= {"body_base64"}
    assert decode_line(line, "here") == message


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b'{"message_id": "a", "sent_ms": 1, "receive_count": 1, "attributes": {}}']
)
def test_a_malformed_line_is_named_with_its_place(line: bytes) -> None:
    with pytest.raises(MalformedArchive, match=r"key, line 3: expected"):
        decode_line(line, "s3://lake/key, line 3")


def test_rows_that_were_set_aside_are_found_in_queue_and_archive(target: Target) -> None:
    sqs, url = target.client("sqs"), target.queue_url(target.dead_letter_queue)
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)

    def aside(message_id: str | None) -> None:
        row = event("k", "m", 1, 1) | {"message_id": message_id}
        send_letters(sqs, url, [SetAside(pa.Table.from_pylist([row]), "expected a number, found a text")])

    def found() -> list[str]:
        s3, bucket = target.client("s3"), target.lake_bucket
        return sorted(set_aside_since(long_ago, sqs=sqs, queue_url=url, s3=s3, bucket=bucket))

    send(target, "refused for another reason")
    aside("archived")
    run(target)
    sqs.purge_queue(QueueUrl=url)
    aside("waits")
    aside(None)
    assert found() == ["", "archived", "unknown", "waits"]
    assert waiting(target) == {"visible": "2", "hidden": "0"}
