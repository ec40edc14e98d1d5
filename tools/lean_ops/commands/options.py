"""Options that many commands share, and what they resolve to."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lean_ops.target import Target

STACKS = Path(".lean-ops")


class Environment(StrEnum):
    """Where a command works: on this machine or on AWS."""

    LOCAL = "local"
    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"


EnvOption = Annotated[Environment, typer.Option("--env", help="The local stack, or an environment on AWS.")]
StackOption = Annotated[
    str, typer.Option("--stack", help="Name of the local stack (a folder in .lean-ops/).")
]
RegionOption = Annotated[
    str | None, typer.Option("--region", help="AWS region; default: that of the AWS profile.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
TopicOption = Annotated[str, typer.Option("--topic", help="Topic of the events.")]


def stack_folder(name: str) -> Path:
    """Folder of the local stack ``name``, under the current folder."""
    return STACKS / name


def resolve(env: Environment, stack: str, region: str | None) -> Target:
    """The target that the options name; raises TargetUnreachable for a local stack that was not started."""
    if env is Environment.LOCAL:
        return Target.local(stack_folder(stack))
    return Target.aws(env.value, region=region)
