"""What runs of what was deployed: the versions behind each alias ``live``, and the way back to one.

Every deployment publishes a version of each function and of the state machine that it changes, and moves the
alias ``live`` to it; queue, schedules, alarms and state machine invoke the alias only. Going back moves the
alias, which takes effect at once: invocations in progress end on the version that they began with. The next
deployment moves every alias to the newest version again, so that a change that was taken back here has to be
taken back in the repository as well (docs/release.md).

Tables have no version of this kind: what a faulty version wrote is mended by ``lean-ops rollback``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from common.runtime.errors import InvalidInput, TransientError
from lean_ops.environment.repository import function_catalogue
from lean_ops.environment.target import Target

ALIAS: Final = "live"
STATE_MACHINE: Final = "pipeline"


class NoRelease(InvalidInput):
    """Nothing of this name was deployed with versions, or it has no such version."""


@dataclass(frozen=True)
class Version:
    """One published version. ``number`` grows with each."""

    number: int
    published_at: datetime


@dataclass(frozen=True)
class Release:
    """What the alias of ``name`` points at (``live``) and every version that it could, oldest first.

    ``revision``: the alias as it was read, for a change that nobody else's may come between.
    """

    name: str
    live: int
    versions: tuple[Version, ...]
    revision: str = ""

    def taken_back(self) -> int:
        """The version that a rollback goes to: the one before the live one, if that is the newest.

        A deployment makes the newest live. Where an older one is, it was taken back before, and stays: so a
        rollback that is repeated changes nothing. Raises NoRelease where there is no version to go back to.
        """
        numbers = [version.number for version in self.versions]
        if numbers and self.live < numbers[-1]:
            return self.live
        older = [number for number in numbers if number < self.live]
        if not older:
            raise NoRelease(
                f"{self.name}: expected a version before {self.live}, which is live, found none; "
                "mend the change in the repository and deploy it"
            )
        return older[-1]

    def check(self, number: int) -> int:
        """``number``, where there is such a version; raises NoRelease otherwise."""
        known = [version.number for version in self.versions]
        if number not in known:
            raise NoRelease(
                f"--to: expected a version of {self.name} ({', '.join(map(str, known[-10:]))}), "
                f"found {number}"
            )
        return number


def names() -> list[str]:
    """What has releases: every function of the catalogue, and the state machine."""
    return [*(entry.name.replace("_", "-") for entry in function_catalogue()), STATE_MACHINE]


def release(target: Target, name: str) -> Release:
    """The release of a function (``sqs-processor``) or of the state machine (``pipeline``).

    Raises NoRelease for another name, and for what was not deployed with an alias.
    """
    if name not in names():
        raise NoRelease(f"name: expected one of {', '.join(names())}, found {name!r}")
    return _state_machine(target) if name == STATE_MACHINE else _function(target, name)


def move(target: Target, found: Release, number: int) -> None:
    """Point the alias of ``found`` at version ``number``; does nothing where it does already.

    Raises TransientError when another deployment or operator moved it since ``found`` was read.
    """
    name = found.name
    if number == found.live:
        return
    if name == STATE_MACHINE:
        arn = target.state_machine_arn
        target.client("stepfunctions").update_state_machine_alias(
            stateMachineAliasArn=f"{arn}:{ALIAS}",
            routingConfiguration=[{"stateMachineVersionArn": f"{arn}:{number}", "weight": 100}],
        )
        return
    functions = target.client("lambda")
    try:
        functions.update_alias(
            FunctionName=target.function(name),
            Name=ALIAS,
            FunctionVersion=str(number),
            RevisionId=found.revision,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "PreconditionFailedException":
            raise
        raise TransientError(
            f"{name}: expected its alias where it was read, found it moved by another; look at "
            "`lean-ops release show` and decide again"
        ) from error


def _function(target: Target, name: str) -> Release:
    functions = target.client("lambda")
    try:
        alias = functions.get_alias(FunctionName=target.function(name), Name=ALIAS)
    except functions.exceptions.ResourceNotFoundException as error:
        raise _undeployed(target, name) from error
    live = alias["FunctionVersion"]
    if not live.isdigit():  # somebody has pointed it at $LATEST
        raise NoRelease(
            f"{name}: expected its alias {ALIAS!r} at a published version, found {live}; deploy it again "
            "(docs/release.md), which points it at one"
        )
    pages = functions.get_paginator("list_versions_by_function").paginate(FunctionName=target.function(name))
    found = [
        Version(int(version["Version"]), datetime.fromisoformat(version["LastModified"]))
        for page in pages
        for version in page["Versions"]
        if version["Version"].isdigit()
    ]
    return _release(name, int(live), found, alias["RevisionId"])


def _state_machine(target: Target) -> Release:
    machines = target.client("stepfunctions")
    try:
        alias = machines.describe_state_machine_alias(
            stateMachineAliasArn=f"{target.state_machine_arn}:{ALIAS}"
        )
    except (machines.exceptions.ResourceNotFound, machines.exceptions.InvalidArn) as error:
        raise _undeployed(target, STATE_MACHINE) from error
    found: list[Version] = []
    token: dict[str, Any] = {}
    while True:
        page = machines.list_state_machine_versions(stateMachineArn=target.state_machine_arn, **token)
        found += [
            Version(_number(version["stateMachineVersionArn"]), version["creationDate"])
            for version in page["stateMachineVersions"]
        ]
        if not page.get("nextToken"):
            break
        token = {"nextToken": page["nextToken"]}
    (route, *_) = sorted(alias["routingConfiguration"], key=lambda route: -route["weight"])
    return _release(STATE_MACHINE, _number(route["stateMachineVersionArn"]), found)


def _release(name: str, live: int, versions: Sequence[Version], revision: str = "") -> Release:
    return Release(name, live, tuple(sorted(versions, key=lambda version: version.number)), revision)


def _number(version_arn: str) -> int:
    return int(version_arn.rpartition(":")[2])


def _undeployed(target: Target, name: str) -> NoRelease:
    return NoRelease(
        f"{name}: expected its alias {ALIAS!r} in {target.description}, found none; "
        "deploy it (docs/release.md)"
    )
