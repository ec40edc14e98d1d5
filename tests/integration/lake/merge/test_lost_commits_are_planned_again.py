import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from pyiceberg.catalog import Catalog

from common.lake.merge import committing
from common.runtime.errors import CommitConflict, CommitUnknown, ServiceRefused
from common.runtime.retrying import RetryPolicy

from .conftest import Lake


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "RETRY", RetryPolicy(attempts=6, base_s=0.0))


def around_commit(
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    *,
    before: Callable[[int], Any] | None = None,
    after: Callable[[int], Any] | None = None,
) -> Any:
    """Run ``before(n)`` and ``after(n)`` around the n-th commit of ``catalog``."""
    commit, calls = catalog.commit_table, []

    def wrapped(*arguments: Any) -> Any:
        calls.append(1)
        if before:
            before(len(calls))
        response = commit(*arguments)
        if after:
            after(len(calls))
        return response

    monkeypatch.setattr(catalog, "commit_table", wrapped)
    return calls


def test_a_merge_that_another_writer_overtakes_is_planned_again_on_the_new_rows(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.merge([lake.event("a", "m1")])

    def overtake(number: int) -> None:
        if number == 1:
            lake.merge([lake.event("a", "m2", publish=5), lake.event("b", "m3")], catalog=lake.connect())

    around_commit(lake.catalog, monkeypatch, before=overtake)
    outcome = lake.merge([lake.event("a", "m4", publish=3), lake.event("b", "m5", publish=9)])
    assert (outcome.attempts, outcome.updated, outcome.unchanged, outcome.merge_seq) == (2, 1, 1, 3)
    assert [(r["message_id"], r["_merge_seq"]) for r in lake.rows()] == [("m2", 2), ("m5", 3)]


def test_two_writers_that_insert_the_same_new_key_leave_one_row(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtake(number: int) -> None:
        if number == 1:
            lake.merge([lake.event("a", "m2", publish=5)], catalog=lake.connect())

    around_commit(lake.catalog, monkeypatch, before=overtake)
    outcome = lake.merge([lake.event("a", "m1")])
    assert not outcome.committed
    assert [r["message_id"] for r in lake.rows()] == ["m2"]


def test_the_files_of_a_lost_attempt_are_removed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def overtake(number: int) -> None:
        if number == 1:
            lake.merge([lake.event("b")], catalog=lake.connect())

    around_commit(lake.catalog, monkeypatch, before=overtake)
    lake.merge([lake.event("a")])
    live = {t.file.file_path.removeprefix("file://") for t in lake.table.scan().plan_files()}
    assert lake.data_files() == live


def test_a_writer_that_always_wins_ends_in_commit_conflict_and_its_rows(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = lake.connect()
    around_commit(
        lake.catalog,
        monkeypatch,
        before=lambda n: lake.merge([lake.event("x", f"m{n}", publish=n)], catalog=others),
    )
    with pytest.raises(CommitConflict, match="within 6 attempts"):
        lake.merge([lake.event("a")])
    assert [r["idempotency_key"] for r in lake.rows()] == ["x"]


def test_a_commit_whose_answer_is_lost_is_found_and_not_repeated(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(number: int) -> None:
        if number == 1:
            raise ConnectionError("connection reset by peer")

    around_commit(lake.catalog, monkeypatch, after=cut)
    outcome = lake.merge([lake.event("a")])
    assert (outcome.committed, outcome.inserted) == (True, 1)
    assert outcome.snapshot_id == lake.snapshot.snapshot_id
    assert len(lake.table.history()) == 1


def test_a_lost_answer_is_found_even_after_another_commit(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(number: int) -> None:
        if number == 1:
            lake.merge([lake.event("b")], catalog=lake.connect())
            raise ConnectionError("connection reset by peer")

    around_commit(lake.catalog, monkeypatch, after=cut)
    outcome = lake.merge([lake.event("a")])
    assert outcome.inserted == 1
    assert [r["idempotency_key"] for r in lake.rows()] == ["a", "b"]
    assert len(lake.table.history()) == 2


def test_a_request_that_never_arrived_is_sent_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(number: int) -> None:
        if number == 1:
            raise TimeoutError("connect timeout")

    calls = around_commit(lake.catalog, monkeypatch, before=cut)
    assert lake.merge([lake.event("a")]).attempts == 2
    assert len(calls) == 2
    assert len(lake.rows()) == 1


def test_a_catalog_that_stays_silent_ends_in_commit_unknown(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(_number: int) -> None:
        monkeypatch.setattr(lake.catalog, "load_table", lambda _: cut(0))
        raise TimeoutError("read timeout")

    around_commit(lake.catalog, monkeypatch, after=cut)
    with pytest.raises(CommitUnknown, match="repeats nothing"):
        lake.merge([lake.event("a")])
    monkeypatch.undo()
    assert not lake.merge([lake.event("a")]).committed


def test_a_missing_permission_is_not_retried(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_number: int) -> None:
        raise PermissionError("glue:UpdateTable")

    calls = around_commit(lake.catalog, monkeypatch, before=refuse)
    with pytest.raises(ServiceRefused):
        lake.merge([lake.event("a")])
    assert len(calls) == 1


@pytest.mark.parametrize("commit_first", [False, True])
def test_a_process_that_dies_around_the_commit_leaves_a_whole_table(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, commit_first: bool
) -> None:
    lake.merge([lake.event("a", "m1")])
    before = lake.rows()

    def die(_number: int) -> None:
        raise SystemExit

    around_commit(lake.catalog, monkeypatch, **({"after": die} if commit_first else {"before": die}))
    events = [lake.event("a", "m2", publish=1), lake.event("b", "m3")]
    with pytest.raises(SystemExit):
        lake.merge(events)
    monkeypatch.undo()
    assert (lake.rows() == before) is not commit_first
    assert lake.merge(events).committed is not commit_first
    assert [r["message_id"] for r in lake.rows()] == ["m2", "m3"]


def test_writers_at_the_same_time_lose_nothing_and_double_nothing(lake: Lake) -> None:
    """A merge that gave up is repeated, as the state machine does, so that nothing may be missing."""
    failures = []

    def merge_until_done(events: list[dict[str, Any]], catalog: Catalog) -> None:
        while True:
            with suppress(CommitConflict):
                lake.merge(events, catalog=catalog)
                return

    def write(writer: int) -> None:
        try:
            catalog = lake.connect()
            for turn in range(4):
                events = [
                    lake.event(f"k{n}", f"w{writer}t{turn}", publish=turn * 4 + writer) for n in range(6)
                ]
                merge_until_done([*events, lake.event(f"own-{writer}-{turn}")], catalog)
        except Exception as error:  # raised again below, in the thread that pytest watches
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise ExceptionGroup("writers failed", failures)
    rows = lake.rows()
    found = {r["idempotency_key"]: r["message_id"] for r in rows}
    assert len(found) == len(rows) == 6 + 12
    assert {found[f"k{n}"] for n in range(6)} == {"w2t3"}
