"""Lint of sources: YAML that all readers read alike, errors at their line, ids that stay."""

import json
from pathlib import Path

import pytest

from common.intake.sources import SourceError
from lean_ops.environment.source_files import lint, load_source, overlaps, read_source, registry_content

GOOD = """\
version: 1
description: Soil sensors of the test field
match:
  topic: soil/{device}/up
topic: events
key:
  - $device
  - $time
time:
  at: ts
  as: ms
"""


def written(folder: Path, text: str, name: str = "soil") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def test_a_good_source_has_nothing_to_say(tmp_path: Path) -> None:
    assert lint(written(tmp_path, GOOD)) == []


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("as: ms", "as: minutes", 11),
        ("  - $device\n", "  - $devise\n", 7),
        ("soil/{device}/up", "soil/{device/up", 4),
        ("version: 1", "version: one", 1),
        ("description: Soil sensors of the test field", "descripton: x", 2),
        ("at: ts", "at: on", 10),
        ("at: ts", "at: 2026-10-20", 10),
        ("at: ts", "at: 1:30", 10),
        ("at: ts", "at:", 10),
        ("at: ts", "at: [", 12),
        ("  as: ms", "  at: ms", 11),
        ("topic: events", "topic: &a events", 1),
        ("key:", "1: x\nkey:", 6),
    ],
)
def test_an_error_is_at_its_line(tmp_path: Path, old: str, new: str, line: int) -> None:
    (finding,) = lint(written(tmp_path, GOOD.replace(old, new)))
    assert (finding.severity, finding.line) == ("error", line), finding


@pytest.mark.parametrize("text", ["", "5", "- a", "a: b: c", "\t", "{" * 100, "a: *b", "\x00", "? [a]\n: b"])
def test_what_is_no_source_is_one_finding(tmp_path: Path, text: str) -> None:
    assert [finding.severity for finding in lint(written(tmp_path, text))] == ["error"]


def test_two_sources_for_one_message_are_an_error_and_perhaps_two_a_warning(tmp_path: Path) -> None:
    other = GOOD.replace("soil/{device}/up", "+/{device}/up")
    by_attribute = GOOD.replace("topic: soil/{device}/up", "attributes:\n    f: x").replace("$device", "dev")
    compiled = {
        name: load_source(written(tmp_path, text, name))
        for name, text in (("a", GOOD), ("b", other), ("c", by_attribute))
    }
    found = overlaps(compiled)
    assert [finding.severity for finding in found] == ["error", "warning", "warning"]
    assert "a and b" in found[0].message
    with pytest.raises(SourceError, match="a and b"):
        registry_content(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("version: 1", "version: 1", None),
        ("description: Soil", "description: All soil", "version"),
        ("version: 1\ndescription: Soil", "version: 2\ndescription: All soil", None),
        ("version: 1", "version: 2\npayload: v", None),
        ("version: 1", "version: 2\nid:\n  without: [rssi]", "id"),
        ("version: 1", "version: 2\nid:\n  without: [rssi]\n  generation: 2", None),
        ("  as: ms\n", "  as: s\n", "id"),
        ("  - $time\n", "", "id"),
    ],
)
def test_a_change_that_gives_other_ids_must_say_so(
    tmp_path: Path, old: str, new: str, where: str | None
) -> None:
    changed = GOOD.replace(old, new)
    if where == "id":
        changed = changed.replace("version: 1", "version: 2")
    before = written(tmp_path, GOOD, "before")
    found = [
        finding.where for finding in lint(written(tmp_path, changed), before) if finding.severity == "error"
    ]
    assert found == ([] if where is None else [where])


def test_a_key_with_the_time_of_arrival_is_doubtful(tmp_path: Path) -> None:
    doubtful = GOOD.replace("  at: ts\n  as: ms\n", "  - at: ts\n    as: ms\n  - $arrived\n")
    (finding,) = lint(written(tmp_path, doubtful))
    assert (finding.severity, finding.where, finding.line) == ("warning", "key", 6)


def test_a_source_is_read_as_json_would_have_it() -> None:
    text = "a: 1\nb: 1.5\nc: true\nd: null\ne: plain text\nf: '1'\ng: \"on\"\nh: [x, w]\ni: ts_ms\nj: $x.y\n"
    assert json.loads(json.dumps(read_source(text).document)) == {
        "a": 1, "b": 1.5, "c": True, "d": None, "e": "plain text", "f": "1", "g": "on", "h": ["x", "w"],
        "i": "ts_ms", "j": "$x.y",
    }  # fmt: skip


def test_the_registry_is_the_same_whatever_the_order_of_fields(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    before = registry_content(tmp_path)
    written(tmp_path, "topic: events\n" + GOOD.replace("topic: events\n", ""))
    assert registry_content(tmp_path) == before
    assert registry_content(tmp_path / "none") is None
