"""Options that many commands share, and what they resolve to."""

import re
from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import Annotated, Final

import typer

from common.runtime.errors import InvalidInput
from common.runtime.topics import named
from lean_ops.environment.repository import ROOT
from lean_ops.environment.target import Target
from lean_ops.local.target import LocalTarget

STACKS: Final = ROOT / ".lean-ops"
_STACK_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
_REGION: Final = re.compile(r"[a-z]+(-[a-z]+)+-[0-9]+")


class Environment(StrEnum):
    """Where a command works: on this machine or on AWS."""

    LOCAL = "local"
    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"


def a_number(value: float | None) -> float | None:
    """``value``, unless it is NaN, which every range lets through, or endless: wrong usage."""
    if value is not None and not isfinite(value):
        raise typer.BadParameter(f"expected a number, found {value}")
    return value


def a_region(value: str | None) -> str | None:
    """``value``, unless it has not the form of a region, which the SDK tells by an exception: wrong usage."""
    if value is not None and not _REGION.fullmatch(value):
        raise typer.BadParameter(f"expected an AWS region as eu-west-1, found {value[:80]!r}")
    return value


EnvOption = Annotated[Environment, typer.Option("--env", help="The local stack, or an environment on AWS.")]
StackOption = Annotated[
    str, typer.Option("--stack", help="Name of the local stack (a folder in .lean-ops/).")
]
RegionOption = Annotated[
    str | None,
    typer.Option("--region", help="AWS region; default: that of the AWS profile.", callback=a_region),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
TopicOption = Annotated[str, typer.Option("--topic", help="Topic of the events.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the audit trail.")]
WaitOption = Annotated[
    float,
    typer.Option("--wait", help="Seconds to wait for a run that is in progress.", min=0, callback=a_number),
]


def stack_folder(name: str) -> Path:
    """Folder of the local stack ``name``: in the checkout, wherever the command is run."""
    if not _STACK_NAME.fullmatch(name):
        raise InvalidInput(f"--stack: expected letters, digits, - and _, found {name!r}; choose such a name")
    return STACKS / name


def check_reason(reason: str) -> None:
    """Raise InvalidInput for an operation on tables without a reason: the audit trail is read by others."""
    if not reason.strip():
        raise InvalidInput("--reason: expected why this is done, found nothing; a ticket number will do")


def check_topic(target: Target, topic: str) -> None:
    """Raise InvalidInput for a topic that the environment does not have."""
    if topic not in target.topics:
        raise InvalidInput(
            f"--topic: expected one of {named(target.topics)}, found {topic!r}; "
            "a topic is known by its file in contracts/, or listed in LEAN_OPS_TOPICS"
        )


def resolve(env: Environment, stack: str, region: str | None) -> Target:
    """The target that the options name; raises TargetUnreachable for a local stack that was not started."""
    if env is Environment.LOCAL:
        return LocalTarget.running(stack_folder(stack))
    return Target.aws(env.value, region=region)
