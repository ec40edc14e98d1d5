"""The laws of reconciliation: what counts as lost, what as open, what as harmless."""

from dataclasses import replace

import pytest

from lean_ops.accounts.reconciliation import Observed, ObservedTopic, Sent, SentTopic, reconcile

TOPIC = SentTopic(
    messages=1_000,
    message_ids=990,
    keys=900,
    good_keys=885,
    bad_keys=20,
    tied_keys=1,
    judged=True,
)
SENT = Sent(messages=1_010, broken={"NOT_JSON": 7, "TOO_LARGE": 3}, topics={"events": TOPIC})
TABLES = ObservedTopic(1_000, 990, 900, 900, 885, 20, 0)
SETTLED = Observed({"events": TABLES}, {"NOT_JSON": 7, "TOO_LARGE": 3})


def laws(sent: Sent, observed: Observed) -> list[str]:
    """The laws that are broken."""
    return [check.law for check in reconcile(sent, observed).differences]


def test_a_settled_run_balances() -> None:
    verdict = reconcile(SENT, SETTLED)
    assert verdict.balanced
    assert verdict.repeated == 0
    assert len(verdict.checks) == 9


@pytest.mark.parametrize(
    ("tables", "law"),
    [
        (replace(TABLES, raw_message_ids=989), "events: messages in RAW"),
        (replace(TABLES, curated_keys=899, curated_rows=899), "events: keys in Curated"),
        (replace(TABLES, curated_keys=901, curated_rows=901), "events: keys in Curated"),
        (replace(TABLES, curated_rows=901), "events: rows beyond one a key in Curated"),
        (replace(TABLES, unserved_keys=1), "events: keys of Curated in neither Semantic nor Quarantine"),
        (replace(TABLES, semantic_keys=884), "events: keys in Semantic"),
        (replace(TABLES, semantic_keys=886), "events: keys in Semantic"),
        (replace(TABLES, quarantine_keys=19), "events: keys that wait in Quarantine"),
        (replace(TABLES, quarantine_keys=22), "events: keys that wait in Quarantine"),
    ],
)
def test_a_table_that_holds_too_little_or_too_much_is_named(tables: ObservedTopic, law: str) -> None:
    assert laws(SENT, replace(SETTLED, topics={"events": tables})) == [law]


def test_messages_still_queued_are_not_lost() -> None:
    tables = ObservedTopic(995, 985, 895, 895, 880, 20, 0)
    assert laws(SENT, replace(SETTLED, topics={"events": tables}, in_flight=5)) == []
    assert laws(SENT, replace(SETTLED, topics={"events": tables}, in_flight=4)) != []


def test_messages_of_an_interrupted_send_may_or_may_not_have_arrived() -> None:
    interrupted = replace(SENT, messages=910, uncertain=100)
    assert laws(interrupted, SETTLED) == []
    short = ObservedTopic(950, 940, 850, 850, 832, 22, 0)
    assert laws(interrupted, replace(SETTLED, topics={"events": short})) == []
    lost = ObservedTopic(880, 870, 780, 780, 762, 22, 0)
    assert laws(interrupted, replace(SETTLED, topics={"events": lost})) != []


def test_a_repeated_delivery_is_reported_and_harmless() -> None:
    verdict = reconcile(SENT, replace(SETTLED, topics={"events": replace(TABLES, raw_rows=1_003)}))
    assert verdict.balanced
    assert verdict.repeated == 3


def test_a_repetition_does_not_hide_a_lost_message() -> None:
    tables = replace(TABLES, raw_rows=1_003, raw_message_ids=989)
    assert laws(SENT, replace(SETTLED, topics={"events": tables})) == ["events: messages in RAW"]


def test_a_dead_letter_under_another_code_is_a_difference() -> None:
    letters = {"NOT_JSON": 6, "TOO_LARGE": 3, "MALFORMED_FIELD": 1}
    assert laws(SENT, replace(SETTLED, dead_letters=letters)) == [
        "dead letters MALFORMED_FIELD",
        "dead letters NOT_JSON",
    ]


def test_a_good_message_among_the_dead_letters_is_a_difference() -> None:
    tables = replace(TABLES, raw_rows=999)
    observed = Observed({"events": tables}, {**SETTLED.dead_letters, "none": 1})
    assert laws(SENT, observed) == ["dead letters none"]


def test_a_topic_that_nobody_sent_to_is_a_difference() -> None:
    stray = ObservedTopic(0, 0, 4, 4)
    assert laws(SENT, replace(SETTLED, topics={**SETTLED.topics, "stray": stray})) == [
        "stray: keys in Curated"
    ]


def test_a_topic_without_contract_ends_at_curated() -> None:
    tables = ObservedTopic(1_000, 990, 900, 900)
    assert laws(SENT, replace(SETTLED, topics={"events": tables})) == []


def test_where_the_sender_does_not_know_the_contract_only_coverage_is_held() -> None:
    unjudged = replace(SENT, topics={"events": replace(TOPIC, judged=False)})
    tables = replace(TABLES, semantic_keys=100, quarantine_keys=800)
    assert laws(unjudged, replace(SETTLED, topics={"events": tables})) == []
