"""The catalogue of alarms is what CloudWatch accepts, and what is wrong with one is said by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from lean_ops.environment.alarm_catalogue import CATALOGUE, CatalogueError, Metric, curves, deployed, load

VALUES = {
    "project": "lean-ops",
    "env": "test",
    "name_prefix": "lean-ops-test",
    "source_queue": "lean-ops-test-source",
    "dead_letter_queue": "lean-ops-test-dlq",
    "drift_log_table": "lean-ops-test-drift-log",
    "state_machine_arn": "arn:aws:states:eu-west-1:000000000000:stateMachine:lean-ops-test-pipeline",
    "processor_function": "lean-ops-test-sqs-processor",
    "source_retention_days": "4",
    "dead_letter_age_alarm_days": "7",
    "dead_letter_age_alarm_s": "604800",
    "dead_letter_expiry_alarm_s": "777600",
    "error_rate_alarm_percent": "5",
    "raw_behind_s": "600",
    "layer_behind_s": "2700",
}


def changed(tmp_path: Path, change: dict[str, Any], name: str = "queue-age") -> Path:
    document = json.loads(CATALOGUE.read_text())
    document["alarms"][name] |= change
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps(document))
    return path


def test_the_catalogue_is_accepted() -> None:
    catalogue = load()
    assert len(catalogue.alarms) > 20
    assert [panel.title for panel in catalogue.panels][:4] == [
        "Ingestion throughput",
        "Dead-letter queue",
        "State machine",
        "Snowflake queries on Semantic",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"topic": "nobody"}, "found 'nobody'"),
        ({"description": "short"}, "description of 10 to 700"),
        ({"period_s": 90}, "multiple of 60"),
        ({"period_s": 300, "evaluation_periods": 289}, "look back 86400 s"),
        ({"period_s": 3600, "evaluation_periods": 169, "datapoints_to_alarm": 1}, "look back 604800 s"),
        ({"datapoints_to_alarm": 3}, "1 to 2 datapoints"),
        ({"threshold": "much"}, "a number or one placeholder"),
        ({"expression": "age + other"}, "expected the expression to use age"),
        ({"expression": "age +"}, "metric math"),
        ({"per": "topic"}, "each topic to be named"),
        ({"description": "More than usual in ${topic}"}, "what topic stands for"),
        ({"missing_data": "maybe"}, "Invalid enum value 'maybe'"),
        ({"treshold": "1"}, "unknown field `treshold`"),
    ],
)
def test_what_cloudwatch_would_refuse_is_refused_by_name(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(CatalogueError, match=r"catalogue\.json") as refused:
        load(changed(tmp_path, change))
    assert said in str(refused.value)


def test_several_metrics_need_an_expression(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="expected an expression over 2 metrics"):
        load(changed(tmp_path, {"expression": None}, "message-error-rate"))


def test_an_alarm_about_topics_watches_the_worst_and_those_that_are_watched() -> None:
    alarms = {alarm.name: alarm for alarm in deployed(load(), VALUES, ["weather_stations"])}
    assert "lean-ops-test-dead-letter-age" in alarms
    behind = alarms["lean-ops-test-curated-behind"]
    assert behind.alarm.metrics[0].dimensions == {"environment": "test", "layer": "curated"}
    assert behind.alarm.description.startswith("Curated of a topic has not read")
    own = alarms["lean-ops-test-curated-behind-weather-stations"]
    assert own.alarm.metrics[0].dimensions == {
        **behind.alarm.metrics[0].dimensions,
        "topic": "weather_stations",
    }
    assert own.alarm.description.startswith("Curated of weather_stations has not read")
    assert own.threshold == behind.threshold == 2700.0
    assert own.runbook == "docs/runbook.md#curated-behind"


def test_no_alarm_is_of_one_topic_alone(tmp_path: Path) -> None:
    change = {
        "metrics": [
            {"id": "m", "namespace": "n", "name": "x", "dimensions": {"topic": "a"}, "statistic": "Sum"}
        ]
    }
    with pytest.raises(CatalogueError, match="expected metrics of all topics"):
        load(changed(tmp_path, {**change, "per": "topic", "description": "Something of ${topic}"}))


def test_no_placeholder_is_left_over() -> None:
    for alarm in deployed(load(), VALUES, ["events"]):
        assert "${" not in repr(alarm)
        assert len(alarm.alarm.description) <= 700


def test_the_circuit_breakers_topic_carries_nothing_but_error_rates() -> None:
    own = {name for name, alarm in load().alarms.items() if alarm.topic == "breaker"}
    assert own == {"message-error-rate", "invocation-error-rate"}


def test_a_panel_draws_metrics_and_expressions() -> None:
    drawn = [curve for panel in load().panels for curve in curves(panel)]
    assert {type(curve).__name__ for curve in drawn} == {"Metric", "Curve"}
    assert all(curve.label for curve in drawn if not (isinstance(curve, Metric) and not curve.visible))
