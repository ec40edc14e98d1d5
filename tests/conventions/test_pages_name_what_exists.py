"""Every path, link and module that pages and docstrings name leads somewhere."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Where a path may begin: the repository, the functions' code, the command line's.
BASES = (ROOT, ROOT / "modules/compute/lambda", ROOT / "tools", ROOT / "tools/lean_ops")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("modules/**/README.md")])
CODE = sorted(
    path
    for folder in ("modules/compute/lambda", "tools", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if ".build" not in path.parts
)
_FOLDERS = "docs|modules|tests|tools|contracts|infra|environments|common|lean_ops"
_PATH = re.compile(rf"`+((?:{_FOLDERS})/[A-Za-z0-9_./*-]+)")
_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:)([^)#\s]+)")
_MODULE = re.compile(r"`+((?:common|lean_ops)(?:\.[A-Za-z_]\w*)+)`")


def exists(path: str) -> bool:
    return any(list(base.glob(path.rstrip("/."))) for base in BASES)


def defined_in(path: Path) -> set[str]:
    """Functions, classes and names that a Python file defines or imports at its top."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def is_there(dotted: str) -> bool:
    """Whether a module, or what it defines or has open, is there; attributes of classes are not looked at."""
    base = BASES[1] if dotted.startswith("common") else BASES[2]
    place, parts = base, dotted.split(".")
    for depth, part in enumerate(parts):
        if (place / part).is_dir():
            place /= part
            continue
        if (place / f"{part}.py").exists():
            rest = parts[depth + 1 :]
            return not rest or rest[0] in defined_in(place / f"{part}.py")
        return part in defined_in(place / "__init__.py")
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_paths_and_links_exist(page: Path) -> None:
    text = page.read_text()
    for path in _PATH.findall(text):
        assert exists(path), f"{page.name} names {path}, which does not exist"
    for name, link in _LINK.findall(text):
        target = page.parent / link
        assert target.exists(), f"{page.name} links to {link}, which does not exist"
        if name.startswith("`") and target.suffix == ".py":
            assert name.strip("`") in defined_in(target), f"{page.name}: {link} defines no {name}"


@pytest.mark.parametrize("file", [*PAGES, *CODE], ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_that_are_named_exist(file: Path) -> None:
    missing = {dotted for dotted in _MODULE.findall(file.read_text()) if not is_there(dotted)}
    assert not missing


def test_the_checks_see_what_is_missing() -> None:
    assert is_there("common.lake.merge.decide.History")
    assert is_there("common.lake.merge.merge")
    assert not is_there("common.lake.merging")
    assert not is_there("common.lake.rule.EVENT_LAW")
    assert exists("common/lake/rule.py")
    assert not exists("common/rule.py")
    assert defined_in(BASES[1] / "common/lake/rule.py") >= {"MergeRule", "EVENT_RULE", "choose_winners"}
