"""What is wrong stands first, the worst before all; what was not looked at is never called well."""

from datetime import UTC, datetime, timedelta

from common.contract.promises import Promise
from lean_ops.operate.doctor import CHECKS, Finding, Severity
from lean_ops.sight import findings
from lean_ops.sight.findings import ORDER, PREFIX, Verdict, verdict
from lean_ops.sight.flow import Flow, Layer, TopicFlow
from lean_ops.sight.pages import parts
from lean_ops.sight.parts import Seen
from lean_ops.sight.proof import Reconciled

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
PARTS = {part.name: part for part in parts()}


def judged(found: dict[str, tuple[Finding, ...]], **others: Seen) -> Verdict:
    seen = {name: Seen(part) for name, part in PARTS.items()}
    seen |= {f"{PREFIX}{name}": Seen(PARTS[f"{PREFIX}{name}"], found.get(name, ()), NOW) for name in ORDER}
    return verdict(seen | others)


def late(minutes: int, *, promised: int) -> Flow:
    layers = {
        "raw": Layer("raw_a"),
        "curated": Layer("curated_a", unread_since=NOW - timedelta(minutes=minutes)),
    }
    topic = TopicFlow(
        "a", contract=True, paused=False, hold="", layers=layers, promise=Promise(timedelta(minutes=promised))
    )
    return Flow(0, 0, "closed", (topic,), 0, NOW)


def test_every_check_of_the_doctor_has_its_place() -> None:
    assert sorted(ORDER) == sorted(CHECKS)
    assert len(findings.parts()) == len(CHECKS)


def test_all_is_well_where_every_check_has_passed() -> None:
    assert judged({}).well


def test_nothing_is_well_while_a_check_has_not_answered() -> None:
    silent = Seen(PARTS[f"{PREFIX}streams"])
    found = judged({}, **{f"{PREFIX}streams": silent})
    assert (found.well, found.open, found.problems) == (False, 1, ())


def test_what_may_lose_events_comes_before_what_is_refused() -> None:
    found = judged(
        {
            "refused rows": (Finding("contract of a", "refused", "look"),),
            "disk": (Finding("disk", "full", "free some"),),
            "operations": (Finding("operation", "silent", "again", Severity.NOTE),),
        }
    )
    assert [one.subject for one in found.problems] == ["disk", "contract of a"]
    assert [one.subject for one in found.notes] == ["operation"]


def test_a_promise_that_is_not_kept_is_wrong_with_its_command() -> None:
    (one,) = judged({}, flow=Seen(PARTS["flow"], late(90, promised=30), NOW)).problems
    assert one.found == "events wait for 90 min, and the contract promises them within 30"
    assert "`lean-ops run --topic a`" in one.advice
    assert judged({}, flow=Seen(PARTS["flow"], late(20, promised=30), NOW)).well


def test_keys_that_are_not_in_place_are_wrong_with_the_command() -> None:
    marks = (Reconciled("a", None, NOW, 3), Reconciled("b", NOW, NOW, 0))
    (one,) = judged({}, proof=Seen(PARTS["proof"], marks, NOW)).problems
    assert "3 keys" in one.found
    assert "`lean-ops reconcile --topic a`" in one.advice


def test_what_fails_for_one_reason_is_one_thing_and_the_first() -> None:
    broken = {name: Seen(part, trouble="no answer") for name, part in PARTS.items()}
    found = judged({"disk": (Finding("disk", "full", "free some"),)}, **broken)
    assert len(found.problems) == 1
    assert found.problems[0].found == "no answer"
    assert found.problems[0].subject.startswith("Could not look at ")


def test_more_than_a_page_holds_is_counted() -> None:
    many = tuple(Finding(f"table {n}", "damaged", "mend") for n in range(700))
    found = judged({"tables": many})
    assert (len(found.problems), found.left_out) == (40, 660)
