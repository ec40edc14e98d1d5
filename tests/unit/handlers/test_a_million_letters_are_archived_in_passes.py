"""A queue of more letters than one pass may hide is archived in passes, and each says how it ended."""

import io
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from archive_dead_letters.archive import archive
from common.intake import archive as dead_letter_archive
from common.intake import queue_pass
from common.intake.queue_pass import VISIBILITY_S

NOW = datetime(2026, 3, 10, tzinfo=UTC)
SENT_MS = str(int(NOW.timestamp() * 1000))


class Bucket:
    """S3 as far as the archive uses it."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_object(self, *, Key: str, Body: bytes, **_request: Any) -> None:
        self.objects[Key] = Body

    def get_object(self, *, Key: str, **_request: Any) -> dict[str, Any]:
        return {"Body": io.BytesIO(self.objects[Key])}

    def get_paginator(self, _operation: str) -> "Bucket":
        return self

    def paginate(self, *, Prefix: str, **_request: Any) -> list[dict[str, Any]]:
        return [{"Contents": [{"Key": key} for key in sorted(self.objects) if key.startswith(Prefix)]}]


class Queue:
    """A standard queue: it hands out any of what is visible, and hides no more than ``limit``."""

    def __init__(self, letters: int, limit: int) -> None:
        self.visible = [str(number) for number in range(letters)]
        self.hidden: set[str] = set()
        self.limit, self.draw = limit, random.Random(7)
        self.calls = 0

    def receive_message(self, VisibilityTimeout: int, **_request: Any) -> dict[str, Any]:
        assert VisibilityTimeout == VISIBILITY_S
        self.calls += 1
        if len(self.hidden) >= self.limit:
            raise ClientError({"Error": {"Code": "OverLimit", "Message": ""}}, "ReceiveMessage")
        taken = []
        for _ in range(min(10, len(self.visible))):
            place = self.draw.randrange(len(self.visible))
            self.visible[place], self.visible[-1] = self.visible[-1], self.visible[place]
            taken.append(self.visible.pop())
        self.hidden.update(taken)
        system = {"SentTimestamp": SENT_MS, "ApproximateReceiveCount": "1"}
        return {
            "Messages": [
                {"MessageId": name, "ReceiptHandle": name, "Body": f"body {name}", "Attributes": system}
                for name in taken
            ]
        }

    def change_message_visibility_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> Any:
        for entry in Entries:
            if entry["VisibilityTimeout"] == 0 and entry["ReceiptHandle"] in self.hidden:
                self.hidden.remove(entry["ReceiptHandle"])
                self.visible.append(entry["ReceiptHandle"])
        return {}


def test_passes_that_run_out_of_time_archive_every_letter_of_a_queue_a_hundred_times_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_pass, "MAX_HELD", 100)
    queue, bucket = Queue(10_000, limit=120), Bucket()
    written: list[Any] = []
    while len(written) < 100 and (not written or written[-1]):
        begun = queue.calls
        done = archive(
            queue,  # type: ignore[arg-type] # the calls that a pass makes
            bucket,  # type: ignore[arg-type] # likewise
            "url",
            "lake",
            now=NOW.replace(microsecond=len(written)),
            time_left_s=lambda: 900 - (queue.calls - begun),  # noqa: B023 - used within the iteration only
        )
        assert not done.complete
        assert (len(queue.visible), len(queue.hidden)) == (10_000, 0)
        written.append(done.written)
    bodies = [
        message.body
        for archived in dead_letter_archive.objects(bucket, "lake", NOW.date(), NOW.date())  # type: ignore[arg-type] # as above
        for message in archived.messages
    ]
    assert len(bodies) == len(set(bodies)) == sum(written)
    assert len(bodies) >= 9_900
    assert len(written) > 2
