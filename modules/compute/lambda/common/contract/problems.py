"""What there is to say about a contract, gathered so that all of it is said at once, each with its place."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import yaml

from common.runtime.errors import ContractError

PROPERTY: Final = "property "
"""How findings begin to name a property."""

Step = str | int


@dataclass(frozen=True)
class Finding:
    """What a linter says about a contract: ``error`` stops a merge, ``warning`` and ``note`` do not.

    ``path``: the keys and indices that lead to what it is about, from the top of the document. ``line`` and
    ``column``: where that stands, from 1; None where nobody looked, or it stands nowhere.
    """

    severity: Literal["error", "warning", "note"]
    where: str
    message: str
    line: int | None = None
    column: int | None = None
    path: tuple[Step, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        place = "" if self.line is None else f" (line {self.line}, column {self.column})"
        return f"{self.severity}: {self.where}{place}: {self.message}"


@dataclass(frozen=True)
class Problems:
    """A part of a contract that is read: errors in it are findings, and reading goes on."""

    where: str
    path: tuple[Step, ...] = ()
    found: list[Finding] = field(default_factory=list)

    def part(self, where: str, *path: Step) -> "Problems":
        """A part of the same document, ``path`` from its top; what is found there is found here."""
        return Problems(where, path, self.found)

    @contextmanager
    def at(self, *path: Step) -> Iterator[None]:
        """Take a ContractError of the block as found at ``path`` within the part."""
        try:
            yield
        except ContractError as error:
            self.say("error", str(error), *path)

    def say(self, severity: Literal["error", "warning", "note"], message: str, *path: Step) -> None:
        """Add a finding."""
        self.found.append(Finding(severity, self.where, message, path=(*self.path, *path)))

    @property
    def errors(self) -> int:
        """How many errors there are in the whole document so far."""
        return sum(finding.severity == "error" for finding in self.found)


def located(findings: list[Finding], text: str) -> list[Finding]:
    """The findings with line and column; ``text`` is YAML that was read before."""
    document: Any = yaml.compose(text, Loader=yaml.SafeLoader) if findings else None
    return [_located(finding, document) for finding in findings]


def _located(finding: Finding, document: Any) -> Finding:
    path = finding.path
    if not path and finding.where.startswith(PROPERTY):
        path = _path_of(finding.where.removeprefix(PROPERTY), document)
    if not path or finding.line is not None:
        return finding
    mark, node = None, document
    for step in path:  # as far as there is something: what is missing is missing there
        key, node = _step(node, step)
        if key is None:
            break
        mark = key.start_mark
    if mark is None:
        return finding
    return replace(finding, line=mark.line + 1, column=mark.column + 1)


def _step(node: Any, step: Step) -> tuple[Any, Any]:
    """What stands at a step: the node that marks its place, and the node of its value."""
    if isinstance(node, yaml.MappingNode):
        return next((pair for pair in node.value if pair[0].value == str(step)), (None, None))
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None, None


def _path_of(name: str, document: Any) -> tuple[Step, ...]:
    """Where the property of that name stands; of one that is there twice, the first."""
    node = document
    for step in ("schema", 0, "properties"):
        node = _step(node, step)[1]
    entries = node.value if isinstance(node, yaml.SequenceNode) else ()
    names = [getattr(_step(entry, "name")[1], "value", None) for entry in entries]
    found = next(
        (at for at, one in enumerate(names) if isinstance(one, str) and one.lower() == name.lower()), None
    )
    return () if found is None else ("schema", 0, "properties", found)
