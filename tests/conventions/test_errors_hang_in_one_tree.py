"""Every error of this project hangs in one tree, and stands where the tree is drawn."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAMBDA = ROOT / "modules/compute/lambda"
TREE = LAMBDA / "common/runtime/errors.py"
# Not raised to anybody: each is caught where it is defined, or is what a library asks for.
WITHIN = {
    "NotAnObject": "leaves: what reads a payload tells its caller in the same room",
    "BodyTooSlowError": "asking: one of urllib3's, so that its retries see it",
    "ApiError": "the Firehose stand-in: an answer of the service",
    "_UndecodableError": "the search of an erasure: searches the bytes of one object instead",
    "FilterError": "sources: a topic filter tells who compiles it, who names the place",
    "_Refused": "sources: what is valid CBOR and cannot be JSON, told to the step in the same file",
    "_LineError": "the files of sources: a finding on its way to the line",
    "_NoStream": "the replay of deliveries: ends one file",
}


def classes() -> dict[str, tuple[Path, list[str]]]:
    """Name of each class that is an exception, with its file and its bases."""
    every: dict[str, tuple[Path, list[str]]] = {}
    for folder in (LAMBDA, ROOT / "tools/lean_ops"):
        for path in folder.rglob("*.py"):
            if ".build" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    every[node.name] = (path, [ast.unparse(base).split(".")[-1] for base in node.bases])
    errors: dict[str, tuple[Path, list[str]]] = {}
    roots = {"Exception", "ValueError", "RuntimeError", "OSError", "HTTPError"}
    while more := {n: e for n, e in every.items() if n not in errors and (roots | errors.keys()) & set(e[1])}:
        errors |= more
    return errors


ERRORS = classes()


def in_tree(name: str) -> bool:
    return name == "LeanOpsError" or any(
        in_tree(base) for base in ERRORS.get(name, (TREE, []))[1] if base in ERRORS
    )


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_an_error_hangs_in_the_tree_and_is_drawn(name: str) -> None:
    path, _ = ERRORS[name]
    if name in WITHIN:
        return
    assert in_tree(name), f"{path}: derive {name} from the tree in {TREE}"
    page = ROOT / "tools/lean_ops/__init__.py" if path.is_relative_to(ROOT / "tools") else TREE
    drawn = ast.get_docstring(ast.parse(page.read_text())) or ""
    assert name in drawn.replace(",", " ").split(), f"{page}: draw {name}"


def test_what_stays_within_is_still_there() -> None:
    assert ERRORS.keys() >= WITHIN.keys()
