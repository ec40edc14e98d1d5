"""The arithmetic of the local stack's alarms: metric math, M of N, missing data; and the catalogue's own."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from common.runtime.errors import InvalidInput
from lean_ops.environment.alarm_catalogue import Alarm, load
from lean_ops.local.alarm_arithmetic import Value, is_up, result
from lean_ops.local.alarms import THRESHOLDS, alarms_of
from lean_ops.local.bridges import embedded_metrics
from lean_ops.local.target import LocalTarget

ROOT = Path(__file__).parents[3]
TARGET = LocalTarget("test", region="eu-west-1", endpoints={"": "http://127.0.0.1:1"})
ALARMS = {alarm.entry: alarm.alarm for alarm in alarms_of(TARGET)}


def alarm(**changes: object) -> Alarm:
    import msgspec

    return msgspec.structs.replace(ALARMS["queue-age"], **changes)


@pytest.mark.parametrize(
    ("expression", "values", "expected"),
    [
        ("a + b / 2", {"a": [1.0], "b": [4.0]}, [3.0]),
        ("a + b", {"a": [1.0, None], "b": [None, 1.0]}, [None, None]),
        ("FILL(a, 0) - b", {"a": [None], "b": [1.0]}, [-1.0]),
        ("IF(a > 1, b, 0)", {"a": [1.0, 2.0, None], "b": [5.0, 5.0, 5.0]}, [0.0, 5.0, None]),
        ("100 * a / b", {"a": [1.0], "b": [0.0]}, [None]),
        (None, {"a": [1.0, None]}, [1.0, None]),
    ],
)
def test_metric_math(expression: str | None, values: dict[str, list[Value]], expected: list[Value]) -> None:
    assert result(expression, values) == expected


def test_what_the_arithmetic_does_not_know_is_refused() -> None:
    with pytest.raises(InvalidInput, match="RATE"):
        result("RATE(a)", {"a": [1.0]})


@pytest.mark.parametrize(
    ("values", "up"),
    [
        ([None] * 10, False),
        ([9.0] + [None] * 9, False),
        ([9.0] + [None] * 8 + [9.0], True),
        ([9.0, 9.0] + [1.0] * 10, False),  # out of sight
        ([5.0] * 10, False),  # at the threshold is not above it
    ],
)
def test_m_of_n_with_periods_without_data(values: list[Value], *, up: bool) -> None:
    two_of_ten = alarm(threshold="5", evaluation_periods=10, datapoints_to_alarm=2)
    assert is_up(two_of_ten, values, before=False) == up


@pytest.mark.parametrize(
    ("treatment", "before", "up"),
    [
        ("breaching", False, True),
        ("notBreaching", True, False),
        ("ignore", True, True),
        ("missing", True, False),
    ],
)
def test_silence_is_what_the_alarm_says_it_is(treatment: str, *, before: bool, up: bool) -> None:
    silent = alarm(missing_data=treatment, comparison="LessThanThreshold", threshold="1")
    assert is_up(silent, [None, None], before=before) == up


def judged(entry: str, **series: list[Value]) -> bool:
    found = ALARMS[entry]
    none: list[Value] = [None]
    padded = {name: none * (10 - len(values)) + values for name, values in series.items()}
    return is_up(found, result(found.expression, padded), before=False)


@pytest.mark.parametrize(
    ("received", "failed", "up"),
    [
        ([1000.0, 1000.0], [51.0, 51.0], True),
        ([1000.0, 1000.0], [50.0, 50.0], False),
        ([1000.0], [1000.0], False),  # one bad minute may be a deployment
        ([20.0, 20.0], [19.0, 19.0], False),  # too few to speak of a rate
        ([1.0, None, None, None, None, None, 1.0], [1.0, None, None, None, None, None, 1.0], True),
        ([5.0, 5.0], [0.0, 0.0], False),
    ],
)
def test_the_error_rate_hears_of_a_flood_and_of_a_single_message(
    received: list[Value], failed: list[Value], *, up: bool
) -> None:
    """One message that fails is seen again after the six minutes of the visibility timeout: twice in ten."""
    assert judged("message-error-rate", received=received, failed=failed) == up


def test_invocations_without_errors_are_no_errors_and_no_invocations_are_no_alarm() -> None:
    assert not judged("invocation-error-rate", errors=[None, None], invocations=[10.0, 10.0])
    assert not judged("invocation-error-rate", errors=[None], invocations=[None])
    assert judged("invocation-error-rate", errors=[1.0, 1.0], invocations=[10.0, 10.0])


def test_thresholds_of_the_local_stack_are_terraforms_defaults() -> None:
    text = (ROOT / "variables.tf").read_text()
    default = {
        name: float(value)
        for name, value in re.findall(r'variable "(\w+)" \{.*?default\s+= ([\d.]+)\n', text, re.DOTALL)
    }
    day = 86_400
    expiry = default["dead_letter_retention_days"] - default["source_retention_days"] - 1
    assert {name: float(value) for name, value in THRESHOLDS.items()} == {
        "source_retention_days": default["source_retention_days"],
        "dead_letter_age_alarm_days": default["dead_letter_age_alarm_days"],
        "dead_letter_age_alarm_s": default["dead_letter_age_alarm_days"] * day,
        "dead_letter_expiry_alarm_s": expiry * day,
        "error_rate_alarm_percent": default["error_rate_alarm_percent"],
        "raw_behind_s": max(600, 2 * default["buffer_interval_s"]),
        "layer_behind_s": 3 * 60 * default["schedule_minutes"],
    }


def test_every_alarm_of_the_catalogue_can_be_judged() -> None:
    assert ALARMS.keys() == load().alarms.keys()
    for entry, found in ALARMS.items():
        series: dict[str, list[Value]] = {metric.id: [None, 1.0, 2.0] for metric in found.metrics}
        assert len(result(found.expression, series)) == 3, entry


def test_embedded_metrics_are_found_among_other_lines() -> None:
    line = (
        '{"_aws":{"Timestamp":1700000000000,"CloudWatchMetrics":[{"Namespace":"lean-ops","Dimensions":'
        '[["environment","topic"]],"Metrics":[{"Name":"Rows","Unit":"Count"}]}]},'
        '"environment":"test","topic":"events","Rows":[1.0,2.0]}'
    )
    (datum,) = embedded_metrics(f'START\n{line}\n{{"message":"about \\"_aws\\""}}\nnot json "_aws"\n')
    assert (datum.namespace, datum.name, datum.values) == ("lean-ops", "Rows", [1.0, 2.0])
    assert datum.dimensions == {"environment": "test", "topic": "events"}
    assert datum.time_s == 1_700_000_000


def test_an_alarm_belongs_to_one_environment() -> None:
    other = replace(TARGET, env="other")
    assert not {alarm.name for alarm in alarms_of(other)} & {alarm.name for alarm in alarms_of(TARGET)}
