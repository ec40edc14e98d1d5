"""Every alarm has its section in the runbook, in the order of the catalogue, and every section its alarm."""

import re

import pytest

from lean_ops.environment.alarm_catalogue import RUNBOOK, load, watched_functions
from lean_ops.environment.repository import ROOT
from lean_ops.local.alarms import alarms_of
from lean_ops.local.target import LocalTarget

PAGE = (ROOT / RUNBOOK).read_text()
SECTION = re.split(r"^## ", PAGE.partition("\n## Alarms\n")[2], maxsplit=1, flags=re.M)[0]
ENTRIES = {part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in SECTION.split("\n### ")[1:]}
TARGET = LocalTarget("test", region="eu-west-1", endpoints={"": "http://127.0.0.1:1"})
QUERIES = {path.stem for path in (ROOT / "modules/monitoring/queries").iterdir()}


def test_alarms_and_sections_are_the_same() -> None:
    assert list(ENTRIES) == list(load().alarms)


@pytest.mark.parametrize("name", ENTRIES)
def test_a_section_says_what_it_means_what_to_check_to_do_and_to_see_at_the_end(name: str) -> None:
    text = ENTRIES[name].lower()
    for word in ("meaning:", "check", "act", "verify"):
        assert word in text, word


def test_links_of_alarms_lead_to_their_sections() -> None:
    anchors = {f"{RUNBOOK}#{heading}" for heading in re.findall(r"^### ([a-z-]+)$", PAGE, re.M)}
    assert {alarm.runbook for alarm in alarms_of(TARGET)} <= anchors


def test_queries_that_the_runbook_names_exist() -> None:
    named = set(re.findall(r"quer(?:y|ies) `([a-z-]+)`", " ".join(SECTION.split())))
    assert named
    assert named <= QUERIES


def test_functions_that_nobody_waits_for_are_watched() -> None:
    watched = {alarm.subject for alarm in alarms_of(TARGET) if alarm.entry == "function-failing"}
    assert watched == set(watched_functions())
    assert {"alert", "circuit-breaker", "observation", "snowflake-latency"} <= watched
