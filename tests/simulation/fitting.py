"""Whether a planted fault still fits: what it replaces is there, is used, and is called as it was.

A fault that does not fit finds nothing: it is found by its own error, or never met. Said without playing: by
signatures, and by the calls in the sources. What a replacement itself calls is for the type checker.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

import pytest

from lean_ops.environment.repository import LAMBDA_CODE, ROOT

_SOURCES: Final = (LAMBDA_CODE, ROOT / "tools/lean_ops", Path(__file__).parent)
_BY_POSITION: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Call:
    """How something is called: so many arguments by position, and these by name."""

    positional: int
    named: frozenset[str]

    def __str__(self) -> str:
        named = ", ".join(f"{name}=" for name in sorted(self.named))
        return f"({self.positional} by position{', ' if named else ''}{named})"

    def suits(self, signature: inspect.Signature) -> bool:
        """Whether something with this signature can be called so."""
        try:
            signature.bind(*[None] * self.positional, **dict.fromkeys(self.named))
        except TypeError:
            return False
        return True


@dataclass(frozen=True)
class Change:
    """One thing that a fault replaces: ``name`` of a module, a class, or the attributes of an object."""

    of: Any
    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{getattr(self.of, '__name__', type(self.of).__name__)}.{self.name}"


class Recorder:
    """Stands in for pytest's monkey patch; replaces nothing that is not there, and keeps what it replaced."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch, self.changes = patch, list[Change]()

    def setattr(self, of: Any, name: str, value: Any) -> None:
        before = getattr(of, name)
        self._patch.setattr(of, name, value)
        self.changes.append(Change(of, name, before, getattr(of, name)))

    def setitem(self, of: Any, name: str, value: Any) -> None:
        before = of[name]
        self._patch.setitem(of, name, value)
        self.changes.append(Change(of, name, before, value))


def changes(plant: Callable[[pytest.MonkeyPatch], None], patch: pytest.MonkeyPatch) -> list[Change]:
    """What a fault replaces, once it is planted; AttributeError or KeyError where that is not there."""
    recorder: Any = Recorder(patch)
    plant(recorder)
    found: list[Change] = recorder.changes
    return found


def misfits(change: Change) -> Iterator[str]:
    """What does not fit any more, a sentence each."""
    if change.after is change.before:
        yield f"{change}: expected another one in its place, found the same"
    if not _is_used(change):
        yield f"{change}: expected code that uses it, found none in {_places()}"
    if isinstance(change.before, property) and not isinstance(change.after, property):
        yield f"{change}: expected a property in place of one, found {change.after!r}"
    if isinstance(change.before, type) and isinstance(change.after, type):
        yield from _misfits_of_class(change, change.before, change.after)
    if callable(change.before):
        if not callable(change.after):
            yield f"{change}: expected something to call, found {change.after!r}"
        else:
            yield from _refused(change)


def _misfits_of_class(change: Change, before: type, after: type) -> Iterator[str]:
    if not issubclass(after, before):
        yield f"{change}: expected a kind of it in its place, found {after!r}"
    for name, method in vars(after).items():
        if isinstance(method, FunctionType):
            inherited = getattr(before, name, None)
            if inherited is None:
                yield f"{change}: expected it to have {name}, which a kind of it replaces, found nothing"
            else:
                yield from _refused(Change(before, name, inherited, method))


def _refused(change: Change) -> Iterator[str]:
    """Calls that what was there takes, and what takes its place does not."""
    try:
        before, after = inspect.signature(change.before), inspect.signature(change.after)
    except ValueError:  # C code that does not say
        return
    made = (call for call in _made(change) if call.suits(before))
    for call in sorted({*_extremes(before), *made}, key=str):
        if not call.suits(after):
            yield f"{change}{before}: expected what takes its place to be called with {call}, found {after}"


def _extremes(signature: inspect.Signature) -> Iterator[Call]:
    """The call with the fewest arguments, and the one with all: by position, as far as that goes."""
    parameters = signature.parameters.values()
    for every in (False, True):
        given = [one for one in parameters if every or one.default is one.empty]
        kinds = [one.kind for one in given]
        positional = sum(kind in _BY_POSITION for kind in kinds)
        named = frozenset(one.name for one in given if one.kind is one.KEYWORD_ONLY)
        yield Call(positional, named)


def _made(change: Change) -> Iterator[Call]:
    """How the sources call something of that name. Arguments that are unpacked say nothing."""
    bound = isinstance(change.of, type) and isinstance(change.before, FunctionType)
    module = change.of if isinstance(change.of, ModuleType) else None
    of = module.__name__.rpartition(".")[2] if module else ""
    for path, text in _files().items():
        if f"{of}.{change.name}(" not in text and path != _own(change):
            continue
        for called in _calls(path).get(change.name, ()):
            if module and not _means(module, called, path):
                continue
            if any(isinstance(one, ast.Starred) for one in called.args):
                continue
            if any(one.arg is None for one in called.keywords):
                continue
            named = frozenset(one.arg for one in called.keywords if one.arg)
            yield Call(len(called.args) + bound, named)


def _means(module: ModuleType, called: ast.Call, path: Path) -> bool:
    """Whether a call is one of a name of that module: in it, or as an attribute of it."""
    if isinstance(called.func, ast.Name):
        return path == Path(str(module.__file__))
    of = called.func.value if isinstance(called.func, ast.Attribute) else None
    return isinstance(of, ast.Name) and of.id == module.__name__.rpartition(".")[2]


def _is_used(change: Change) -> bool:
    """Whether code reads it: an attribute of that name anywhere, or the name in its own module."""
    attribute = re.compile(rf"\.{change.name}\b")
    if any(attribute.search(text) for text in _files().values()):
        return True
    own = _own(change)
    return own is not None and any(
        isinstance(node, ast.Name) and node.id == change.name and isinstance(node.ctx, ast.Load)
        for node in _nodes(own)
    )


def _own(change: Change) -> Path | None:
    """The file of the module whose name is replaced."""
    file = getattr(change.of, "__file__", None) if isinstance(change.of, ModuleType) else None
    return Path(file) if file else None


@cache
def _files() -> Mapping[Path, str]:
    planted = Path(__file__).with_name("planted")
    return {
        path: path.read_text()
        for folder in _SOURCES
        for path in sorted(folder.rglob("*.py"))
        if planted not in path.parents and path != Path(__file__)
    }


@cache
def _nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_bytes())))


@cache
def _calls(path: Path) -> Mapping[str, Iterable[ast.Call]]:
    """Calls by the last name of what they call."""
    found: dict[str, list[ast.Call]] = {}
    for node in _nodes(path):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                found.setdefault(name, []).append(node)
    return found


def _places() -> str:
    return ", ".join(str(folder.relative_to(ROOT)) for folder in _SOURCES)
