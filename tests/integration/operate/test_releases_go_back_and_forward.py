"""Moving the alias ``live`` of functions and state machine, on the emulator."""

import dataclasses
import io
import json
import zipfile

import pytest
from typer.testing import CliRunner

from common.runtime.errors import InvalidInput, TransientError
from lean_ops.cli import app
from lean_ops.environment.target import Target
from lean_ops.operate import releases
from lean_ops.operate.releases import NoRelease, Release, Version, move, release

FUNCTION = "sqs-processor"


@pytest.fixture
def deployed(target: Target) -> Target:
    """An environment of its own on the emulator."""
    return dataclasses.replace(target, env="release")


def publish(target: Target, answers: list[str]) -> None:
    """A function with one version for each of ``answers``; the alias points at the last."""
    functions = target.client("lambda")
    name = target.function(FUNCTION)
    for number, answer in enumerate(answers, start=1):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("index.py", f"def handler(event, context):\n    return {answer!r}\n")
        if number == 1:
            functions.create_function(
                FunctionName=name,
                Role="arn:aws:iam::000000000000:role/local",
                Runtime="python3.13",
                Handler="index.handler",
                Code={"ZipFile": archive.getvalue()},
            )
        else:
            functions.update_function_code(FunctionName=name, ZipFile=archive.getvalue())
        functions.publish_version(FunctionName=name)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion=str(len(answers)))


def answer(target: Target) -> str:
    reply = target.client("lambda").invoke(FunctionName=f"{target.function(FUNCTION)}:live")
    return str(json.loads(reply["Payload"].read()))


def test_a_function_goes_back_to_the_version_before_and_forward_again(deployed: Target) -> None:
    publish(deployed, ["first", "second", "third"])

    found = release(deployed, FUNCTION)
    assert found.live == 3
    assert [version.number for version in found.versions] == [1, 2, 3]

    move(deployed, found, found.taken_back())
    assert answer(deployed) == "second"
    again = release(deployed, FUNCTION)
    assert again.live == again.taken_back() == 2
    move(deployed, again, again.taken_back())
    assert answer(deployed) == "second"

    with pytest.raises(TransientError, match="found it moved by another"):
        move(deployed, found, 1)
    move(deployed, again, 3)
    assert answer(deployed) == "third"


def test_an_alias_that_somebody_pointed_at_no_version_is_named(deployed: Target) -> None:
    functions, name = deployed.client("lambda"), deployed.function(FUNCTION)
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
    with pytest.raises(NoRelease, match=r"expected its alias 'live' at a published version, found \$LATEST"):
        release(deployed, FUNCTION)


def test_the_state_machine_goes_back_to_the_version_before(deployed: Target) -> None:
    machines = deployed.client("stepfunctions")
    versions: list[str] = []
    for word in ("first", "second"):
        state = {"Type": "Pass", "Result": word, "End": True}
        definition = json.dumps({"StartAt": "Say", "States": {"Say": state}})
        if not versions:
            machines.create_state_machine(
                name=deployed.state_machine,
                definition=definition,
                roleArn="arn:aws:iam::000000000000:role/local",
            )
        else:
            machines.update_state_machine(stateMachineArn=deployed.state_machine_arn, definition=definition)
        published = machines.publish_state_machine_version(stateMachineArn=deployed.state_machine_arn)
        versions.append(published["stateMachineVersionArn"])
    machines.create_state_machine_alias(
        name="live", routingConfiguration=[{"stateMachineVersionArn": versions[-1], "weight": 100}]
    )

    found = release(deployed, "pipeline")
    assert found.live == 2

    move(deployed, found, found.taken_back())
    again = release(deployed, "pipeline")
    assert again.live == again.taken_back() == 1


def test_a_function_that_was_never_deployed_says_so(deployed: Target) -> None:
    with pytest.raises(NoRelease, match=r"curation: expected its alias 'live'"):
        release(deployed, "curation")


def test_an_unknown_name_is_refused_with_those_that_there_are(deployed: Target) -> None:
    with pytest.raises(NoRelease, match=r"expected one of .*sqs-processor.*pipeline"):
        release(deployed, "processor")


def test_the_local_stack_has_no_releases_and_says_what_to_do() -> None:
    done = CliRunner().invoke(app, ["release", "show", "--env", "local"])

    assert isinstance(done.exception, InvalidInput)
    assert "go back with git" in str(done.exception)


RELEASE = Release("curation", 3, tuple(Version(n, None) for n in (3, 4)))  # type: ignore[arg-type] # no time needed


def test_the_first_version_has_none_before_it() -> None:
    with pytest.raises(NoRelease, match="expected a version before 3"):
        dataclasses.replace(RELEASE, versions=RELEASE.versions[:1]).taken_back()


@pytest.mark.parametrize("live", [1, 2, 3, 4])
def test_only_the_newest_version_is_taken_back(live: int) -> None:
    versions = tuple(Version(n, None) for n in (1, 2, 3, 4))  # type: ignore[arg-type] # no time needed
    assert Release("curation", live, versions).taken_back() == min(live, 3)


def test_a_version_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(NoRelease, match=r"--to: expected a version of curation \(3, 4\), found 9"):
        RELEASE.check(9)


def test_every_function_and_the_state_machine_have_releases() -> None:
    assert {"sqs-processor", "curation", "semantic", "pipeline"} <= set(releases.names())
