from pathlib import Path

from common.contract.contracts import lint
from common.contract.properties import OPTIONS, TYPE_RULES

PAGE = (Path(__file__).parents[3] / "docs/contracts.md").read_text()


def lines_after(heading: str) -> list[str]:
    """Rows of the first table under a heading, without its head."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def row(*cells: str) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def test_the_type_table_is_the_one_that_the_code_reads() -> None:
    assert lines_after("Types") == [
        row(rule.logical_type, rule.by or "", rule.value, str(rule.column_type or "as written"))
        for rule in TYPE_RULES
    ]


def test_the_options_table_is_the_one_that_the_code_reads() -> None:
    assert lines_after("Limits") == [row(kind, ", ".join(options)) for kind, options in OPTIONS.items()]


def test_the_example_is_free_of_findings() -> None:
    assert lint(PAGE.split("```yaml\n")[1].split("```")[0], "meters") == []
