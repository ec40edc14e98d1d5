"""docs/sources.md: its message, its description and its commands end as the page says."""

import json
from pathlib import Path

import pytest

from common.intake.sources.expressions import OPERATIONS
from lean_ops.environment import source_files

from ...support import edges
from ...support.edges import Ended

PAGE = (Path(__file__).parents[3] / "docs/sources.md").read_text()


def block(language: str) -> str:
    return PAGE.split(f"```{language}\n")[1].split("```")[0]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The message and the source of the page, as its reader has them."""
    (tmp_path / "sources").mkdir()
    (tmp_path / "meters.json").write_text(block("json"))
    (tmp_path / "sources/meters.yaml").write_text(block("yaml"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(source_files, "SOURCES", tmp_path / "sources")
    return tmp_path


def run(command: str) -> Ended:
    program, *words = command.split()
    assert program == "lean-ops"
    return edges.lean_ops(words)


def commands(section: str) -> list[str]:
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return [line for line in text.splitlines() if line.startswith("lean-ops ")]


@pytest.mark.usefixtures("folder")
def test_the_message_becomes_what_the_page_says() -> None:
    lint, tried = commands("From a message to a description")[:2]
    assert "nothing to say" in run(lint).out
    ended = run(tried)
    assert ended.code == 1
    said = PAGE.split("```\nread by")[1].split("```")[0]
    for line in f"read by{said}".strip().splitlines():
        assert line in ended.out, ended.out


@pytest.mark.usefixtures("folder")
def test_a_message_may_be_given_as_it_is_and_in_lines(folder: Path) -> None:
    (folder / "lines.txt").write_text('{"readings":[]}\n{"readings":[{"ts":1792483200512,"kwh":1}]}\n')
    how = "--source sources/meters.yaml --mqtt-topic hall/m/readings --json"
    ended = run(f"lean-ops source try lines.txt --lines {how}")
    empty, one = json.loads(ended.out)
    assert (ended.code, empty["skipped"], len(one["events"])) == (0, {"empty": 1}, 1)
    assert run(f'lean-ops source try {{"readings":[]}} {how}').code == 0
    assert run(f"lean-ops source try nosuch.json {how}").code == 1


@pytest.mark.usefixtures("folder")
def test_a_changed_source_is_held_against_the_one_in_use(folder: Path) -> None:
    changed = block("yaml").replace("version: 1", "version: 2").replace("[rssi]}\np", "[rssi, fw]}\np")
    (folder / "meters.yaml").write_text(changed)
    ended = run("lean-ops source lint meters.yaml --against sources/meters.yaml")
    assert ended.code == 1
    assert "generation" in ended.out


def test_the_page_has_every_operation_and_every_word() -> None:
    assert {name for name in OPERATIONS if f"{{{name}: " not in PAGE} == set()
