"""Every path through the state machine, run by the emulator, with scripted functions in place of the jobs.

The definition, the retries and the DynamoDB updates are the real ones; what each function answers (or
raises) is scripted, so that every path can be taken at will.
"""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lean_ops.environment.repository import function_catalogue
from lean_ops.environment.target import Target
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.operate import pipeline
from lean_ops.operate.pipeline import Outcome, StateVisit

STUB = """
    import json, pathlib

    SCRIPT = pathlib.Path({script!r})

    def handler(event, context):
        script = json.loads(SCRIPT.read_text())
        script["calls"].append([{name!r}, event])
        answer = script["answers"][{name!r}].pop(0)
        SCRIPT.write_text(json.dumps(script))
        if "raises" in answer:
            raise type(answer["raises"], (Exception,), {{}})("scripted")
        return answer
"""


class Script:
    """What the functions answer next, and what they were called with."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def set(self, **answers: list[dict[str, Any]]) -> None:
        self._path.write_text(json.dumps({"answers": answers, "calls": []}))

    def calls(self, name: str) -> list[dict[str, Any]]:
        return [event for called, event in json.loads(self._path.read_text())["calls"] if called == name]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Target, Script]]:
    folder = tmp_path_factory.mktemp("machine")
    script = folder / "script.json"
    code = folder / "code"
    (code / "common").mkdir(parents=True)
    (code / "common/__init__.py").touch()
    for entry in function_catalogue():
        (code / entry.name).mkdir()
        stub = textwrap.dedent(STUB).format(script=str(script), name=entry.name)
        (code / entry.name / "handler.py").write_text(stub)
    stack = Stack(folder / "stack", tied_to_parent=True, wait_scale=0.0)
    stack.up()
    target = replace(LocalTarget.running(stack.folder), topics=("events",))
    provision(target, Tuning(), code_root=code)
    yield target, Script(script)
    stack.down(wipe=True)


def checkpoints(**changes: Any) -> dict[str, Any]:
    """GetAllCheckpoints' answer for a pipeline that is up to date."""
    return {
        "lease": "held",
        "raw_snapshot": "10",
        "curated_checkpoint": "10",
        "curated_position": "000000000000003.999999",
        "curated_snapshot": "20",
        "semantic_checkpoint": "20",
        "semantic_position": "000000000000003.999999",
        "semantic_versions": "10",
        "semantic_token": "20@10/000000000000003.999999",
        "semantic_snapshot": "30",
        "schema_exists": True,
        "curation_engine": "lambda",
        "semantic_engine": "lambda",
        **changes,
    }


NEW_RAW = checkpoints(raw_snapshot="11")


def curated(**changes: Any) -> dict[str, Any]:
    return {
        "curated_snapshot_id": "21",
        "records_written": 5,
        "backlog": False,
        "source_token": "11",
        "source_position": "000000000000004.999999",
        **changes,
    }


NOTHING_READ = {"curated_snapshot_id": "20", "source_token": "10"}


def published(**changes: Any) -> dict[str, Any]:
    return {
        "semantic_snapshot_id": "31",
        "records_written": 5,
        "quarantined": 0,
        "backlog": False,
        "source_token": "21",
        "source_position": "000000000000004.999999",
        **changes,
    }


def execute(target: Target, **event: Any) -> tuple[list[str], Outcome, list[StateVisit]]:
    arn = target.client("stepfunctions").start_execution(
        stateMachineArn=target.state_machine_arn, input=json.dumps(event)
    )["executionArn"]
    visits = list(pipeline.follow(target, arn))
    return [v.name for v in visits if v.name != "ApplyDefaults"], pipeline.outcome(target, arn), visits


@pytest.fixture
def reset(machine: tuple[Target, Script]) -> tuple[Target, Script]:
    target, script = machine
    client = target.client("dynamodb")
    for layer in ("curated", "semantic"):
        client.delete_item(
            TableName=target.checkpoints_table, Key={"checkpoint_id": {"S": f"events#{layer}"}}
        )
    return target, script


def recorded(target: Target, layer: str) -> dict[str, Any]:
    key = {"checkpoint_id": {"S": f"events#{layer}"}}
    return dict(target.client("dynamodb").get_item(TableName=target.checkpoints_table, Key=key)["Item"])


BEGIN = ["GetAllCheckpoints", "CheckLease", "CheckForNewRawData"]
CURATE = ["ChooseCurationEngine", "RunCurationJob", "UpdateCurationCheckpoint", "CheckSchemaExists"]
PUBLISH = [
    "CheckForNewCuratedData", "ChooseSemanticEngine", "RunSemanticJob", "UpdateSemanticCheckpoint",
    "CheckBacklogThreshold",
]  # fmt: skip


def test_nothing_new_ends_at_once(reset: tuple[Target, Script]) -> None:
    target, script = reset
    script.set(get_all_checkpoints=[checkpoints()])
    path, outcome, _ = execute(target)
    assert (path, outcome.status) == ([*BEGIN, "NoNewData"], "SUCCEEDED")
    assert script.calls("get_all_checkpoints")[0]["topic"] == "events"


def test_new_raw_data_goes_all_the_way_and_moves_both_checkpoints(reset: tuple[Target, Script]) -> None:
    target, script = reset
    script.set(get_all_checkpoints=[NEW_RAW], curation=[curated()], semantic=[published()])
    path, outcome, _ = execute(target, topic="events")
    assert (path, outcome.status) == ([*BEGIN, *CURATE, *PUBLISH, "FullPipelineSuccess"], "SUCCEEDED")
    curation = script.calls("curation")[0]
    assert (curation["source_token"], curation["target_snapshot"]) == ("10", NEW_RAW["curated_snapshot"])
    asked = script.calls("semantic")[0]
    assert asked["source_token"] == "20@10/000000000000003.999999"
    assert asked["target_snapshot"] == NEW_RAW["semantic_snapshot"]
    assert (asked["raw_token"], asked["raw_position"]) == ("11", "000000000000004.999999")
    assert recorded(target, "curated")["source_token"] == {"S": "11"}
    assert recorded(target, "curated")["target_snapshot_id"] == {"S": "21"}
    assert recorded(target, "semantic")["source_position"] == {"S": "000000000000004.999999"}


def test_force_runs_both_jobs_although_nothing_is_new(reset: tuple[Target, Script]) -> None:
    target, script = reset
    script.set(
        get_all_checkpoints=[checkpoints()],
        curation=[curated(records_written=0, curated_snapshot_id="20")],
        semantic=[published(records_written=0)],
    )
    assert execute(target, force=True)[0] == [*BEGIN, *CURATE, *PUBLISH, "FullPipelineSuccess"]


def test_curation_that_read_nothing_leaves_semantic_alone(reset: tuple[Target, Script]) -> None:
    target, script = reset
    script.set(get_all_checkpoints=[NEW_RAW], curation=[curated(**NOTHING_READ)])
    assert execute(target)[0] == [*BEGIN, *CURATE, "CheckForNewCuratedData", "NoNewCuratedData"]


def test_versions_that_lost_in_curated_are_looked_for_by_semantic(reset: tuple[Target, Script]) -> None:
    target, script = reset
    script.set(
        get_all_checkpoints=[NEW_RAW], curation=[curated(curated_snapshot_id="20")], semantic=[published()]
    )
    assert execute(target)[0] == [*BEGIN, *CURATE, *PUBLISH, "FullPipelineSuccess"]


def test_a_look_up_that_a_killed_run_did_not_make_is_made_up_for(reset: tuple[Target, Script]) -> None:
    target, script = reset
    script.set(get_all_checkpoints=[checkpoints(semantic_versions="9")], semantic=[published()])
    path, _, _ = execute(target)
    assert path == [*BEGIN, "CatchUpSemantic", "CheckSchemaExists", *PUBLISH, "FullPipelineSuccess"]
    assert script.calls("semantic")[0]["raw_token"] == "10"


def test_without_a_contract_the_run_ends_after_curated_and_says_so(reset: tuple[Target, Script]) -> None:
    target, script = reset
    script.set(
        get_all_checkpoints=[checkpoints(raw_snapshot="11", schema_exists=False)],
        curation=[curated()],
        notify_missing_schema=[{"topic": "events", "first_notice": True}],
    )
    tail = ["NotifyMissingSchema", "CheckCurationBacklog", "CurationOnlySuccess"]
    assert execute(target)[0] == [*BEGIN, *CURATE, *tail]


def test_without_a_contract_a_backlog_of_raw_is_still_worked_off(reset: tuple[Target, Script]) -> None:
    target, script = reset
    bare = checkpoints(raw_snapshot="11", schema_exists=False)
    script.set(
        get_all_checkpoints=[bare, bare],
        curation=[curated(backlog=True), curated()],
        notify_missing_schema=[{}, {}],
    )
    assert execute(target)[0].count("RunCurationJob") == 2


def test_semantic_catches_up_when_only_curated_is_ahead(reset: tuple[Target, Script]) -> None:
    target, script = reset
    script.set(get_all_checkpoints=[checkpoints(curated_snapshot="21")], semantic=[published()])
    path, _, _ = execute(target)
    assert path == [*BEGIN, "CatchUpSemantic", "CheckSchemaExists", *PUBLISH, "FullPipelineSuccess"]
    assert script.calls("semantic")[0]["curated_snapshot_id"] == "21"


@pytest.mark.parametrize(
    ("first_curated", "first_published"),
    [
        (curated(records_written=10_001), published()),
        (curated(backlog=True), published()),
        (curated(), published(backlog=True)),
    ],
    ids=["many rows", "backlog of RAW", "backlog of Curated"],
)
def test_a_backlog_loops_back_to_the_look_up(
    reset: tuple[Target, Script], first_curated: dict[str, Any], first_published: dict[str, Any]
) -> None:
    target, script = reset
    script.set(
        get_all_checkpoints=[NEW_RAW, checkpoints()], curation=[first_curated], semantic=[first_published]
    )
    path, outcome, _ = execute(target, force=True)
    again = ["CheckRounds", "NextRound", *BEGIN, "NoNewData"]
    assert (path, outcome.status) == ([*BEGIN, *CURATE, *PUBLISH, *again], "SUCCEEDED")


def test_ten_thousand_rows_are_not_yet_a_backlog(reset: tuple[Target, Script]) -> None:
    target, script = reset
    script.set(
        get_all_checkpoints=[NEW_RAW], curation=[curated(records_written=10_000)], semantic=[published()]
    )
    assert execute(target)[0][-1] == "FullPipelineSuccess"


def test_a_backlog_of_duplicates_loops_although_curated_did_not_change(reset: tuple[Target, Script]) -> None:
    target, script = reset
    script.set(
        get_all_checkpoints=[NEW_RAW, checkpoints()],
        curation=[curated(**NOTHING_READ, backlog=True)],
    )
    assert execute(target)[0][-4:] == [*BEGIN, "NoNewData"]


def test_a_long_backlog_goes_on_in_a_new_execution(reset: tuple[Target, Script]) -> None:
    target, script = reset
    script.set(
        get_all_checkpoints=[*[NEW_RAW] * 20, checkpoints()],
        curation=[curated(backlog=True)] * 20,
        semantic=[published()] * 20,
    )
    path, outcome, _ = execute(target)
    assert path.count("RunSemanticJob") == 20
    assert path[-2:] == ["ContinueAsNewExecution", "FullPipelineSuccess"]
    client = target.client("stepfunctions")
    listed = client.list_executions(stateMachineArn=target.state_machine_arn)["executions"]
    (child,) = [e for e in listed if _input(target, e["executionArn"]).get("continued_from") == outcome.arn]
    assert [v.name for v in pipeline.follow(target, child["executionArn"])][1:] == [*BEGIN, "NoNewData"]


def _input(target: Target, arn: str) -> dict[str, Any]:
    described = target.client("stepfunctions").describe_execution(executionArn=arn)
    return dict(json.loads(described["input"]))


def test_a_topic_that_another_run_works_on_is_left_to_it(reset: tuple[Target, Script]) -> None:
    target, script = reset
    script.set(get_all_checkpoints=[checkpoints(lease="busy")])
    assert execute(target)[0] == ["GetAllCheckpoints", "CheckLease", "AnotherRunActive"]


def test_a_checkpoint_that_is_further_along_is_kept_and_the_run_goes_on(reset: tuple[Target, Script]) -> None:
    target, script = reset
    target.client("dynamodb").put_item(
        TableName=target.checkpoints_table,
        Item={
            "checkpoint_id": {"S": "events#curated"},
            "source_position": {"S": "000000000000009.999999"},
            "source_token": {"S": "99"},
        },
    )
    script.set(get_all_checkpoints=[NEW_RAW], curation=[curated()], semantic=[published()])
    path, outcome, _ = execute(target)
    assert (path[-1], outcome.status) == ("FullPipelineSuccess", "SUCCEEDED")
    assert recorded(target, "curated")["source_token"] == {"S": "99"}


@pytest.mark.parametrize("error", ["CommitConflict", "CommitUnknown", "SomeSdkError"])
def test_a_job_that_fails_and_then_succeeds_ends_well(reset: tuple[Target, Script], error: str) -> None:
    target, script = reset
    script.set(
        get_all_checkpoints=[NEW_RAW],
        curation=[{"raises": error}, curated()],
        semantic=[{"raises": error}, {"raises": error}, published()],
    )
    assert execute(target)[1].status == "SUCCEEDED"
    assert len(script.calls("semantic")) == 3


@pytest.mark.parametrize("error", ["ContractError", "TableMissing", "InvalidInput"])
def test_a_permanent_error_fails_the_run_at_once_with_its_name(
    reset: tuple[Target, Script], error: str
) -> None:
    target, script = reset
    script.set(get_all_checkpoints=[NEW_RAW], curation=[curated()], semantic=[{"raises": error}])
    _, outcome, _ = execute(target)
    assert (outcome.status, outcome.error) == ("FAILED", error)
    assert len(script.calls("semantic")) == 1
    assert recorded(target, "curated")["source_token"] == {"S": "11"}
