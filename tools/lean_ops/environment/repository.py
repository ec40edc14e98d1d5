"""The files of this repository that the tools read, and the one way of filling their placeholders.

Terraform reads the very same files (docs/architecture.md): the function catalogue, the state machine
definition, the table specifications and the contracts.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.runtime.errors import InvalidInput, PermanentError

ROOT = Path(__file__).resolve().parents[3]
LAMBDA_CODE = ROOT / "modules/compute/lambda"
FUNCTION_CATALOGUE = ROOT / "modules/compute/functions.json"
STATE_MACHINE = ROOT / "modules/orchestration/pipeline.asl.json"
TABLE_SPECIFICATIONS = ROOT / "modules/storage/tables"
CONTRACTS = ROOT / "contracts"
SAVED_QUERIES = ROOT / "modules/readers/athena"

# `$.x` and `$$.x` are JSONPath and stay; only `${name}` is a placeholder.
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

_TOPIC = re.compile(r"[a-z][a-z0-9_]{0,29}")


class UnknownPlaceholder(PermanentError):  # noqa: N818 - the placeholder is unknown; "error" would say less
    """A file names a placeholder that nothing gives a value for."""


@dataclass(frozen=True)
class FunctionEntry:
    """One function of the catalogue. ``environment`` still holds its placeholders.

    ``schedule``: expression of EventBridge Scheduler, such as ``rate(15 minutes)``, None for none, with its
    placeholders too; the event is then ``{"trigger": "schedule"}``. ``alarm_topics``: the alarm topics (keys
    of ``topics`` in modules/monitoring/catalogue.json) whose notifications invoke the function.
    """

    name: str
    description: str
    handler: str
    runtime: str
    architecture: str
    memory_mb: int
    timeout_s: int
    environment: dict[str, str]
    layers: tuple[str, ...]
    schedule: str | None = None
    alarm_topics: tuple[str, ...] = ()


def render(text: str, values: Mapping[str, str]) -> str:
    """``text`` with every ``${name}`` replaced, the way Terraform's ``templatefile`` does for plain names.

    Raises UnknownPlaceholder naming every placeholder without a value.
    """
    unknown = sorted(set(_PLACEHOLDER.findall(text)) - values.keys())
    if unknown:
        raise UnknownPlaceholder(
            f"placeholders: expected a value for each, found none for {', '.join(unknown)}; "
            f"known are {', '.join(sorted(values))}"
        )
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)


def function_catalogue(path: Path = FUNCTION_CATALOGUE) -> list[FunctionEntry]:
    """All functions, each with the common environment merged under its own."""
    catalogue = json.loads(path.read_text())
    return [
        FunctionEntry(
            name=name,
            description=entry["description"],
            handler=entry["handler"],
            runtime=catalogue["runtime"],
            architecture=catalogue["architecture"],
            memory_mb=entry["memory_mb"],
            timeout_s=entry["timeout_s"],
            environment={**catalogue["environment"], **entry["environment"]},
            layers=tuple(entry["layers"]),
            schedule=entry.get("schedule"),
            alarm_topics=tuple(entry.get("alarm_topics", ())),
        )
        for name, entry in catalogue["functions"].items()
    ]


@dataclass(frozen=True)
class SparkEntry:
    """What the catalogue says of jobs on Spark (docs/adr/0029).

    ``environment``: of each job by the function that it is, with placeholders: the function's, with what the
    job has in its place.
    """

    release: str
    architecture: str
    settings: dict[str, str]
    environment: dict[str, dict[str, str]]

    def submit_parameters(self, job: str, values: Mapping[str, str]) -> str:
        """The ``SparkSubmitParameters`` of a job: its settings, and its environment as the driver has it."""
        driver = {f"spark.emr-serverless.driverEnv.{k}": v for k, v in self.environment[job].items()}
        settings = {**self.settings, **driver}
        return " ".join(f"--conf {name}={render(value, values)}" for name, value in settings.items())


def spark_entry(path: Path = FUNCTION_CATALOGUE) -> SparkEntry:
    """The jobs on Spark."""
    spark = json.loads(path.read_text())["spark"]
    of_function = {entry.name: entry.environment for entry in function_catalogue(path)}
    return SparkEntry(
        spark["release"],
        spark["architecture"],
        spark["settings"],
        {name: of_function[name] | changed for name, changed in spark["jobs"].items()},
    )


def spark_from_rows(path: Path = FUNCTION_CATALOGUE) -> int:
    """Rows from which on a backlog runs on Spark where it is there."""
    (look_up,) = (entry for entry in function_catalogue(path) if entry.name == "get_all_checkpoints")
    return int(look_up.environment["LEAN_OPS_SPARK_FROM_ROWS"])


def state_machine_definition(values: Mapping[str, str], path: Path = STATE_MACHINE) -> dict[str, Any]:
    """The rendered Amazon States Language definition; raises UnknownPlaceholder."""
    definition: dict[str, Any] = json.loads(render(path.read_text(), values))
    return definition


def contract_files(directory: Path = CONTRACTS) -> dict[str, Path]:
    """Topic to contract file, by topic."""
    return {path.stem: path for path in sorted(directory.glob("*.yaml"))}


def saved_queries(topic: str, database: str) -> dict[str, str]:
    """The queries that Athena has at hand for a topic, by name; their first lines say what they answer."""
    return {
        path.stem: render(path.read_text(), {"topic": topic, "database": database})
        for path in sorted(SAVED_QUERIES.glob("*.sql"))
    }


def operations_queries() -> dict[str, str]:
    """The queries that Athena has at hand for what runs, upkeep and reconciliation did, by name."""
    return {path.stem: path.read_text() for path in sorted((SAVED_QUERIES / "operations").glob("*.sql"))}


def known_topics(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Topics with a contract, and those the environment adds (``LEAN_OPS_TOPICS``, comma separated).

    ``events``, the default topic, is always one of them. Raises InvalidInput for a name that cannot be a
    topic's, as ``terraform plan`` does (variables.tf).
    """
    env = os.environ if environ is None else environ
    listed = {topic.strip() for topic in env.get("LEAN_OPS_TOPICS", "").split(",")} - {""}
    topics = tuple(sorted({"events", *contract_files(), *listed}))
    if wrong := [topic for topic in topics if not _TOPIC.fullmatch(topic)]:
        raise InvalidInput(
            "topics: expected names of 1 to 30 lower-case letters, digits and underscores, starting with a "
            f"letter, found {', '.join(map(repr, wrong))}; rename the file in contracts/, or mend "
            "LEAN_OPS_TOPICS"
        )
    functions = json.loads(FUNCTION_CATALOGUE.read_text())["functions"]
    if taken := sorted(set(topics) & functions.keys()):
        raise InvalidInput(
            "topics: expected names that no function has, so that nobody takes one's stream for the other, "
            f"found {', '.join(taken)}; rename the file in contracts/, or mend LEAN_OPS_TOPICS"
        )
    if views := [topic for topic in topics if topic.endswith("_current")]:
        raise InvalidInput(
            "topics: expected names that do not end in _current, as views of tables do, found "
            f"{', '.join(views)}; rename the file in contracts/, or mend LEAN_OPS_TOPICS"
        )
    return topics
