"""Views, and the HTML of each: templates that escape everything, over what a watch has seen."""

import base64
import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from common.runtime import outside
from lean_ops.console.printing import harmless, human_bytes
from lean_ops.environment.target import Target
from lean_ops.operate import alarms
from lean_ops.sight import drawing, drift, findings, flow, money, proof, runbook, runs, shape, waiting
from lean_ops.sight.parts import Part, Publish, Seen
from lean_ops.sight.watching import Watch

HERE: Final = Path(__file__).parent
STYLE: Final = (HERE / "static/style.css").read_text()
SCRIPT: Final = (HERE / "static/live.js").read_text()
ON_A_PAGE: Final = 50
_COMMAND: Final = re.compile(r"`([^`]*)`")
_TABLE: Final = re.compile(r"(raw|curated|semantic|quarantine)_[a-z][a-z0-9_]{0,29}")


ANYWHERE: Final = frozenset(
    f"lean-ops {name}"
    for name in (
        "contract diff", "contract lint", "cost", "demo", "down", "release rollback", "release show",
        "snowflake check", "snowflake setup", "source lint", "source try", "status", "up",
    )
)  # fmt: skip
"""Commands that do not act on whichever place is looked at: they take none, or none of the other kind."""


@dataclass(frozen=True)
class Place:
    """What is looked at. ``name``: to be read; ``option``: for commands, empty where they need none."""

    name: str
    option: str = ""


@dataclass(frozen=True)
class View:
    """One view. ``parts``: names of what it shows, beside the verdict, which every view shows."""

    name: str
    title: str
    parts: tuple[str, ...]


VIEWS: Final = (
    View("overview", "Overview", ("flow",)),
    View("flow", "Flow", ("flow",)),
    View("runs", "Runs", ("runs",)),
    View("waiting", "Waiting", ("letters", "failed", "refused")),
    View("drift", "Drift", ("drift",)),
    View("tables", "Tables", ("flow",)),
    View("proof", "Reconciliation", ("proof",)),
    View("alarms", "Alarms", ("alarms",)),
    View("cost", "Cost", ("cost",)),
)
BY_NAME: Final = {view.name: view for view in VIEWS}


def parts() -> list[Part]:
    """Everything that is looked at, in the order in which it is, when all of it is."""
    return [
        Part("flow", "the flow", flow.FlowReader(), every_s=3, within_s=20),
        Part("runs", "runs", runs.RunsReader(), every_s=5, within_s=20),
        Part("letters", "dead letters", waiting.letters, every_s=20, within_s=20),
        Part("failed", "failed deliveries", waiting.failed, every_s=20, within_s=20),
        Part("refused", "refused rows", waiting.RefusedReader(), every_s=10, within_s=30),
        Part("drift", "drift", drift.read, every_s=30, within_s=15),
        Part("proof", "reconciliation", proof.read, every_s=30, within_s=15),
        Part("alarms", "alarms", _alarms, every_s=15, within_s=20),
        Part("cost", "cost", money.read, every_s=3_600, within_s=20),
        *findings.parts(),
    ]


def _alarms(target: Target, _: Publish) -> list[alarms.AlarmState]:
    return sorted(alarms.states(target), key=lambda one: (not one.up, one.alarm))


@dataclass(frozen=True)
class Asked:
    """What an address asks for beside the view; ``page`` from 1 on."""

    page: int = 1
    topic: str = ""
    table: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Asked":
        """What can be read of the words in an address; all else is as if it were not there."""
        number, table = query.get("page", ""), query.get("table", "")
        page = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 1
        return cls(max(1, page), query.get("topic", "")[:30], table if _TABLE.fullmatch(table) else "")


def main(watch: Watch, view: View, asked: Asked, place: Place, *, patience_s: float) -> str:
    """The inside of the page: what is wrong, and what the view shows."""
    names = {*(part.name for part in findings.parts()), "flow", "proof", *view.parts}
    if view.name == "tables":
        names.add(_heat_map(watch, asked))
    seen = watch.ask(names - {""}, patience_s=patience_s)
    return _inside([view], view, seen, asked, place, live=True)


def _heat_map(watch: Watch, asked: Asked) -> str:
    """Name of the part with the heat map of the table that was asked for; the fullest where none was."""
    name = asked.table
    if not name:
        known = watch.ask(["flow"], patience_s=0)["flow"].value
        tables = known.worst_first if known else []
        full = max(
            (layer for one in tables for layer in one.layers.values() if not layer.damage),
            key=lambda layer: layer.data_files,
            default=None,
        )
        name = full.name if full and full.data_files else ""
    if not name:
        return ""

    def read(target: Target, _: Publish) -> shape.HeatMap:
        return shape.read(target, name)

    return watch.know(Part(f"shape {name}", f"the partitions of {name}", read, every_s=15, within_s=30))


def whole(inside: str, view: View, *, place: Place, now: datetime) -> str:
    """The page with its head, for the server."""
    return _render("page.html", inside=inside, view=view, views=VIEWS, place=place.name, now=now)


def file(watch: Watch, *, place: Place, patience_s: float) -> str:
    """Everything as one file: no script, no network, no link but to its own sections."""
    seen = watch.ask({*(part.name for part in parts())}, patience_s=patience_s, whole=True)
    shaped = _heat_map(watch, Asked())
    seen |= watch.ask([shaped], patience_s=patience_s, whole=True) if shaped else {}
    overview, *others = VIEWS
    inside = _inside(others, overview, seen, Asked(), place, live=False)
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return _render(
        "file.html",
        inside=inside,
        views=VIEWS,
        place=place.name,
        now=outside.now(),
        style=STYLE,
        digest=digest,
    )


def refusal(title: str, said: str) -> str:
    """A page for whoever is not let in, or asks for what there is not."""
    return _render("refusal.html", title=title, said=said)


def _inside(
    shown: Sequence[View], view: View, seen: Mapping[str, Seen], asked: Asked, place: Place, *, live: bool
) -> str:
    return _render(
        "main.html",
        views=shown,
        view=view,
        seen=seen,
        asked=asked,
        verdict=findings.verdict(seen),
        live=live,
        option=place.option,
    )


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(values)


def warm_up() -> None:
    """Compile all templates, which takes longer than to fill them in."""
    for name in _environment().list_templates():
        _environment().get_template(name)


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "bytes": human_bytes,
        "count": lambda number: f"{number:,}",
        "usd": lambda amount: f"{amount:,.2f}",
        "moment": _moment,
        "age": _age,
        "words": _words,
        "placed": _placed,
        "shell": shlex.quote,
        "seconds": lambda number: f"{number:,.1f} s" if number < 100 else f"{number:,.0f} s",
    }
    found.globals |= {
        "bars": drawing.bars,
        "span": drawing.span,
        "heat": drawing.heat,
        "section": runbook.section,
        "limits": _LIMITS,
        "ON_A_PAGE": ON_A_PAGE,
    }
    return found


def _harmless(value: object) -> object:
    """Whatever is put into a page: of texts the control characters as escapes, as commands print them."""
    return harmless(value) if isinstance(value, str) and not isinstance(value, Markup) else value


_LIMITS: Final = {
    "letters": waiting.LETTERS,
    "objects": waiting.OBJECTS,
    "topics": waiting.TOPICS,
    "days": waiting.DAYS,
    "runs": runs.SHOWN,
    "partitions": shape.ROWS,
}


def _moment(at: datetime | None) -> Markup:
    if at is None:
        return Markup("–")  # noqa: RUF001 - a dash, for people
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        f"{utc:%Y-%m-%dT%H:%M:%SZ}", f"{utc:%Y-%m-%d %H:%M:%S}"
    )


def _age(span: timedelta) -> str:
    """A span in the unit that reads best; coarse, so that a page that shows it seldom changes."""
    seconds = span.total_seconds()
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


@pass_context
def _placed(context: Context, command: str) -> str:
    """The command with where it is to act, which is where the page looks, as far as it takes that."""
    option = str(context["option"])
    here = command.startswith("lean-ops ") and not any(
        command == one or command.startswith(f"{one} ") for one in ANYWHERE
    )
    return f"{command} {option}" if option and here else command


@pass_context
def _words(context: Context, text: str) -> Markup:
    """A sentence with its commands, which stand between backticks, as code; all of it escaped."""
    pieces: Sequence[str] = _COMMAND.split(harmless(text))
    marked: list[Any] = [
        Markup("<code>{}</code>").format(_placed(context, piece)) if number % 2 else escape(piece)
        for number, piece in enumerate(pieces)
    ]
    return Markup("").join(marked)
