"""Parts are read by themselves: one that fails or hangs is said in its place, and others are shown."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from common.runtime.errors import InvalidInput, TransientError
from common.runtime.outside import Outside, standing_in
from lean_ops.environment.target import Target
from lean_ops.sight.parts import Part, Publish, Read, Seen, sentence
from lean_ops.sight.watching import THREADS, Watch

TARGET = Target("dev", region="eu-west-1")
FOREVER_S = 60.0


@contextmanager
def watching(*parts: Part) -> Iterator[Watch]:
    watch = Watch(lambda: TARGET, parts)
    try:
        yield watch
    finally:
        watch.close()


def part(name: str, read: Read, *, every_s: float = 1000, within_s: float = 1000) -> Part:
    return Part(name, name, read, every_s, within_s)


def good(_target: Target, _publish: Publish) -> str:
    return "good"


def bad(_target: Target, _publish: Publish) -> str:
    raise TransientError("queue: expected an answer, found none; try again")


def surprising(_target: Target, _publish: Publish) -> str:
    raise KeyError("secret value of a payload")


def test_what_fails_is_said_in_its_place() -> None:
    with watching(part("a", bad), part("b", good), part("c", surprising)) as watch:
        seen = watch.ask(["a", "b", "c"], patience_s=FOREVER_S)
    assert seen["a"].trouble == "queue: expected an answer, found none; try again"
    assert seen["b"].value == "good"
    assert "KeyError" in seen["c"].trouble
    assert "secret" not in seen["c"].trouble


def test_what_hangs_is_said_to_be_late_and_counts_when_it_comes() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(_target: Target, _publish: Publish) -> str:
        begun.set()
        go_on.wait(FOREVER_S)
        return "at last"

    with watching(part("slow", slow, within_s=0), part("b", good)) as watch:
        seen = watch.ask(["slow", "b"], patience_s=0.05)
        assert begun.wait(FOREVER_S)
        late = watch.ask(["slow"], patience_s=0)["slow"]
        assert "expected an answer within 0 s" in late.trouble
        assert watch.ask(["b"], patience_s=FOREVER_S)["b"].value == "good"
        assert not seen["slow"].ready
        go_on.set()
        assert watch.ask(["slow"], patience_s=FOREVER_S)["slow"].value == "at last"


def test_what_waits_for_its_turn_is_not_late() -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(_target: Target, _publish: Publish) -> str:
        begun.release()
        go_on.wait(FOREVER_S)
        return "done"

    names = [f"slow {number}" for number in range(THREADS)]
    with watching(*(part(name, slow) for name in names), part("last", good, within_s=0)) as watch:
        watch.ask(names, patience_s=0)
        for _ in names:
            assert begun.acquire(timeout=FOREVER_S)
        waiting = watch.ask(["last"], patience_s=0)["last"]
        assert (waiting.ready, waiting.trouble) == (False, "")
        go_on.set()
        assert watch.ask(["last"], patience_s=FOREVER_S)["last"].value == "good"


class Clock(Outside):
    """A clock that goes when it is told to."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def test_what_takes_long_is_asked_less_often() -> None:
    clock, reads = Clock(), []

    def ten_seconds(_target: Target, _publish: Publish) -> str:
        clock.seconds += 10
        reads.append(clock.seconds)
        return "read"

    with standing_in(clock), watching(part("a", ten_seconds, every_s=1)) as watch:
        for second in (0, 20, 90, 101, 150):
            clock.seconds = max(clock.seconds, second)
            watch.ask(["a"], patience_s=0)
            _settle(watch)
    assert reads == [10.0, 111.0]


def _settle(watch: Watch) -> None:
    """Until nothing is being read."""
    for _ in range(int(FOREVER_S * 100)):
        if not watch._asked:
            return
        threading.Event().wait(0.01)
    raise AssertionError("it is read for ever")


def test_what_was_known_stays_when_a_later_look_fails() -> None:
    answers = iter(["first"])

    def once(_target: Target, _publish: Publish) -> str:
        try:
            return next(answers)
        except StopIteration:
            raise TransientError("expected it again, found it gone; wait") from None

    with watching(part("a", once, every_s=0)) as watch:
        assert watch.ask(["a"], patience_s=FOREVER_S)["a"].value == "first"
        for _ in range(1000):
            seen = watch.ask(["a"], patience_s=0)["a"]
            if seen.trouble:
                break
            threading.Event().wait(0.01)
    assert (seen.value, seen.trouble) == ("first", "expected it again, found it gone; wait")


def test_a_part_is_read_once_however_many_ask() -> None:
    reads: list[int] = []
    go_on = threading.Event()

    def counted(_target: Target, _publish: Publish) -> str:
        reads.append(1)
        go_on.wait(FOREVER_S)
        return "read"

    with watching(part("a", counted)) as watch:
        for _ in range(20):
            watch.ask(["a"], patience_s=0)
        go_on.set()
        watch.ask(["a"], patience_s=FOREVER_S)
        watch.ask(["a"], patience_s=0)
    assert reads == [1]


def test_what_a_part_has_so_far_is_shown() -> None:
    go_on = threading.Event()

    def growing(_target: Target, publish: Publish) -> str:
        publish("half")
        go_on.wait(FOREVER_S)
        return "whole"

    with watching(part("a", growing)) as watch:
        assert watch.ask(["a"], patience_s=FOREVER_S)["a"].value == "half"
        go_on.set()
        assert watch.ask(["a"], patience_s=FOREVER_S, whole=True)["a"].value == "whole"


def test_parts_that_somebody_asked_for_are_forgotten_in_time() -> None:
    with watching() as watch:
        names = [watch.know(part(f"table {n}", good)) for n in range(100)]
        assert watch.ask(names[-1:], patience_s=FOREVER_S)[names[-1]].value == "good"
        with pytest.raises(KeyError):
            watch.ask(names[:1], patience_s=0)


def test_an_environment_that_cannot_be_found_is_one_sentence_of_all() -> None:
    def nowhere() -> Target:
        raise InvalidInput("local stack: expected one, found none")

    watch = Watch(nowhere, [part("a", good), part("b", good)])
    try:
        seen = watch.ask(["a", "b"], patience_s=FOREVER_S)
    finally:
        watch.close()
    assert {one.trouble for one in seen.values()} == {"local stack: expected one, found none"}


def test_errors_of_aws_are_told_as_the_commands_tell_them() -> None:
    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "GetObject")
    assert "expected GetObject to succeed, found AccessDenied" in sentence(TARGET, refused)
    gone = EndpointConnectionError(endpoint_url="http://127.0.0.1:1")
    assert "expected an answer, found EndpointConnectionError" in sentence(TARGET, gone)


def test_nothing_was_seen_is_neither_ready_nor_trouble() -> None:
    assert not Seen(part("a", good)).ready
