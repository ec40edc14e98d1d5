"""Names and reasons of others are text on the page: no markup, no command, and no page without an end."""

import html
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from lean_ops.cli import app
from lean_ops.operate.alarms import AlarmState
from lean_ops.operate.doctor import Finding
from lean_ops.operate.pipeline import Outcome
from lean_ops.operate.replay.dead_letters import REASONS
from lean_ops.operate.replay.selection import Tally, Waiting
from lean_ops.sight import pages, waiting
from lean_ops.sight.drift import Drift, Drifted
from lean_ops.sight.findings import ORDER, PREFIX
from lean_ops.sight.flow import Flow, Layer, TopicFlow
from lean_ops.sight.parts import Seen
from lean_ops.sight.runs import Run, Runs, Step
from lean_ops.sight.waiting import Failed, Group, Letters, Refused, Sample

from ...support.generated import cases

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
PARTS = {part.name: part for part in pages.parts()}
HERE = pages.Place("local stack")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</section></main><h1>All is well</h1>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "درجة الحرارة 🌡️ \u202e\x1b[31m",
    "a`lean-ops erase --key x`b",
)


def everything(word: str, topics: int = 1) -> dict[str, Seen]:
    """All parts, with the word wherever somebody else may have written it."""
    sample = (Sample(word, NOW, word),)
    layers = {"raw": Layer("raw_a", damage=word), "curated": Layer("curated_a", rows=1, snapshots=1)}
    flows = tuple(
        TopicFlow(f"t{n}" if n else word, contract=True, paused=False, hold=word, layers=layers)
        for n in range(topics)
    )
    values = {
        "flow": Flow(1, 1_000_000, word, flows, 0, NOW),
        "runs": Runs(
            (Run(word, NOW, Outcome(word, "FAILED", 1, word, word, word), (Step(word, 0, None),)),), more=True
        ),
        "letters": Letters(
            1_000_000, (Group(word, word, 5, "lean-ops replay dlq", sample),), 5, complete=False, damaged=1
        ),
        "failed": Failed(
            1,
            more=True,
            read=1,
            groups=(Group(word, word, 5, "lean-ops replay delivery", sample),),
            stuck={word: word},
        ),
        "refused": Refused(
            9, 5, (Group(word, "a", 5, "lean-ops replay quarantine", sample),), {word: word}, 3
        ),
        "drift": Drift(
            (Drifted(word, word, word, "column added to Curated", word, word, 1),), 1, complete=False
        ),
        "proof": (),
        "alarms": [AlarmState(word, "ALARM", NOW, word, word, "")],
        "cost": None,
    }
    seen = {name: Seen(PARTS[name], value, NOW) for name, value in values.items()}
    found = (Finding(word, word, "`lean-ops doctor`"),)
    return seen | {f"{PREFIX}{name}": Seen(PARTS[f"{PREFIX}{name}"], found, NOW) for name in ORDER}


def rendered(seen: dict[str, Seen], place: pages.Place = HERE) -> str:
    return pages._inside(pages.VIEWS, pages.VIEWS[0], seen, pages.Asked(), place, live=True)


class Reader(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


SHAPE = Reader(rendered(everything("word")))


@pytest.mark.parametrize("word", HOSTILE)
def test_what_others_wrote_adds_no_element_and_no_attribute(word: str) -> None:
    found = Reader(rendered(everything(word)))
    assert sorted(found.tags) == sorted(SHAPE.tags)
    assert sorted(name for name, _ in found.attributes) == sorted(name for name, _ in SHAPE.attributes)
    assert not [name for name, _ in found.attributes if name.startswith("on") or name == "style"]


@settings(max_examples=cases(25))
@given(st.text(min_size=1, max_size=60))
def test_any_word_is_text(word: str) -> None:
    found = Reader(rendered(everything(word)))
    assert sorted(found.tags) == sorted(SHAPE.tags)


def test_what_others_wrote_is_in_no_command_and_no_address() -> None:
    page = rendered(everything("$(reboot)"))
    commands = page.split('<code class="command">')[1:]
    assert commands
    for command in commands:
        assert "$(reboot)" not in html.unescape(command.split("</code>")[0]).replace("'$(reboot)'", "")
    assert "$(reboot)" not in "".join(str(v) for n, v in Reader(page).attributes if n in ("href", "action"))


def test_a_reason_that_the_pipeline_does_not_know_is_in_no_command() -> None:
    tally = Tally()
    tally.add(Waiting("x; reboot", "a", NOW, ("1",)))
    tally.add(Waiting("NOT_JSON", "a", NOW, ("2",)))
    mends = {g.reason: g.mend for g in waiting._groups(tally, "dlq", REASONS)}
    assert mends == {
        "x; reboot": "lean-ops replay dlq",
        "NOT_JSON": "lean-ops replay dlq --reason NOT_JSON",
    }


def test_control_characters_are_shown_as_escapes() -> None:
    text = " ".join(Reader(rendered(everything("a\x1b[31m\u202eb"))).texts)
    assert "a\\x1b[31m\\u202eb" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_seven_hundred_topics_are_a_page_of_fifty() -> None:
    page = rendered(everything("word", topics=700))
    assert "700 topics, the worst first" in page
    assert "Page 1 of 14" in page
    assert len(page) < 1_000_000
    listed = pages._inside(
        [pages.BY_NAME["flow"]],
        pages.BY_NAME["flow"],
        everything("word", topics=700),
        pages.Asked(page=14),
        pages.Place("x"),
        live=True,
    )
    assert "Page 14 of 14" in listed


@pytest.mark.parametrize(
    "query", [{"page": "0"}, {"page": "-1"}, {"page": "9" * 30}, {"page": "٣"}, {"table": "x' OR"}]
)
def test_what_an_address_says_wrongly_is_as_if_it_were_not_there(query: dict[str, str]) -> None:
    assert pages.Asked.of(query) == pages.Asked()


def commands(group: Any, path: str = "lean-ops ") -> Iterator[tuple[str, set[str]]]:
    """All commands of the command line, with their options."""
    for name in group.commands:
        command = group.commands[name]
        if getattr(command, "commands", None):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", {option for parameter in command.params for option in parameter.opts}


def test_every_command_on_the_page_says_where_it_acts_if_it_takes_that() -> None:
    takes = dict(commands(typer.main.get_command(app)))
    assert {name for name, options in takes.items() if not {"--stack", "--env"} <= options} == pages.ANYWHERE
    page = rendered(everything("word"), pages.Place("environment prod", "--env prod"))
    shown = [code.split("</code>")[0].partition(">")[2] for code in page.split("<code")[1:]]
    ours = [html.unescape(one) for one in shown if one.startswith("lean-ops ")]
    assert len(ours) > 5
    for one in ours:
        anywhere = any(one == name or one.startswith(f"{name} ") for name in pages.ANYWHERE)
        assert one.endswith(" --env prod") != anywhere, one
