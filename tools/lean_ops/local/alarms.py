"""Alarms of the local stack: topics, who listens, the alarms, and their evaluation.

The emulator keeps alarms and notifies, but judges them by rules of its own, which ``lean_ops.local.bridges``
switches off. ``evaluate`` judges them as CloudWatch does and sets their state, which notifies the functions
that listen. Nothing calls it by itself: ``lean-ops alarms`` does, and the drills.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lean_ops.environment.alarm_catalogue import Alarm, DeployedAlarm, Metric, deployed, load
from lean_ops.environment.repository import function_catalogue
from lean_ops.environment.target import Target
from lean_ops.local.alarm_arithmetic import Value, is_up, result

if TYPE_CHECKING:
    from types_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

# Defaults of variables.tf (a test holds the two together): what the catalogue's placeholders stand for here.
_DAY_S = 86_400
THRESHOLDS = {
    "source_retention_days": "4",
    "dead_letter_age_alarm_days": "7",
    "dead_letter_age_alarm_s": str(7 * _DAY_S),
    "dead_letter_expiry_alarm_s": str((14 - 4 - 1) * _DAY_S),
    "error_rate_alarm_percent": "5",
    "raw_behind_s": "600",
    "layer_behind_s": str(3 * 15 * 60),
}


@dataclass(frozen=True)
class Change:
    """An alarm that went up or is over."""

    alarm: DeployedAlarm
    up: bool


def alarms_of(target: Target) -> list[DeployedAlarm]:
    """The alarms that the catalogue gives ``target``."""
    values = THRESHOLDS | {
        "project": target.project,
        "env": target.env,
        "name_prefix": target.name_prefix,
        "source_queue": target.source_queue,
        "dead_letter_queue": target.dead_letter_queue,
        "drift_log_table": target.drift_log_table,
        "state_machine_arn": target.state_machine_arn,
        "processor_function": target.function("sqs_processor"),
    }
    return deployed(load(), values)


def create(target: Target, function_arns: Mapping[str, str]) -> None:
    """Create topics, subscriptions and alarms; ``function_arns`` by the catalogue's names. Repeatable."""
    sns, cloudwatch = target.client("sns"), target.client("cloudwatch")
    topics = {
        name: sns.create_topic(Name=f"{target.name_prefix}-{name}")["TopicArn"] for name in load().topics
    }
    for entry in function_catalogue():
        for topic in entry.alarm_topics:
            sns.subscribe(TopicArn=topics[topic], Protocol="lambda", Endpoint=function_arns[entry.name])
    for alarm in alarms_of(target):
        action = [topics[alarm.alarm.topic]]
        cloudwatch.put_metric_alarm(
            AlarmName=alarm.name,
            AlarmDescription=f"{alarm.alarm.description}. Runbook: {alarm.runbook}",
            ComparisonOperator=alarm.alarm.comparison,
            Threshold=alarm.threshold,
            EvaluationPeriods=alarm.alarm.evaluation_periods,
            DatapointsToAlarm=alarm.alarm.datapoints_to_alarm,
            TreatMissingData=alarm.alarm.missing_data,
            Metrics=_queries(alarm),
            AlarmActions=action,
            OKActions=action,
        )


def evaluate(target: Target, now: datetime) -> list[Change]:
    """Judge every alarm by its metrics before ``now`` and set the states that changed, which notifies."""
    cloudwatch = target.client("cloudwatch")
    up = {
        alarm["AlarmName"]
        for page in cloudwatch.get_paginator("describe_alarms").paginate(StateValue="ALARM")
        for alarm in page["MetricAlarms"]
    }
    alarms = alarms_of(target)
    changes = []
    for alarm, series in zip(alarms, _series(target, alarms, now), strict=True):
        values = result(alarm.alarm.expression, series)
        verdict = is_up(alarm.alarm, values, before=alarm.name in up)
        if verdict == (alarm.name in up):
            continue
        changes.append(Change(alarm, verdict))
        cloudwatch.set_alarm_state(
            AlarmName=alarm.name,
            StateValue="ALARM" if verdict else "OK",
            StateReason=f"{alarm.alarm.evaluation_periods} periods of {alarm.alarm.period_s} s before "
            f"{now.isoformat(timespec='seconds')}: {_shown(values)}, threshold {alarm.threshold:g}",
        )
    return changes


def _series(
    target: Target, alarms: Sequence[DeployedAlarm], now: datetime
) -> Iterator[dict[str, list[Value]]]:
    """For each alarm, a value of each metric for each of its periods, oldest first; asked in one call."""
    starts = [_periods(alarm.alarm, now) for alarm in alarms]
    queries: list[MetricDataQueryTypeDef] = [
        {**_query(metric, alarm.alarm.period_s), "Id": f"a{number}_{metric.id}"}
        for number, alarm in enumerate(alarms)
        for metric in alarm.alarm.metrics
    ]
    answer = target.client("cloudwatch").get_metric_data(
        MetricDataQueries=queries,
        StartTime=datetime.fromtimestamp(min(own[0] for own in starts), UTC),
        EndTime=now,
    )
    found = {
        data["Id"]: {
            time.timestamp(): value for time, value in zip(data["Timestamps"], data["Values"], strict=True)
        }
        for data in answer["MetricDataResults"]
    }
    for number, (alarm, own) in enumerate(zip(alarms, starts, strict=True)):
        yield {
            metric.id: [found[f"a{number}_{metric.id}"].get(start) for start in own]
            for metric in alarm.alarm.metrics
        }


def _periods(alarm: Alarm, now: datetime) -> list[float]:
    """When each of the alarm's whole periods before ``now`` began, oldest first."""
    end = math.floor(now.timestamp() / alarm.period_s) * alarm.period_s
    return [end - alarm.period_s * (n + 1) for n in reversed(range(alarm.evaluation_periods))]


def _queries(alarm: DeployedAlarm) -> "list[MetricDataQueryTypeDef]":
    """The queries of PutMetricAlarm, of which exactly one returns data."""
    queries = [_query(metric, alarm.alarm.period_s) for metric in alarm.alarm.metrics]
    if alarm.alarm.expression is None:
        return queries
    for query in queries:
        query["ReturnData"] = False
    return [*queries, {"Id": "result", "Expression": alarm.alarm.expression, "ReturnData": True}]


def _query(metric: Metric, period_s: int) -> "MetricDataQueryTypeDef":
    dimensions: list[Any] = [{"Name": name, "Value": value} for name, value in metric.dimensions.items()]
    return {
        "Id": metric.id,
        "ReturnData": True,
        "MetricStat": {
            "Metric": {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions},
            "Period": period_s,
            "Stat": metric.statistic,
        },
    }


def _shown(values: Sequence[Value]) -> str:
    return ", ".join("-" if value is None else f"{value:g}" for value in values)
