"""Paths: where in a message a value is. The language is JMESPath (https://jmespath.org/specification.html).

A path begins at the reading, or at a name: ``$topic``, ``$message.header.ts``. What is a walk along names
and positions (``a.b[0]."any name"``) is walked on the text itself, exact and fast. Anything else is
JMESPath's own: it is evaluated on values that keep decimals exact, and its library is loaded when a source
needs it first."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from common.intake.events import RejectCode
from common.intake.sources import slices
from common.intake.sources.scope import Scope
from common.runtime.errors import PermanentError, RejectedEvent

if TYPE_CHECKING:
    from common.intake.sources.expressions_of_jmespath import Expression

Reference = Callable[[Scope], msgspec.Raw | None]
"""Finds a value in a scope; None where it is absent."""

_NAME: Final = re.compile(r"\$([a-z_][a-z0-9_]*)")
_STEP: Final = re.compile(
    r"""(?P<first>\.)?(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<quoted>"(?:[^"\\]|\\.)*"))
    |\[(?P<index>-?[0-9]{1,6})\]""",
    re.VERBOSE,
)
MOST_PATH_CHARACTERS: Final = 1_000


class SourceError(PermanentError):
    """A description says what cannot be; ``where`` is the place in it, such as ``time[0].as``."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where: Final = where
        self.message: Final = message


def reference(path: str, where: str, names: frozenset[str]) -> Reference:
    """Compile a path; raises SourceError for one that cannot be read, or a ``$name`` that is not in
    ``names``.
    """
    if not path or len(path) > MOST_PATH_CHARACTERS:
        raise SourceError(
            where, f"expected a path of 1 to {MOST_PATH_CHARACTERS:,} characters, found {len(path)}"
        )
    name = None
    if path[0] == "$":
        match = _NAME.match(path)
        if match is None or match[1] not in names:
            found = match[0] if match else path[:20]
            known = ", ".join(f"${known}" for known in sorted(names))
            raise SourceError(where, f"expected one of {known}; found {found}")
        name, path = match[1], path[match.end() :]
    elif path == "@":
        path = ""
    steps = _steps(path, after_name=name is not None)
    if steps is None:
        # What follows a name begins with its dot, which no expression does; [0] and [?…] follow as they are.
        return _by_expression(name, path.removeprefix(".") if name else path, where)
    return _walk(name, steps)


def names_in(path: str) -> frozenset[str]:
    """The ``$name`` that a path begins with, if it does."""
    match = _NAME.match(path)
    return frozenset({match[1]}) if match else frozenset()


def _steps(path: str, *, after_name: bool) -> list[str | int] | None:
    """The names and positions of a plain path, None of one that is more than that."""
    steps: list[str | int] = []
    position = 0
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            return None
        position = step.end()
        if step["index"] is not None:
            steps.append(int(step["index"]))
            continue
        if bool(step["first"]) != (bool(steps) or after_name):
            return None
        try:
            steps.append(step["name"] or msgspec.json.decode(step["quoted"], type=str))
        except msgspec.DecodeError:
            return None
    return steps


def _walk(name: str | None, steps: list[str | int]) -> Reference:
    if name is None and not steps:
        return lambda scope: scope.item
    if name is None and isinstance(first := steps[0], str):
        if len(steps) == 1:
            return lambda scope: scope.field(first)
        rest = steps[1:]
        return lambda scope: _follow(scope.field(first), rest)
    if name is None:
        return lambda scope: _follow(scope.item, steps)
    return lambda scope: _follow(scope.named(name), steps)


def _follow(value: msgspec.Raw | None, steps: list[str | int]) -> msgspec.Raw | None:
    for step in steps:
        if value is None:
            return None
        if isinstance(step, str):
            found = slices.fields(value)
            value = None if found is None else found.get(step)
        else:
            listed = slices.items(value) or []
            value = listed[step] if -len(listed) <= step < len(listed) else None
    return value


def _by_expression(name: str | None, path: str, where: str) -> Reference:
    from common.intake.sources import expressions_of_jmespath  # noqa: PLC0415 - loaded by those who use it

    expression = expressions_of_jmespath.compiled(path, where)

    def find(scope: Scope) -> msgspec.Raw | None:
        value = scope.item if name is None else scope.named(name)
        if value is None:
            return None
        return _evaluated(expression, scope.message.form(value))

    return find


def _evaluated(expression: "Expression", value: Any) -> msgspec.Raw | None:
    try:
        found = expression(value)
        return None if found is None else slices.of(found)
    except RejectedEvent:
        raise
    except (
        Exception
    ) as error:  # the library's own errors quote values; Python's may be any, of a message's making
        raise RejectedEvent(
            RejectCode.MALFORMED_FIELD,
            f"expected an expression to have a value, found {type(error).__name__}",
        ) from None


def plain_names(path: str) -> list[str] | None:
    """The names of a path that walks along names alone, None of any other; ``@`` has none."""
    steps = [] if path == "@" else _steps(path, after_name=False)
    return (
        None
        if steps is None or any(isinstance(step, int) for step in steps)
        else [str(step) for step in steps]
    )
