"""A month's bill is usage x settings x prices, line by line, and grows with all that costs."""

import ast
import json
from collections import Counter, defaultdict
from dataclasses import replace
from math import isclose, isfinite
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.runtime.errors import InvalidInput
from lean_ops.environment.repository import LAMBDA_CODE
from lean_ops.operate.cost import (
    MERGE_GETS,
    MERGE_PUTS,
    Bill,
    Measured,
    MissingPrice,
    Scope,
    Settings,
    Usage,
    bill,
    load_prices,
    report,
    settings_of,
)
from lean_ops.operate.cost.emitted import EMITTED, When
from lean_ops.operate.cost.prices import PRICES, Price, Step
from lean_ops.operate.cost.settings import SettingUnknown

TABLE = load_prices()
SETTINGS = settings_of()
IDLE = Usage(0, 0, topics=1, idle_topics=1)
# As they were when the examples below were computed by hand: later settings change nothing in them.
BY_HAND = replace(
    SETTINGS, schedule_minutes=15, topic_alarms=9, topic_alarm_metrics=10, idle_states=5,
    buffer_interval_s=60, buffer_mib=64, snapshot_retention_days=5, noncurrent_days=30, key_buckets=16,
    metadata_compressed=False,
)  # fmt: skip


def usd(found: Bill, item: str) -> float:
    (one,) = [line for line in found.lines if line.item == item]
    return one.usd


def test_an_idle_topic_by_hand() -> None:
    """Looks of the dispatcher 30 x 24 x 4 = 2,880, of observation 8,640, a third at arrivals; no run."""
    found = bill(IDLE, BY_HAND, TABLE)
    assert usd(found, "counters of what was accepted, read") == pytest.approx(2_880 * 0.01 / 1_000, rel=1e-3)
    assert not [line for line in found.lines if line.item == "metrics of topics"]
    assert usd(found, "pointers, looked at") == pytest.approx(2_880 * 4 / 100 / 1_000_000)
    assert not [
        line
        for line in found.lines
        if {"run", "alarms"} & set(line.item.split()) and line.scope is Scope.TOPICS
    ]
    assert found.of(Scope.TOPICS) < 0.05


def test_a_watched_topic_by_hand() -> None:
    """Nine alarms, ten metrics; of observation 4 + 3 + 2 metrics, 1 of reconciliation, 5 and 7 of merges."""
    watched = replace(BY_HAND, watched_topics=2)
    found = bill(IDLE, watched, TABLE)
    assert usd(found, "alarms of watched topics") == pytest.approx(2 * 10 * 0.10)
    assert usd(found, "metrics of watched topics") == pytest.approx(2 * 22 * 0.30)
    assert not [line for line in bill(IDLE, BY_HAND, TABLE).lines if "watched" in line.item]


def test_runs_of_a_topic_by_hand() -> None:
    """With something new at each look a run a look; with four bursts a month eight, half of them in vain."""
    busy = bill(Usage(1_000_000, 1_000, topics=1), BY_HAND, TABLE)
    assert usd(busy, "states of every run") == pytest.approx(2_880 * 5 * 0.025 / 1_000)
    rare = bill(Usage(4 / 30, 1_000, topics=1), BY_HAND, TABLE)
    assert usd(rare, "states of every run") == pytest.approx(8 * 5 * 0.025 / 1_000)
    more = BY_HAND.busy_states - 5
    assert usd(rare, "states of a run that merges") == pytest.approx(4 * more * 0.025 / 1_000)


def test_a_million_events_by_hand() -> None:
    """Sent alone, received and deleted by ten: 1.2 M requests; 1 GB is 0.93 GiB for Firehose."""
    found = bill(Usage(1_000_000 / 30, 1_000, topics=1), BY_HAND, TABLE)
    assert usd(found, "messages sent") == pytest.approx(0.40)
    assert usd(found, "messages received") + usd(found, "messages deleted") == pytest.approx(0.08)
    assert usd(found, "Firehose") == pytest.approx(1e9 / 2**30 * 0.075)
    # A commit a minute: data file, manifest, list and metadata.
    assert usd(found, "commits to RAW") == pytest.approx(43_200 * 4 * 0.005 / 1_000)


def test_old_metadata_of_a_busy_topic_by_hand() -> None:
    """1,440 files a day for 30 days, each of 7,200 snapshots, 805 bytes each: 250 GB."""
    found = bill(Usage(1_000_000, 1_000, topics=1), BY_HAND, TABLE)
    (line,) = [line for line in found.lines if line.item == "old metadata of tables"]
    assert line.count * 2**30 == pytest.approx(250e9, rel=0.03)  # Curated and Semantic add 2 %


def test_a_message_above_64_kib_is_several_requests() -> None:
    found = bill(Usage(1_000_000 / 30, 200 * 1024, topics=1), BY_HAND, TABLE)
    assert usd(found, "messages sent") == pytest.approx(4 * 0.40)


def test_every_line_is_count_times_price_and_names_its_source() -> None:
    found = bill(Usage(1e6, 1_024, topics=5, idle_topics=2), SETTINGS, TABLE)
    assert found.usd == pytest.approx(sum(found.of(scope) for scope in Scope))
    for line in found.lines:
        assert isclose(line.usd, line.count * line.usd_per_unit)
        assert line.source
        assert line.date
        assert line.count >= 0, line


def test_no_events_cost_nothing_for_events() -> None:
    found = bill(Usage(0, 1_024, topics=3), SETTINGS, TABLE)
    assert found.of(Scope.EVENTS) == 0
    assert {line.scope for line in found.lines} == {Scope.FIXED, Scope.TOPICS}


def test_topics_cost_by_their_number() -> None:
    one, ten = (bill(Usage(0, 0, n, n), SETTINGS, TABLE).of(Scope.TOPICS) for n in (1, 10))
    assert ten == pytest.approx(10 * one)


amounts = st.floats(0, 1e12, allow_nan=False)
USAGES = st.builds(
    Usage,
    events_per_day=amounts,
    event_bytes=st.floats(1, 1_048_576),
    topics=st.integers(2, 10_000),
    idle_topics=st.just(1),
)


def total(usage: Usage, settings: Settings = SETTINGS) -> float:
    found = bill(usage, settings, TABLE).usd
    assert isfinite(found)
    return found


def not_less(more: float, less: float) -> bool:
    """But for the rounding of sums."""
    return more >= less * (1 - 1e-9)


@given(USAGES, amounts)
def test_more_events_never_cost_less(usage: Usage, more: float) -> None:
    assert not_less(total(replace(usage, events_per_day=usage.events_per_day + more)), total(usage))


@given(USAGES, st.integers(1, 10_000))
def test_more_topics_never_cost_less(usage: Usage, more: int) -> None:
    """Idle ones; and busy ones, each with as many events."""
    idle = replace(usage, topics=usage.topics + more, idle_topics=usage.idle_topics + more)
    assert not_less(total(idle), total(usage))
    share = (usage.topics + more - usage.idle_topics) / (usage.topics - usage.idle_topics)
    busy = replace(usage, topics=usage.topics + more, events_per_day=usage.events_per_day * share)
    assert not_less(total(busy), total(usage))


@given(USAGES, st.integers(1, 365), st.integers(1, 365), st.floats(0, 1_000_000))
def test_longer_retention_and_larger_events_never_cost_less(
    usage: Usage, days: int, more: int, larger: float
) -> None:
    short = replace(SETTINGS, snapshot_retention_days=days, log_retention_days=days)
    for longer in (
        replace(short, snapshot_retention_days=days + more),
        replace(short, log_retention_days=days + more),
    ):
        assert not_less(total(usage, longer), total(usage, short))
    assert not_less(total(replace(usage, event_bytes=usage.event_bytes + larger)), total(usage))


def test_what_falls_with_the_count_falls_for_all_lines_together() -> None:
    """700 watched topics have 14,700 metrics: above 10,000, fixed ones included, a metric is cheaper."""
    watched = replace(BY_HAND, watched_topics=700)
    metrics = [
        line for line in bill(Usage(0, 0, 700, 700), watched, TABLE).lines if line.price == "metric-month"
    ]
    by_price: dict[float, float] = defaultdict(float)
    for line in metrics:
        by_price[line.usd_per_unit] += line.count
    assert by_price[0.30] == pytest.approx(10_000)
    assert by_price[0.10] == pytest.approx(sum(line.count for line in metrics) - 10_000)


@given(st.lists(st.floats(1, 1e9), unique=True, max_size=4).map(sorted), amounts, amounts)
def test_steps_share_out_every_unit_once(ends: list[float], used: float, count: float) -> None:
    price = Price("u", 10, 5.0, "r", "s", "d", [Step(end, 1.0) for end in ends])
    assert sum(units for units, _ in price.shares(used, count)) == pytest.approx(count, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("price", "sqs-request"),
        ("price", "metric-month"),
        ("quota", "alarms"),
        ("assumption", "poll-seconds"),
    ],
)
def test_what_is_missing_from_the_table_is_named(tmp_path: Path, kind: str, name: str) -> None:
    document = json.loads(PRICES.read_text())
    del document[f"{kind}s" if kind != "quota" else "quotas"][name]
    (tmp_path / "prices.json").write_text(json.dumps(document))
    with pytest.raises(
        MissingPrice, match=f"^{kind} {name}: expected it in the table of prices, found none; write"
    ):
        report(Usage(1e6, 1_024, 2), SETTINGS, load_prices(tmp_path / "prices.json"))


@pytest.mark.parametrize(
    "change",
    [
        {"usd": -1},
        {"per": 0},
        {"source": ""},
        {"date": ""},
        {"above": [{"count": 5, "usd": 1}, {"count": 5, "usd": 1}]},
        {"above": [{"count": 0, "usd": 1}]},
        {"usd": "much"},
        {"colour": "red"},
    ],
)
def test_a_price_that_cannot_be_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    document = json.loads(PRICES.read_text())
    document["prices"]["trace"] |= change
    (tmp_path / "prices.json").write_text(json.dumps(document))
    with pytest.raises(MissingPrice, match=r"prices\.json: (price trace: )?expected"):
        load_prices(tmp_path / "prices.json")


def test_prices_of_another_region_are_not_guessed() -> None:
    with pytest.raises(MissingPrice, match="expected those of us-west-2, found a table of eu-west-1"):
        TABLE.check_region("us-west-2")


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        ((-1, 1, 1, 0), "below zero"),
        ((1, 1, 1, 2), "at most all 1, found 2"),
        ((1, 1, 2, 2), "one that the events belong to"),
    ],
)
def test_usage_that_cannot_be_is_refused(usage: tuple[int, int, int, int], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        Usage(*usage)


def test_what_was_measured_takes_the_place_of_what_was_taken() -> None:
    usage = Usage(1e6, 1_024, topics=2)
    measured = Measured({"curation": 1_000, "alert": 30}, {"curation": 5_000, "alert": 60}, executions=4_000)
    found = bill(usage, BY_HAND, TABLE, measured)
    lines = {line.item: line for line in found.lines}
    assert lines["starts of curation"].count == pytest.approx(1_000)
    assert lines["time of curation"].count == pytest.approx(5_000 * 3_008 / 1_024)
    assert lines["states of every run"].count == pytest.approx(4_000 * 5)
    assert lines["starts of alert"].count == pytest.approx(30)  # nobody had expected an alarm
    assert lines["time of alert"].count == pytest.approx(60 * 256 / 1_024)
    assert {item for item, line in lines.items() if line.measured} >= {
        "starts of curation",
        "starts of alert",
    }
    assert not lines["messages sent"].measured
    assert lines["starts of semantic"].count == pytest.approx(
        {line.item: line for line in bill(usage, BY_HAND, TABLE).lines}["starts of semantic"].count
    )


def test_requests_that_merges_counted_are_billed() -> None:
    usage = Usage(1e6, 1_024, topics=2)
    measured = Measured(requests={MERGE_PUTS: 4_000, MERGE_GETS: 9_000})
    lines = {line.item: line for line in bill(usage, BY_HAND, TABLE, measured).lines}
    assert (lines["files of merges"].count, lines["reads of merges"].count) == (4_000, 9_000)
    assert lines["files of merges"].measured
    assert not lines["commits to RAW"].measured


def test_nothing_measured_changes_nothing() -> None:
    usage = Usage(1e6, 1_024, topics=2)
    assert bill(usage, SETTINGS, TABLE, Measured()) == bill(usage, SETTINGS, TABLE)


def test_a_report_says_figure_goal_and_what_dominates() -> None:
    found = report(Usage(1e6, 1_024, topics=700, idle_topics=600), BY_HAND, TABLE)
    fixed, idle, million, these, everything = found.figures
    assert (fixed.goal, idle.goal, million.goal, these.goal, everything.goal) == (
        15.0,
        0.30,
        0.60,
        None,
        None,
    )
    assert fixed.met is True
    assert idle.met is True
    assert idle.dominated_by[0] == ("counters of what was accepted, read", pytest.approx(0.0288, rel=1e-3))
    assert everything.usd == found.bill.usd
    assert {change.setting for change in found.changes} >= {
        "buffer_interval_s",
        "schedule_minutes",
        "key_buckets",
    }
    assert all(change.usd > 0 for change in found.changes if change.then == 5)  # runs thrice as often
    needed = {demand.quota: (demand.needed, demand.value) for demand in found.demands}
    assert needed["delivery-streams"] == (700, 500)
    assert needed["alarms"] == (SETTINGS.alarms, 5_000)


def test_settings_are_those_of_the_files() -> None:
    dev = settings_of("dev")
    assert (dev.buffer_interval_s, dev.schedule_minutes) == (
        SETTINGS.buffer_interval_s,
        SETTINGS.schedule_minutes,
    )
    assert settings_of("prod").batch_size == 5_000
    assert settings_of("prod").log_retention_days == 400
    assert 0 < SETTINGS.idle_states < SETTINGS.busy_states


def test_a_setting_that_no_file_has_is_named(tmp_path: Path) -> None:
    (tmp_path / "variables.tf").write_text('variable "buffer_interval_s" {\n  default = 60\n}\n')
    with pytest.raises(SettingUnknown, match="expected a number as default of buffer_mib, found none"):
        settings_of(root=tmp_path)


def emitted_by(function: str) -> set[tuple[str, tuple[str, ...]]]:
    """Names and dimensions (but the environment) of every ``emit`` in a function's code."""
    found = set()
    for path in (LAMBDA_CODE / function).glob("*.py"):
        tree = ast.parse(path.read_text())
        # `values["FreshnessSeconds"] = …`: names that a dictionary gets one by one.
        added = [
            node.targets[0].slice.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Subscript)
            and isinstance(node.targets[0].slice, ast.Constant)
            and ast.unparse(node.targets[0].value) == "values"
        ]
        # `values = {"RowsRead": …}`: a dictionary that is emitted more than once.
        added += [
            key.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "values"
            and isinstance(node.value, ast.Dict)
            for key in node.value.keys
            if isinstance(key, ast.Constant)
        ]
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "emit":
                metrics = call.args[1]
                keys = (
                    metrics.keys if isinstance(metrics, ast.Dict) else [ast.Constant(name) for name in added]
                )
                names = [key.value for key in keys if isinstance(key, ast.Constant)]
                assert names, f"{path}:{call.lineno}: metrics that this test cannot read"
                assert len(names) == len(keys)
                dimensions = {key.arg for key in call.keywords} - {"unit", "at", "environment"}
                found |= {(str(name), tuple(sorted(str(one) for one in dimensions))) for name in names}
    return found


@pytest.mark.parametrize("function", sorted(SETTINGS.functions))
def test_every_metric_that_a_function_emits_is_counted(function: str) -> None:
    counted = [
        (name, tuple(sorted(one.per))) for one in EMITTED if one.function == function for name in one.names
    ]
    assert max(Counter(counted).values(), default=1) == 1
    assert set(counted) == emitted_by(function)


def test_a_metric_that_is_always_sent_comes_from_a_schedule() -> None:
    always = {one.function for one in EMITTED if one.when is When.ALWAYS}
    assert all(SETTINGS.functions[function].every_s for function in always)
