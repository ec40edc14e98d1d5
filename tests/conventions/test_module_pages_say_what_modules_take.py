"""The page of every Terraform module lists its inputs and outputs as they are."""

import re
from pathlib import Path

import pytest

from lean_ops.checks.module_pages import UnmarkedPage, pages, tables, with_tables
from lean_ops.environment.repository import ROOT


@pytest.mark.parametrize("module", pages(), ids=lambda path: path.name)
def test_a_page_lists_inputs_and_outputs(module: Path) -> None:
    text = pages()[module].read_text()
    assert text == with_tables(text, module), "run make module-pages"


@pytest.mark.parametrize("module", pages(), ids=lambda path: path.name)
def test_no_input_or_output_is_overlooked(module: Path) -> None:
    text = "".join(path.read_text() for path in module.glob("*.tf"))
    declared = re.findall(r'^(?:variable|output) "(\w+)"', text, re.M)
    assert sorted(re.findall(r"^\| `(\w+)` ", tables(module), re.M)) == sorted(declared)


@pytest.mark.parametrize("module", pages(), ids=lambda path: path.name)
def test_every_input_says_what_it_is_and_is_held_to_it(module: Path) -> None:
    for path in module.glob("*.tf"):
        for name, body in re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', path.read_text(), re.M | re.S):
            assert re.search(r'^  description += ".+[.]"$', body, re.M), f"{path}: {name} needs a description"
            assert re.search(r"^  type += ", body, re.M), f"{path}: {name} needs a type"
            held = "validation {" in body or re.search(r"^  type += bool$", body, re.M)
            assert held, f"{path}: {name} needs a validation"


def test_a_page_without_marks_is_named() -> None:
    with pytest.raises(UnmarkedPage, match="page of state: expected the lines"):
        with_tables("# state\n", ROOT / "modules/state")


@pytest.mark.parametrize("module", pages(), ids=lambda path: path.name)
def test_a_refused_value_is_told_what_is_expected(module: Path) -> None:
    for path in module.glob("*.tf"):
        for message in re.findall(r'^ +error_message = "(.*)"$', path.read_text(), re.M):
            told = re.match(r"(\w+(\.\w+)?): expected .+", message)
            assert told or message == "The functions are not built: run make build.", f"{path}: {message}"


def test_every_validated_input_has_a_refusal() -> None:
    blocks = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', (ROOT / "variables.tf").read_text(), re.M | re.S)
    validated = {name for name, body in blocks if "validation {" in body}
    refusals = (ROOT / "tests/refusals.tftest.hcl").read_text()
    assert set(re.findall(r"expect_failures = \[var\.(\w+)\]", refusals)) == validated
