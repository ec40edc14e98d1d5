"""What a contract would do, as Markdown: a comment on the pull request that changes it.

What devices sent stands in code spans, and what people wrote is escaped: neither is markup, a link or a
mention of anybody.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from common.contract.problems import Finding
from common.layers.planning import Planned

_MARKUP: Final = re.compile(r"([\\`*_\[\]|~#])")


def markdown(planned: Planned, findings: Sequence[Finding], too_much: Sequence[str]) -> str:
    """The whole plan; what would be lost comes first."""
    return "\n".join(_lines(planned, findings, too_much)) + "\n"


def unreadable(topic: str, findings: Sequence[Finding]) -> str:
    """Of a contract that cannot be read, so that nothing could be planned."""
    return "\n".join([f"#### Contract of `{topic}`", "", *_said(findings)]) + "\n"


def _lines(planned: Planned, findings: Sequence[Finding], too_much: Sequence[str]) -> Iterator[str]:
    against = f"against {planned.published}" if planned.published else "none is published"
    yield f"#### Contract of `{planned.topic}`, version {planned.version} ({against})"
    yield ""
    for clause in too_much:
        yield f"- :no_entry: **{_text(clause)}**: mend it, or publish it with `--accept`"
    yield from _said(findings)
    if planned.snapshot_id is None:
        yield "- Curated holds no row to judge."
        return
    before = "" if planned.refused_before is None else f" ({planned.refused_before:,} by the published one)"
    yield f"- Of {planned.rows:,} rows in Curated, one a key, it would refuse {planned.refused:,}{before}."
    yield from _values(planned)
    for name, absent in planned.absent.items():
        yield f"- :warning: {_code(name)} {_text(str(absent))}"
    for change in planned.changes:
        was = f" (was {_code(str(change.was.field_type))})" if change.was else ""
        column = f"{_code(change.column.name)} {_code(str(change.column.field_type))}"
        yield f"- table: {change.kind} {column}{was}"
    for name in planned.left:
        yield f"- table: {_code(name)} stays with what it has, and is null in new rows"
    for place in planned.in_clear:
        count = f"{place.rows:,} values" if place.rows is not None else "every value"
        yield f"- :warning: personal: {_code(place.column)}: {count} {place.what} in {place.where}"
    for name, looks in planned.suspected.items():
        yield f"- :warning: {_code(name)} is published in clear, and looks like {_text(looks)}: classify it"
    yield from _broken(planned)


def _values(planned: Planned) -> Iterator[str]:
    """What becomes of values against the published contract."""
    for name, of in planned.values.items():
        if planned.published is not None and (of.lost or of.gained or of.changed):
            yield (
                f"- {_code(name)}: of {of.present:,} values {of.lost:,} become null, {of.changed:,} change, "
                f"{of.gained:,} are new"
            )


def _broken(planned: Planned) -> Iterator[str]:
    """A table of the rules that rows break."""
    if planned.broken:
        yield ""
        yield "| column | rule | expected | rows | then | such as |"
        yield "|---|---|---|---:|---|---|"
        for one in planned.broken:
            then = "refused" if one.critical else "null"
            samples = " ".join(map(_code, one.samples))
            cells = (_code(one.column), _text(one.rule), _text(one.expected), f"{one.rows:,}", then, samples)
            yield f"| {' | '.join(cells)} |"


def _said(findings: Sequence[Finding]) -> Iterator[str]:
    signs = {"error": ":no_entry: ", "warning": ":warning: ", "note": ""}
    for finding in findings:
        place = "" if finding.line is None else f" (line {finding.line})"
        yield f"- {signs[finding.severity]}{_text(finding.where)}{place}: {_text(finding.message)}"


def _text(text: str) -> str:
    """What people wrote, as it reads: no markup, no HTML, no mention."""
    escaped = _MARKUP.sub(r"\\\1", " ".join(text.split()))
    return escaped.replace("<", "&lt;").replace("@", "&#64;").replace("://", ":&#47;/")


def _code(text: str) -> str:
    """What devices sent, as code that cannot end itself or its table's cell."""
    plain = " ".join("".join(sign if sign.isprintable() else "?" for sign in text).split())
    return f"`{plain.replace('`', chr(39)).replace('|', '¦')}`" if plain else "` `"
