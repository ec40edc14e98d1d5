"""Rooms lie on floors: arrows go down only, and who comes from another room takes what a room has open.

The tables say which room uses which. A room stands before all that use it, so no circle can be; an arrow that
nobody needs any more is taken out. What a room has open are the modules or names in the ``__all__`` of its
``__init__`` (docs/adr/0015).
"""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
LAMBDA = ROOT / "modules/compute/lambda"
TOOLS = ROOT / "tools"
# A job on Spark is a function's job whose work is done elsewhere (docs/adr/0029).
RUN_ELSEWHERE = {"spark": {"curation", "semantic"}}
FUNCTIONS = {path.parent.name for path in LAMBDA.glob("*/handler.py")}

COMMON: dict[str, set[str]] = {
    "runtime": set(),
    "intake": {"runtime"},
    "payload": {"runtime", "intake"},
    "lake": {"runtime", "payload"},
    "contract": {"runtime", "payload", "lake"},
    "layers": {"runtime", "intake", "payload", "lake", "contract"},
    "readers": {"runtime"},
}
COMMAND_LINE: dict[str, set[str]] = {
    "console": set(),
    "environment": set(),
    "build": {"environment"},
    "local": {"environment", "build"},
    "accounts": {"environment"},
    "operate": {"console", "environment", "accounts"},
    "simulate": {"environment", "accounts", "operate"},
    "checks": {"environment", "build", "operate"},
    "sight": {"console", "environment", "accounts", "operate"},
    "commands": {"console", "environment", "local", "accounts", "operate", "simulate", "sight"},
}
ROOMS: dict[str, dict[str, set[str]]] = {"common": COMMON, "lean_ops": COMMAND_LINE}


class Import(NamedTuple):
    """One imported module or name: ``common.lake.rule.EVENT_RULE``, and the file that imports it."""

    file: Path
    module: str
    name: str


def module_of(path: Path) -> str:
    """The dotted name of a file: ``common.lake.merge`` of the ``__init__`` in that folder."""
    base = LAMBDA if path.is_relative_to(LAMBDA) else TOOLS
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


def files(package: Path) -> list[Path]:
    return sorted(path for path in package.rglob("*.py") if ".build" not in path.parts)


def imports(path: Path, source: str | None = None) -> Iterator[Import]:
    """Everything a file imports, wherever in the file."""
    tree = ast.parse(path.read_text() if source is None else source)
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(path, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            module = resolve_name(relative, package) if node.level else relative
            yield from (Import(path, module, alias.name) for alias in node.names)


@cache
def every() -> list[Import]:
    """Not at import of this file, which every test process does, to run a part of the tests."""
    return [found for folder in (LAMBDA, TOOLS) for path in files(folder) for found in imports(path)]


def room_of(module: str) -> tuple[str, str] | None:
    """Package and room of a module; None for one outside of the packages, or on top of their rooms."""
    package, _, rest = module.partition(".")
    room = rest.split(".")[0]
    return (package, room) if room in ROOMS.get(package, ()) else None


def full_name(found: Import) -> str:
    return f"{found.module}.{found.name}" if found.name else found.module


def arrows(package: str) -> set[tuple[str, str]]:
    """Pairs of rooms with an import from the first to the second."""
    found = set()
    for one in every():
        here, there = room_of(module_of(one.file)), room_of(full_name(one))
        if here and there and here[0] == there[0] == package and here != there:
            found.add((here[1], there[1]))
    return found


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_use_what_the_table_says_and_nothing_else(package: str) -> None:
    said = {(room, used) for room, uses in ROOMS[package].items() for used in uses}
    assert arrows(package) == said


@pytest.mark.parametrize("package", ROOMS)
def test_arrows_go_down_only(package: str) -> None:
    """In the table a room comes after all that it uses."""
    above: set[str] = set()
    for room, uses in ROOMS[package].items():
        assert uses <= above, room
        above.add(room)


@pytest.mark.parametrize("package", ROOMS)
def test_every_module_is_in_a_room(package: str) -> None:
    folder = (LAMBDA if package == "common" else TOOLS) / package
    beside = {path.stem for path in folder.glob("*.py")} - {"__init__", "cli"}
    rooms = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert (beside, rooms) == (set(), ROOMS[package].keys())


def open_in(init: Path) -> set[str]:
    """What a room, or a room in it, has open: its ``__all__``."""
    for node in ast.parse(init.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return set(names)
    return set()


def closed_doors(found: Import) -> Iterator[str]:
    """Doors on the way to what is imported that are not open to the file that imports it."""
    here = module_of(found.file)
    base = LAMBDA if found.module.split(".")[0] == "common" else TOOLS
    parts = full_name(found).split(".")
    for depth in range(2, len(parts)):
        room = ".".join(parts[:depth])
        init = base.joinpath(*parts[:depth]) / "__init__.py"
        # Who lives in the room that this room is in goes everywhere in it.
        inside = here == room or here.startswith(f"{'.'.join(parts[:2])}.")
        if init.exists() and not inside and parts[depth] not in open_in(init):
            yield f"{room} has no {parts[depth]} open, which {here} imports"


def test_who_comes_from_another_room_takes_what_is_open() -> None:
    closed = [door for found in every() if room_of(found.module) for door in closed_doors(found)]
    assert not closed


@pytest.mark.parametrize("package", ROOMS)
def test_a_room_names_what_is_open_and_says_what_each_is(package: str) -> None:
    base = LAMBDA if package == "common" else TOOLS
    taken = {full_name(found) for found in every() if room_of(module_of(found.file)) != room_of(found.module)}
    for room in ROOMS[package]:
        init = base / package / room / "__init__.py"
        doc = ast.get_docstring(ast.parse(init.read_text()), clean=False) or ""
        for name in open_in(init):
            module = f"{package}.{room}.{name}"
            assert f"\n    {name} " in doc, module
            assert any(one == module or one.startswith(f"{module}.") for one in taken), (
                f"nobody takes {module}"
            )


@pytest.mark.parametrize("path", files(LAMBDA), ids=module_of)
def test_a_function_uses_the_shared_package_and_no_other_function(path: Path) -> None:
    own = path.relative_to(LAMBDA).parts[0]
    others = (FUNCTIONS | {"lean_ops"}) - {own} - RUN_ELSEWHERE.get(own, set())
    assert not {found.module.split(".")[0] for found in imports(path)} & others


def test_nobody_takes_a_function_for_a_library() -> None:
    """But its own folder: what others need as well is in the shared package."""
    takers = {
        found.file.name
        for path in files(TOOLS)
        for found in imports(path)
        if found.module.split(".")[0] in FUNCTIONS
    }
    assert not takers


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_handler_is_short(name: str) -> None:
    assert len((LAMBDA / name / "handler.py").read_text().splitlines()) < 200


def test_sqs_processor_stays_light() -> None:
    """Its cold start is paid at every burst of events: neither Arrow nor Iceberg may be imported."""
    heavy = {"duckdb", "numpy", "open_data_contract_standard", "pyarrow", "pydantic", "pyiceberg", "yaml"}
    seen: set[Path] = set()
    todo = [LAMBDA / "sqs_processor/handler.py"]
    while todo:
        path = todo.pop()
        seen.add(path)
        found = list(imports(path))
        assert not {one.module.split(".")[0] for one in found} & heavy, path
        names = {name for one in found for name in (one.module, full_name(one))}
        todo += [
            p for p in (LAMBDA / (n.replace(".", "/") + ".py") for n in names) if p.exists() and p not in seen
        ]
    assert LAMBDA / "common/intake/events.py" in seen


def test_the_checks_see_what_is_forbidden() -> None:
    handler = LAMBDA / "curation/handler.py"
    inside = "def f():\n    from semantic.handler import handler\n"
    assert [found.module for found in imports(handler, inside)] == ["semantic.handler"]
    (deep,) = imports(handler, "from common.lake.merge.planning import plan\n")
    assert list(closed_doors(deep)) == [
        "common.lake.merge has no planning open, which curation.handler imports"
    ]
    (relative,) = imports(LAMBDA / "common/lake/merge/engine.py", "from ..rule import MergeRule\n")
    assert full_name(relative) == "common.lake.rule.MergeRule"
