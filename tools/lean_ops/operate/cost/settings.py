"""What the bill depends on, read from the files that Terraform reads: nothing is written down twice.

Numbers are variables of the root module (``variables.tf``, and of an environment its ``.tfvars``); functions,
alarms, the state machine and the tables have catalogues of their own.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from common.runtime.errors import PermanentError
from lean_ops.environment import alarm_catalogue
from lean_ops.environment.repository import (
    FUNCTION_CATALOGUE,
    ROOT,
    STATE_MACHINE,
    TABLE_SPECIFICATIONS,
    function_catalogue,
    render,
)

MONTH_S: Final = 30 * 86_400
_BLOCK: Final = re.compile(r'^variable "(\w+)" \{(.*?)^\}', re.MULTILINE | re.DOTALL)
_DEFAULT: Final = re.compile(r"^  default\s*=\s*(-?\d+(?:\.\d+)?)\s*$", re.MULTILINE)
_VALUE: Final = re.compile(r'^(\w+)\s*=\s*(?:"([^"]*)"|(-?\d+(?:\.\d+)?))\s*$', re.MULTILINE)
_WATCHED: Final = re.compile(r"^watched_topics\s*=\s*\[([^\]]*)\]", re.MULTILINE)
_RATE: Final = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_SECONDS: Final = {"minute": 60, "hour": 3_600, "day": 86_400}
# Of the rule for everything; results of queries have a shorter one.
_NONCURRENT: Final = re.compile(
    r'id\s*=\s*"deleted-objects"[^}]*\{\}\s*noncurrent_[^}]*noncurrent_days\s*=\s*(\d+)'
)
_BUCKETS: Final = re.compile(r"bucket\[(\d+)\]")


class SettingUnknown(PermanentError):  # noqa: N818 - the setting is unknown; "error" would say less
    """A file of the repository does not say what the bill depends on; the message names file and setting."""


@dataclass(frozen=True)
class Function:
    """What an invocation costs by. ``every_s``: seconds between two starts by schedule; None for none."""

    memory_mb: int
    ephemeral_mb: int
    every_s: int | None

    @property
    def runs(self) -> float:
        """Starts a month by its schedule."""
        return MONTH_S / self.every_s if self.every_s else 0.0


@dataclass(frozen=True)
class Settings:
    """All that the bill depends on beside what comes in.

    ``alarms``, ``topic_alarms``: alarms of an environment, and of each topic that is watched; ``…_metrics``:
    the metrics that they look at, which is what is billed. ``idle_states``, ``busy_states``: states that a
    run enters when it finds nothing, and when it merges into both layers.
    """

    buffer_interval_s: float
    buffer_mib: float
    schedule_minutes: float
    snapshot_retention_days: float
    log_retention_days: float
    batch_size: float
    batching_window_s: float
    noncurrent_days: int
    key_buckets: int
    metadata_compressed: bool
    batch_rows: int
    functions: Mapping[str, Function]
    alarms: int
    alarm_metrics: int
    topic_alarms: int
    topic_alarm_metrics: int
    watched_topics: int
    idle_states: int
    busy_states: int
    keys: int = 1
    secrets: int = 3
    dashboards: int = 1

    @property
    def looks(self) -> float:
        """Looks of the dispatcher, a month: at most so many runs has a topic, and each takes what is new."""
        return MONTH_S / (60 * self.schedule_minutes)

    def looking_every(self, minutes: float) -> "Settings":
        """The same with another schedule of the dispatcher."""
        dispatcher = replace(self.functions["dispatcher"], every_s=int(60 * minutes))
        return replace(self, schedule_minutes=minutes, functions={**self.functions, "dispatcher": dispatcher})


def operation_tables() -> int:
    """How many tables there are of what runs did, whatever the topics."""
    return len(list(TABLE_SPECIFICATIONS.glob("ops_*.json")))


def settings_of(env: str | None = None, root: Path = ROOT) -> Settings:
    """The settings of an environment, or those of none in particular; raises SettingUnknown."""
    numbers = {
        name: float(found[1])
        for name, body in _BLOCK.findall((root / "variables.tf").read_text())
        if (found := _DEFAULT.search(body))
    }
    if env is not None:
        numbers |= {name: float(value) for name, value in _tfvars(env, root).items() if _is_number(value)}
    fixed, per_topic = _alarms()
    machine = json.loads(STATE_MACHINE.read_text())
    functions = json.loads(FUNCTION_CATALOGUE.read_text())["functions"]
    raw, curated = (
        json.loads((TABLE_SPECIFICATIONS / f"{layer}.json").read_text()) for layer in ("raw", "curated")
    )

    def number(name: str) -> float:
        if name not in numbers:
            raise SettingUnknown(f"variables.tf: expected a number as default of {name}, found none")
        return numbers[name]

    return Settings(
        buffer_interval_s=number("buffer_interval_s"),
        buffer_mib=number("buffer_mib"),
        schedule_minutes=number("schedule_minutes"),
        snapshot_retention_days=number("snapshot_retention_days"),
        log_retention_days=number("log_retention_days"),
        batch_size=number("batch_size"),
        batching_window_s=number("batching_window_s"),
        noncurrent_days=int(
            _only(_NONCURRENT, (root / "modules/storage/lake.tf").read_text(), "noncurrent_days")
        ),
        key_buckets=int(_only(_BUCKETS, json.dumps(curated["partition-spec"]), "buckets of curated.json")),
        metadata_compressed=raw["properties"].get("write.metadata.compression-codec", "none") != "none",
        batch_rows=int(functions["curation"]["environment"]["LEAN_OPS_BATCH_ROWS"]),
        functions={
            entry.name: Function(
                entry.memory_mb,
                functions[entry.name].get("ephemeral_storage_mb", 512),
                _every(entry.schedule, number("schedule_minutes")),
            )
            for entry in function_catalogue()
        },
        alarms=len(fixed),
        alarm_metrics=sum(fixed),
        topic_alarms=len(per_topic),
        topic_alarm_metrics=sum(per_topic),
        watched_topics=_watched(env, root),
        idle_states=_states(machine, "NoNewData"),
        busy_states=_states(machine, "RunCurationJob", "RunSemanticJob", "FullPipelineSuccess"),
    )


def region_of(env: str, root: Path = ROOT) -> str:
    """The region that the files give an environment; raises SettingUnknown."""
    values = _tfvars(env, root)
    if "region" not in values:
        raise SettingUnknown(f"environments/{env}.tfvars: expected a region, found none")
    return values["region"]


def _tfvars(env: str, root: Path) -> dict[str, str]:
    text = (root / f"environments/{env}.tfvars").read_text()
    return {name: words or number for name, words, number in _VALUE.findall(text)}


def _watched(env: str | None, root: Path) -> int:
    """How many topics an environment watches: one line of its file, a list of names."""
    if env is None:
        return 0
    found = _WATCHED.search((root / f"environments/{env}.tfvars").read_text())
    return found[1].count('"') // 2 if found else 0


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None


def _only(pattern: re.Pattern[str], text: str, what: str) -> str:
    found = set(pattern.findall(text))
    if len(found) != 1:
        raise SettingUnknown(f"{what}: expected one number, found {', '.join(sorted(found)) or 'none'}")
    return str(found.pop())


def _every(schedule: str | None, dispatcher_minutes: float) -> int | None:
    """Seconds between two starts of ``rate(5 minutes)``; the dispatcher's rate is a variable."""
    if schedule is None:
        return None
    schedule = render(schedule, {"schedule_rate": f"{dispatcher_minutes:.0f} minutes"})
    if not (found := _RATE.fullmatch(schedule)):
        raise SettingUnknown(
            f"functions.json: expected a schedule such as rate(5 minutes), found {schedule!r}"
        )
    return int(found[1]) * _SECONDS[found[2]]


def _alarms() -> tuple[list[int], list[int]]:
    """Metrics of every alarm: of those that an environment has, and of those of each watched topic."""
    fixed: list[int] = []
    per_topic: list[int] = []
    for alarm in alarm_catalogue.load().alarms.values():
        if alarm.per == "topic":
            per_topic.append(len(alarm.metrics))
            fixed.append(len(alarm.metrics))
        else:
            times = len(alarm_catalogue.watched_functions()) if alarm.per == "function" else 1
            fixed += [len(alarm.metrics)] * times
    return fixed, per_topic


def _states(machine: Mapping[str, Any], *through: str) -> int:
    """States that the shortest way through a machine enters, by way of ``through``, the last included."""
    here, entered = machine["StartAt"], 1
    for there in through:
        entered += _steps(machine["States"], here, there)
        here = there
    return entered


def _steps(states: Mapping[str, Any], start: str, end: str) -> int:
    reached, steps = {start}, 0
    while end not in reached:
        following = {name for state in reached for name in _following(states[state])}
        if following <= reached:
            raise SettingUnknown(f"pipeline.asl.json: expected a way from {start} to {end}, found none")
        reached, steps = reached | following, steps + 1
    return steps


def _following(state: Mapping[str, Any]) -> set[str]:
    choices = [choice["Next"] for choice in state.get("Choices", ())]
    return {name for name in (state.get("Next"), state.get("Default"), *choices) if name}
