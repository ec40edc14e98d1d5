"""What the ledger says was sent is what a plain count over the messages says; nothing is lost in a crash."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.runtime.errors import InvalidInput
from lean_ops.accounts.ledger import Ledger, WrongRow
from lean_ops.accounts.messages import UNJUDGED, Kind, Message
from lean_ops.accounts.reconciliation import Observed, ObservedTopic, Sent, Since
from lean_ops.simulate.history import History, Scenario

SCENARIO = Scenario(events=12_000, end=datetime(2026, 3, 10, tzinfo=UTC), violation_rate=0.02)
SOURCE = {"scenario": 1}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


def record(ledger: Ledger, messages: Iterator[Message] | Sequence[Message], segment: int = 5_000) -> None:
    run = ledger.begin(SOURCE)
    stream = iter(messages)
    while chunk := list(islice(stream, segment)):
        run.plan(chunk)
        run.confirm()
    run.finish()


def curated(winners: dict[str, Message]) -> pa.RecordBatchReader:
    """A Curated table of these rows."""
    table = pa.table(
        {"idempotency_key": list(winners), "message_id": [m.message_id for m in winners.values()]}
    )
    return table.to_reader()


def winners_of(messages: Sequence[Message]) -> dict[str, Message]:
    """The newest version of each key, found the plain way."""
    newest: dict[str, Message] = {}
    for message in messages:
        if message.kind is not Kind.BROKEN and (
            message.key not in newest or message.publish_us > newest[message.key].publish_us
        ):
            newest[message.key] = message
    return newest


def test_an_empty_ledger_has_sent_nothing(ledger: Ledger) -> None:
    assert ledger.sent() == Sent()
    assert ledger.reconcile(Observed({}, {})).balanced


def _is_published(versions: list[Message]) -> bool:
    """Whether any version since the last delete keeps the contract."""
    last_delete = max((m.publish_us for m in versions if m.deletes), default=0)
    return any(not m.violation and not m.deletes and m.publish_us > last_delete for m in versions)


def test_counts_equal_those_of_a_plain_pass(ledger: Ledger) -> None:
    messages = list(History(SCENARIO))
    record(ledger, messages)
    good = [m for m in messages if m.kind is not Kind.BROKEN]
    versions: dict[str, list[Message]] = defaultdict(list)
    for message in good:
        versions[message.key].append(message)
    newest = [
        [m for m in group if m.publish_us == max(other.publish_us for other in group)]
        for group in versions.values()
    ]

    sent = ledger.sent()

    assert (sent.messages, sent.uncertain) == (12_000, 0)
    assert sent.by_kind == Counter(m.kind.value for m in messages)
    assert sent.broken == Counter(m.reject_code for m in messages if m.reject_code)
    topic = sent.topics["events"]
    assert topic.messages == len(good)
    assert topic.message_ids == len({m.message_id for m in good})
    assert topic.keys == len(versions)
    assert topic.good_keys == sum(map(_is_published, versions.values()))
    assert topic.bad_keys == sum(all(m.violation for m in v) for v in newest)
    assert topic.tied_keys == sum(len({bool(m.violation) for m in v}) == 2 for v in newest)
    assert topic.violations == Counter(m.violation for m in good if m.violation)
    assert topic.judged


@pytest.mark.parametrize(
    "of_before", [False, True], ids=["segments of today", "segments without deletes and erasures"]
)
def test_erased_messages_are_neither_missing_nor_named(
    ledger: Ledger, tmp_path: Path, *, of_before: bool
) -> None:
    messages = list(History(replace(SCENARIO, events=3_000)))
    record(ledger, messages)
    if of_before:
        for path in tmp_path.rglob("*.parquet"):
            pq.write_table(pq.read_table(path).drop_columns(["erased"]), path)
    before = ledger.sent()
    gone = [m for m in messages if m.key == messages[0].key]
    others = {m.key for m in messages if m.key} - {gone[0].key}

    for _ in range(2):  # repeated, nothing more is forgotten
        ledger.forget("events", lambda key, _at: key == gone[0].key, lambda text: f"hash of {len(text)}")
        sent = ledger.sent()
        assert sent.erased == len(gone)
        assert sent.messages == before.messages - len(gone)
        assert sent.topics["events"].keys == len(others)
    ledger.forget_letters({"NOT_JSON": 1})
    assert ledger.sent().broken["NOT_JSON"] == before.broken["NOT_JSON"] - 1
    assert ledger.sent().erased == len(gone) + 1
    assert gone[0].key not in str([pq.read_table(path).to_pydict() for path in tmp_path.rglob("*.parquet")])


def test_a_planned_segment_counts_as_possibly_sent(ledger: Ledger) -> None:
    messages = list(History(replace(SCENARIO, events=3_000)))
    run = ledger.begin(SOURCE)
    run.plan(messages[:2_000])
    run.confirm()
    run.plan(messages[2_000:])
    sent = ledger.sent()
    assert (sent.messages, sent.uncertain) == (2_000, 1_000)


def test_a_run_is_taken_up_after_its_last_confirmed_segment(ledger: Ledger) -> None:
    messages = list(History(replace(SCENARIO, events=3_000)))
    run = ledger.begin(SOURCE)
    run.plan(messages[:1_000])
    run.confirm()
    run.plan(messages[1_000:2_000])

    resumed = ledger.resume(SOURCE)
    assert resumed.name == run.name
    assert resumed.messages_sent() == 1_000
    for start in (1_000, 2_000):
        resumed.plan(messages[start : start + 1_000])
        resumed.confirm()
    resumed.finish()

    assert (ledger.sent().messages, ledger.sent().uncertain) == (3_000, 0)
    assert ledger.unfinished() == []


def test_only_an_unfinished_run_of_the_same_source_is_taken_up(ledger: Ledger) -> None:
    record(ledger, History(replace(SCENARIO, events=10)).messages())
    with pytest.raises(InvalidInput, match="unfinished run"):
        ledger.resume(SOURCE)
    ledger.begin({"file": "other.csv"})
    with pytest.raises(InvalidInput, match="unfinished run"):
        ledger.resume(SOURCE)
    assert ledger.unfinished() == [{"file": "other.csv"}]


@pytest.mark.parametrize("left", ["", "{", "[]", '{"source": 1}', '{"source"', "\x00\xff"])
def test_a_run_whose_record_was_cut_off_stands_in_nobodys_way(ledger: Ledger, left: str) -> None:
    whole = ledger.begin(SOURCE)
    (whole.directory.parent / "000001").mkdir()
    (whole.directory.parent / "000001" / "run.json").write_text(left)
    assert ledger.resume(SOURCE).name == whole.name
    assert ledger.unfinished() == [SOURCE]
    assert ledger.sent().messages == 0


def test_a_run_is_on_record_whole_or_not_at_all(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(path: Path, text: str) -> None:
        with path.open("w") as file:
            file.write(text[:5])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", cut_off)
        with pytest.raises(OSError, match="No space"):
            ledger.begin(SOURCE)
    assert ledger.unfinished() == []
    assert list(ledger._directory.iterdir()) == []
    assert ledger.begin(SOURCE).name == ledger.resume(SOURCE).name


def test_only_its_owner_may_read_a_ledger(ledger: Ledger) -> None:
    run = ledger.begin(SOURCE)
    assert run.directory.parent.stat().st_mode & 0o777 == 0o700


def test_what_must_be_in_raw_is_what_the_queue_accepted_and_is_good(ledger: Ledger) -> None:
    messages = list(History(replace(SCENARIO, events=2_000, broken_rate=0.1)).messages())
    run = ledger.begin(SOURCE)
    run.plan(messages[:1_000])
    run.confirm()
    run.plan(messages[1_000:])
    good = {m.message_id for m in messages[:1_000] if m.kind is not Kind.BROKEN}
    assert ledger.sent_ids(run) == {"events": good}
    assert ledger.expected_in_raw(run) == len(good)


def test_nothing_is_confirmed_that_was_not_planned(ledger: Ledger) -> None:
    with pytest.raises(InvalidInput, match="plan it first"):
        ledger.begin(SOURCE).confirm()


def test_topics_are_counted_apart_and_unknown_contracts_are_not_judged(ledger: Ledger) -> None:
    record(ledger, History(replace(SCENARIO, events=1_000)).messages())
    record(ledger, [Message("{}", "weather", Kind.ORIGINAL, "m", "k", 1, violation=UNJUDGED)])
    topics = ledger.sent().topics
    assert topics["events"].judged
    assert not topics["weather"].judged
    assert topics["weather"].keys == 1
    assert topics["weather"].violations == {}


def test_the_same_source_sent_twice_has_the_same_keys(ledger: Ledger) -> None:
    for _ in range(2):
        record(ledger, History(replace(SCENARIO, events=1_000)).messages())
    sent = ledger.sent()
    assert sent.messages == 2_000
    assert sent.topics["events"].messages > sent.topics["events"].message_ids > sent.topics["events"].keys


def test_a_table_of_the_newest_versions_has_no_wrong_row(ledger: Ledger) -> None:
    messages = list(History(SCENARIO))
    record(ledger, messages)
    assert ledger.wrong_rows("events", curated(winners_of(messages))) == []


def test_a_missing_an_outdated_and_an_unknown_row_are_found(ledger: Ledger) -> None:
    messages = list(History(SCENARIO))
    record(ledger, messages)
    winners = winners_of(messages)
    outdated = next(m for m in messages if m.key and winners[m.key].publish_us > m.publish_us)
    missing = next(key for key in winners if key != outdated.key)
    wrong = {**winners, outdated.key: outdated, "stray": Message("", "events", Kind.ORIGINAL, "s", "stray")}
    del wrong[missing]

    found = ledger.wrong_rows("events", curated(wrong))

    assert {row.idempotency_key: row for row in found} == {
        outdated.key: WrongRow(outdated.key, [winners[outdated.key].message_id], outdated.message_id),
        missing: WrongRow(missing, [winners[missing].message_id], None),
        "stray": WrongRow("stray", [], "s"),
    }


def test_versions_that_tie_may_win_either_way(ledger: Ledger) -> None:
    tied = [Message("{}", "t", Kind.ORIGINAL, f"m{i}", "k", 5) for i in range(3)]
    record(ledger, [*tied, Message("{}", "t", Kind.ORIGINAL, "old", "k", 4)])
    for version in tied:
        assert ledger.wrong_rows("t", curated({"k": version})) == []
    assert ledger.wrong_rows("t", curated({"k": Message("{}", "t", Kind.ORIGINAL, "old", "k", 4)})) == [
        WrongRow("k", ["m0", "m1", "m2"], "old")
    ]


def test_what_is_past_is_neither_expected_nor_missing(ledger: Ledger) -> None:
    def sent(day: int, key: str, message: str, violation: str = "") -> Message:
        return Message("{}", "t", Kind.ORIGINAL, message, key, day, violation=violation)

    record(
        ledger,
        [
            *(sent(day, "moved", f"m{day}") for day in (1, 5)),
            *(sent(day, "gone", f"g{day}") for day in (1, 2)),
            sent(4, "good before", "a"),
            sent(6, "good before", "b", "value:maximum"),
            sent(2, "bad and gone", "c", "value:maximum"),
            Message("{", "t", Kind.BROKEN, reject_code="NOT_JSON"),
        ],
    )
    counts = ledger.sent({"t": Since(raw=3, curated=3, semantic=5)})
    assert (counts.messages, counts.past) == (4, 4)
    topic = counts.topics["t"]
    assert (topic.message_ids, topic.keys, topic.good_keys, topic.bad_keys) == (3, 2, 1, 1)
    kept = ObservedTopic(3, 3, 2, 2, 1, 1, 0, since=Since(3, 3, 5))
    assert ledger.reconcile(Observed({"t": kept}, {"NOT_JSON": 1})).balanced
    lost = replace(kept, raw_rows=2, raw_message_ids=2)
    assert not ledger.reconcile(Observed({"t": lost}, {"NOT_JSON": 1})).balanced
    # Without a retention the same tables are short of what was sent.
    assert not ledger.reconcile(Observed({"t": replace(kept, since=Since())}, {"NOT_JSON": 1})).balanced


def test_a_settled_stack_balances_and_one_lost_message_does_not(ledger: Ledger) -> None:
    record(ledger, History(SCENARIO).messages())
    sent = ledger.sent()
    topic = sent.topics["events"]
    tables = ObservedTopic(
        raw_rows=topic.messages,
        raw_message_ids=topic.message_ids,
        curated_rows=topic.keys,
        curated_keys=topic.keys,
        semantic_keys=topic.good_keys,
        quarantine_keys=topic.bad_keys,
        unserved_keys=0,
    )
    assert ledger.reconcile(Observed({"events": tables}, sent.broken)).balanced
    lost = replace(tables, raw_rows=topic.messages - 1)
    (difference,) = ledger.reconcile(Observed({"events": lost}, sent.broken)).differences
    assert str(difference) == ("messages in RAW, dead-letter queue or flight: expected 12000, found 11999")
