"""How a command is called: the options that commands share, what they name, and whom the answer is for.

    @on_target(topic=True, reason=True)
    def pause(call: Call) -> Answer:
        with call.operation("pipeline.pause"):
            ...
        return Answer({"topic": call.topic, ...}, tell)

The command then has ``--topic``, ``--reason``, ``--env``, ``--stack``, ``--region`` and ``--json`` beside the
options of its own.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, Concatenate, Final, ParamSpec

import typer

from common.runtime.errors import InvalidInput
from lean_ops.commands.options import (
    Environment,
    EnvOption,
    JsonOption,
    ReasonOption,
    RegionOption,
    StackOption,
    TopicOption,
    check_reason,
    check_topic,
    resolve,
)
from lean_ops.console.printing import complain, show_json
from lean_ops.environment import audit
from lean_ops.environment.target import Target

P = ParamSpec("P")


def _option(name: str, annotation: Any, default: Any = Parameter.empty) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


_REASON: Final = _option("reason", ReasonOption)
_TOPIC: Final = _option("topic", TopicOption, "events")
_ENV: Final = _option("env", EnvOption, Environment.LOCAL)
_STACK: Final = _option("stack", StackOption, "local")
_ENV_ON_AWS: Final = _option("env", EnvOption)
_REGION: Final = _option("region", RegionOption, None)
_JSON: Final = _option("json", JsonOption, default=False)


@dataclass(frozen=True)
class Call:
    """One call of a command: where it acts, on which topic, why, and whether a program reads the answer.

    ``place`` is the name of the local stack, or of the environment on AWS. ``topic`` and ``reason`` are empty
    for a command that does not have the option.
    """

    target: Target
    place: str
    topic: str
    reason: str
    json: bool

    def operation(self, name: str, /, **selection: Any) -> AbstractContextManager[audit.Entry]:
        """Around work that changes something: its entry in the audit trail (``audit.operation``)."""
        on = {"topic": self.topic} if self.topic else {}
        return audit.operation(self.target, name, reason=self.reason, selection={**on, **selection})


@dataclass(frozen=True)
class Answer:
    """What a command says: ``document`` to a program, what ``tell`` prints to a person.

    ``failures`` are sentences for standard error, whoever reads. ``failed``: the exit code is 1.
    """

    document: object
    tell: Callable[[], None]
    failures: Sequence[str] = ()
    failed: bool = False

    def give(self, *, json: bool) -> None:
        """Print it, and end the command where it failed."""
        if json:
            show_json(self.document)
        else:
            self.tell()
        for sentence in self.failures:
            complain(sentence)
        if self.failed or self.failures:
            raise typer.Exit(1)


def on_target(
    *, topic: bool = False, reason: bool = False, only_on_aws: str = ""
) -> Callable[[Callable[Concatenate[Call, P], Answer]], Callable[..., None]]:
    """A command that acts on the local stack or an environment on AWS.

    ``topic`` and ``reason``: with these options, checked before the command begins. ``only_on_aws``: why the
    local stack has nothing to act on, and what to do there.
    """
    shared = _shared(topic=topic, reason=reason, only_on_aws=bool(only_on_aws))

    def decorate(function: Callable[Concatenate[Call, P], Answer]) -> Callable[..., None]:
        answer_to: Callable[..., Answer] = function  # typer gives what the signature asks for

        @wraps(function)
        def command(**options: Any) -> None:
            call = _call({option.name: options.pop(option.name) for option in shared}, only_on_aws)
            with call.target.reached():
                answer = answer_to(call, **options)
            answer.give(json=call.json)

        return _accepting(command, [*signature(function).parameters.values()][1:], shared)

    return decorate


def shared_options(*, topic: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The same options for a function that hands them on as keywords."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in signature(function).parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
        return _accepting(function, own, _shared(topic=topic))

    return decorate


def _shared(*, topic: bool, reason: bool = False, only_on_aws: bool = False) -> list[Parameter]:
    where = [_ENV_ON_AWS] if only_on_aws else [_ENV, _STACK]
    return [*([_REASON] if reason else []), *([_TOPIC] if topic else []), *where, _REGION, _JSON]


def _accepting(
    command: Callable[..., None], own: Sequence[Parameter], shared: Sequence[Parameter]
) -> Callable[..., None]:
    """The command as typer reads it: by signature and annotations."""
    parameters = [*(p.replace(kind=Parameter.KEYWORD_ONLY) for p in own), *shared]
    described: Any = command
    described.__signature__ = Signature(parameters)
    described.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _call(given: dict[str, Any], only_on_aws: str) -> Call:
    env, stack = given["env"], given.get("stack", "")
    if only_on_aws and env is Environment.LOCAL:
        raise InvalidInput(
            f"--env: expected an environment on AWS, found the local stack, which {only_on_aws}"
        )
    target = resolve(env, stack, given["region"])
    if "topic" in given:
        check_topic(target, given["topic"])
    if "reason" in given:
        check_reason(given["reason"])
    place = stack if env is Environment.LOCAL else env.value
    return Call(target, place, given.get("topic", ""), given.get("reason", ""), given["json"])
