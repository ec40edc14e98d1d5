"""The catalogue of alarms and panels (``modules/monitoring/catalogue.json``), read and checked.

Terraform makes alarms, topics and dashboard of the same file; here it is read for the local stack, for
``lean-ops alarms`` and ``lean-ops doctor``, and for the tests that hold it against the functions' metrics and
against the runbook.

An alarm is one metric, or an expression over several. ``per`` repeats it: ``function`` for every function
that a schedule or an alarm invokes (nobody waits for those). ``topic`` is one alarm on the worst of all
topics, and one for each topic that is watched, on the metrics that carry its name.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from common.runtime.errors import PermanentError
from lean_ops.environment.repository import ROOT, function_catalogue, render

CATALOGUE: Final = ROOT / "modules/monitoring/catalogue.json"
RUNBOOK: Final = "docs/runbook.md"

_SHORT_PERIODS: Final = (10, 30)
_DAY_S: Final = 86_400
_WEEK_S: Final = 7 * _DAY_S
# AlarmDescription holds 1,024 characters; the link to the runbook comes after it.
_LONGEST_DESCRIPTION: Final = 700
_STATISTIC: Final = re.compile(r"SampleCount|Average|Sum|Minimum|Maximum|p\d{1,2}(\.\d+)?")
_PLACEHOLDER: Final = re.compile(r"\$\{([A-Za-z_]+)\}")
_ID: Final = re.compile(r"[a-z][A-Za-z0-9_]*")


class CatalogueError(PermanentError):
    """The catalogue contradicts itself or what CloudWatch accepts; the message names the alarm."""


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is told. ``severity`` is PagerDuty's word for everything that arrives there."""

    severity: Literal["critical", "warning", "info"]
    description: str


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One metric of an alarm or a panel. ``label``, ``axis`` and ``visible`` are for panels."""

    id: str
    namespace: str
    name: str
    dimensions: dict[str, str]
    statistic: str
    label: str = ""
    axis: Literal["left", "right"] = "left"
    visible: bool = True


class Alarm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One alarm as CloudWatch evaluates it: ``datapoints_to_alarm`` of the last ``evaluation_periods``."""

    topic: str
    description: str
    metrics: list[Metric]
    comparison: Literal["GreaterThanThreshold", "GreaterThanOrEqualToThreshold", "LessThanThreshold"]
    threshold: str
    period_s: int
    evaluation_periods: int
    datapoints_to_alarm: int
    missing_data: Literal["notBreaching", "breaching", "ignore", "missing"]
    expression: str | None = None
    per: Literal["topic", "function"] | None = None


class Curve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An expression on a panel, over the panel's metrics or a search."""

    expression: str
    label: str
    axis: Literal["left", "right"] = "left"


class Panel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One widget of the dashboard."""

    title: str
    period_s: int
    left_label: str
    metrics: list[dict[str, Any]]
    right_label: str = ""


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything in the file."""

    topics: dict[str, Topic]
    alarms: dict[str, Alarm]
    panels: list[Panel]


@dataclass(frozen=True)
class DeployedAlarm:
    """An alarm of an environment. ``entry`` is its name in the catalogue and its section in the runbook.

    ``alarm`` has every placeholder filled; ``subject`` is the topic or function that it is about, or empty.
    """

    entry: str
    subject: str
    name: str
    alarm: Alarm

    @property
    def runbook(self) -> str:
        """Where the runbook says what to do."""
        return f"{RUNBOOK}#{self.entry}"

    @property
    def threshold(self) -> float:
        """The threshold as a number."""
        return float(self.alarm.threshold)


def load(path: Path = CATALOGUE) -> Catalogue:
    """Read and check the catalogue; raises CatalogueError with every contradiction found."""
    try:
        catalogue = msgspec.json.decode(path.read_bytes(), type=Catalogue)
    except msgspec.DecodeError as error:
        raise CatalogueError(f"{path}: expected topics, alarms and panels, found: {error}") from error
    found = [
        f"{name}: {wrong}" for name, alarm in catalogue.alarms.items() for wrong in _wrong(alarm, catalogue)
    ]
    found += [
        f"panel {panel.title!r}: {wrong}" for panel in catalogue.panels for wrong in _wrong_panel(panel)
    ]
    if found:
        raise CatalogueError(f"{path}: expected what CloudWatch accepts, found\n  " + "\n  ".join(found))
    return catalogue


def deployed(
    catalogue: Catalogue, values: Mapping[str, str], watched: Sequence[str] = ()
) -> list[DeployedAlarm]:
    """The alarms of an environment, by the names that Terraform gives them.

    ``values`` fill the placeholders, ``name_prefix`` among them; ``watched``: topics that have their own.
    """
    return [
        DeployedAlarm(
            entry,
            subject,
            "-".join([values["name_prefix"], entry, *([subject.replace("_", "-")] if subject else [])]),
            _filled(alarm, {**values, **own}, subject if alarm.per == "topic" else ""),
        )
        for entry, alarm in catalogue.alarms.items()
        for subject, own in _subjects(alarm, watched)
    ]


def curves(panel: Panel) -> Iterator[Metric | Curve]:
    """What a panel draws, each as what it is."""
    for entry in panel.metrics:
        if "namespace" in entry:
            yield msgspec.convert(entry, Metric)
        else:
            yield msgspec.convert(entry, Curve)


def watched_functions() -> list[str]:
    """Functions that nobody waits for: a schedule or an alarm invokes them."""
    return [
        entry.name.replace("_", "-") for entry in function_catalogue() if entry.schedule or entry.alarm_topics
    ]


def _subjects(alarm: Alarm, watched: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    match alarm.per:
        case "topic":
            yield "", {"topic": "a topic"}
            yield from ((topic, {"topic": topic}) for topic in watched)
        case "function":
            yield from ((function, {"function": function}) for function in watched_functions())
        case None:
            yield "", {}


def _filled(alarm: Alarm, values: Mapping[str, str], topic: str) -> Alarm:
    filled = msgspec.json.decode(render(msgspec.json.encode(alarm).decode(), values), type=Alarm)
    if not topic:
        return filled
    own = [
        msgspec.structs.replace(metric, dimensions={**metric.dimensions, "topic": topic})
        for metric in filled.metrics
    ]
    return msgspec.structs.replace(filled, metrics=own)


def _wrong(alarm: Alarm, catalogue: Catalogue) -> Iterator[str]:
    """What CloudWatch (PutMetricAlarm) or this project would not accept."""
    if alarm.topic not in catalogue.topics:
        yield f"expected a topic of {', '.join(catalogue.topics)}, found {alarm.topic!r}"
    if not 10 <= len(alarm.description) <= _LONGEST_DESCRIPTION:
        length = len(alarm.description)
        yield f"expected a description of 10 to {_LONGEST_DESCRIPTION} characters, found {length}"
    if alarm.period_s not in _SHORT_PERIODS and (alarm.period_s < 60 or alarm.period_s % 60):
        yield f"expected a period of 10, 30 or a multiple of 60 seconds, found {alarm.period_s}"
    longest = _WEEK_S if alarm.period_s >= 3600 else _DAY_S
    if alarm.period_s * alarm.evaluation_periods > longest:
        yield f"expected to look back {longest} s at most, found {alarm.period_s * alarm.evaluation_periods}"
    if not 1 <= alarm.datapoints_to_alarm <= alarm.evaluation_periods:
        yield f"expected 1 to {alarm.evaluation_periods} datapoints, found {alarm.datapoints_to_alarm}"
    if not _PLACEHOLDER.fullmatch(alarm.threshold) and not re.fullmatch(r"\d+(\.\d+)?", alarm.threshold):
        yield f"expected a number or one placeholder as threshold, found {alarm.threshold!r}"
    used = set(_PLACEHOLDER.findall(msgspec.json.encode(alarm).decode()))
    own = {"topic": {"topic"}, "function": {"function"}, None: set()}
    if strange := used & {"topic", "function"} - own[alarm.per]:
        yield f"expected per to say what {', '.join(sorted(strange))} stands for, found {alarm.per}"
    if alarm.per and not used & own[alarm.per]:
        yield f"expected each {alarm.per} to be named, found nothing that names it"
    if alarm.per == "topic" and any("topic" in metric.dimensions for metric in alarm.metrics):
        yield "expected metrics of all topics, found one of a single topic; watched topics are added to them"
    yield from _wrong_metrics(alarm.metrics)
    yield from _wrong_expression(alarm.expression, [metric.id for metric in alarm.metrics])


def _wrong_metrics(metrics: Sequence[Metric]) -> Iterator[str]:
    for metric in metrics:
        if not _ID.fullmatch(metric.id):
            yield f"expected an id that starts in lower case, found {metric.id!r}"
        if not _STATISTIC.fullmatch(metric.statistic):
            yield f"metric {metric.id}: expected a statistic of CloudWatch, found {metric.statistic!r}"
        if not 1 <= len(metric.dimensions) <= 30:
            yield f"metric {metric.id}: expected 1 to 30 dimensions, found {len(metric.dimensions)}"
    if len({metric.id for metric in metrics}) < len(metrics):
        yield "expected different ids, found one twice"


def _wrong_expression(expression: str | None, ids: Sequence[str]) -> Iterator[str]:
    """Exactly one query may return data: the only metric, or the expression over all of them."""
    if expression is None:
        if len(ids) != 1:
            yield f"expected an expression over {len(ids)} metrics, found none"
        return
    try:
        tree = ast.parse(expression, mode="eval")  # metric math without searches reads like Python
    except SyntaxError as error:
        yield f"expected an expression of metric math, found {expression!r}: {error.msg}"
        return
    functions = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - functions
    if names != set(ids):
        yield f"expected the expression to use {', '.join(ids)}, found {', '.join(sorted(names)) or 'none'}"


def _wrong_panel(panel: Panel) -> Iterator[str]:
    try:
        drawn = list(curves(panel))
    except msgspec.ValidationError as error:
        yield f"expected metrics and expressions, found: {error}"
        return
    metrics = [curve for curve in drawn if isinstance(curve, Metric)]
    yield from _wrong_metrics(metrics)
    if not any(isinstance(curve, Curve) or curve.visible for curve in drawn):
        yield "expected something to see, found none"
    if any(curve.axis == "right" for curve in drawn) and not panel.right_label:
        yield "expected a label of the right axis, found none"
