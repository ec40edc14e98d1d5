"""The files of ``sources/``: read as Terraform reads them too, and linted with the line of each finding.

Two programs read a source: this one and Terraform (``yamldecode``). What the two would read differently
(``on``, ``1:30``, ``2026-01-01`` without quotes) is refused, as are anchors and names that are there
twice."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from common.contract.yaml_bounds import check_bounds
from common.intake.sources import Source, SourceError, compile_source, registry
from common.runtime.errors import ContractError, InvalidInput
from lean_ops.environment.repository import ROOT

SOURCES: Final = ROOT / "sources"
DESCRIPTOR_SUFFIX: Final = ".binpb"
_WHOLE: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,14})\.[0-9]{1,15}")
_FIXED: Final = {"true": True, "false": False, "null": None}
# Plain words that one reader or the other takes for something else: YAML 1.1's booleans, hours, dates,
# octals.
_DOUBTFUL: Final = re.compile(
    r"(?i)(y|n|yes|no|on|off|true|false|null|~|\.nan|[-+]?\.inf|[-+.]?[0-9][0-9_,.:+exobtzTZ-]*|=|<<)"
)
# What the id of an event is made from; a change of it gives new ids to what was delivered before.
_IDENTITY: Final = ("unpack", "each", "key", "time", "not_before", "id")


@dataclass(frozen=True)
class SourceFinding:
    """What lint says about a source: ``error`` stops a merge, ``warning`` does not. ``line`` from 1; 0: the
    file.
    """

    severity: str
    line: int
    where: str
    message: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        where = f"{self.where}: " if self.where else ""
        return f"{self.severity}: {place}{where}{self.message}"


@dataclass(frozen=True)
class Written:
    """What a file says, and on which line each part of it stands (by places as ``time[0].as``)."""

    document: Any
    lines: Mapping[str, int]

    def line(self, where: str) -> int:
        """The line of a place, or of the nearest that it is in."""
        while where and where not in self.lines:
            where = where[: max(where.rfind("."), where.rfind("["), 0)]
        return self.lines.get(where, 1)


class _LineError(Exception):
    """Something at a line that no source may have; caught in this module."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line: Final = line
        self.message: Final = message


def source_files(directory: Path | None = None) -> dict[str, Path]:
    """Name to file, by name; of ``sources/`` unless another directory is given, as all here."""
    return {path.stem: path for path in sorted((directory or SOURCES).glob("*.yaml"))}


def descriptor_files(directory: Path | None = None) -> dict[str, bytes]:
    """Compiled descriptors of Protobuf beside the sources, by file name."""
    return {
        path.name: path.read_bytes() for path in sorted((directory or SOURCES).glob(f"*{DESCRIPTOR_SUFFIX}"))
    }


def read_source(text: str) -> Written:
    """What a source's text says; raises SourceError with its line."""
    try:
        return _read(text)
    except _LineError as error:
        raise SourceError(f"line {error.line}", error.message) from None


def load_source(path: Path) -> Source:
    """Compile the source of a file; raises SourceError naming the file and the place."""
    written = None
    try:
        written = read_source(text_of(path))
        return compile_source(path.stem, written.document, descriptor_files(path.parent))
    except SourceError as error:
        line = "" if written is None else f"line {written.line(error.where)}: "
        raise SourceError(f"{path.name}: {line}{error.where}".rstrip(": "), error.message) from None


def registry_content(directory: Path | None = None) -> bytes | None:
    """The registry of the sources in a directory, None where there are none; raises SourceError."""
    files = source_files(directory)
    if not files:
        return None
    compiled = {name: load_source(path) for name, path in files.items()}
    if clashes := [finding for finding in overlaps(compiled) if finding.severity == "error"]:
        raise SourceError("", f"{clashes[0].message}; `lean-ops source lint` says more")
    return registry.written(
        {name: read_source(text_of(path)).document for name, path in files.items()},
        descriptor_files(directory),
    )


def text_of(path: Path) -> str:
    """A file's text; raises InvalidInput for one that is none."""
    try:
        return path.read_bytes()[:4_000_000].decode()
    except FileNotFoundError:
        raise InvalidInput(f"{path}: expected a file, found none") from None
    except (UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"{path}: expected a text in UTF-8, found none ({type(error).__name__})") from None


def lint(path: Path, before: Path | None = None) -> list[SourceFinding]:
    """Everything about one source's file alone; ``before``: the version that is in use, whose ids are to
    stay.
    """
    try:
        written = _read(text_of(path))
    except _LineError as error:
        return [SourceFinding("error", error.line, "", error.message)]
    try:
        source = compile_source(path.stem, written.document, descriptor_files(path.parent))
    except SourceError as error:
        return [SourceFinding("error", written.line(error.where), error.where, error.message)]
    found = list(_doubts(written))
    if before is not None:
        found += _changes(written, source.version, read_source(text_of(before)).document)
    return found


def overlaps(sources: Mapping[str, Source]) -> list[SourceFinding]:
    """Pairs of sources that one message may be for: an error where both say so, else a warning."""
    found = []
    ordered = sorted(sources.items())
    for i, (name, source) in enumerate(ordered):
        for other, another in ordered[i + 1 :]:
            meet = source.match.may_meet(another.match)
            if meet:
                severity = "error" if meet == "always" else "warning"
                message = (
                    f"expected each message to be for one source, found that {name} and {other} may match; "
                    "narrow match: (a topic, an attribute, a field that differs)"
                )
                found.append(SourceFinding(severity, 0, "match", message))
    return sorted(found, key=lambda finding: finding.severity)


def _doubts(written: Written) -> list[SourceFinding]:
    document = written.document
    found = []
    kinds = document.get("readings") or [document]
    for i, kind in enumerate(kinds):
        place = f"readings[{i}]." if "readings" in document else ""
        time = kind.get("time", document.get("time"))
        key = kind.get("key", document.get("key"))
        times = time if isinstance(time, list) else [time]
        if times[-1] == "$arrived" and "$time" in (key if isinstance(key, list) else [key]):
            where = f"{place}key"
            found.append(
                SourceFinding(
                    "warning", written.line(where), where,
                    "the time may be that of arrival: a message that a device sends twice has two keys then",
                )
            )  # fmt: skip
    if "description" not in document:
        found.append(
            SourceFinding("warning", 1, "description", "say in a sentence which devices this is for")
        )
    return found


def _changes(written: Written, version: int, before: Any) -> list[SourceFinding]:
    found = []
    if written.document != before and version <= int(before.get("version", 0)):
        found.append(
            SourceFinding("error", written.line("version"), "version",
                          f"expected more than {before.get('version')}, since the source has changed")
        )  # fmt: skip
    now = written.document
    if _identity(now) != _identity(before) and _generations(now) == _generations(before):
        found.append(
            SourceFinding(
                "error", written.line("id"), "id",
                f"expected {', '.join(_IDENTITY)} as they were, since ids of events come from them; "
                "found another; raise id: generation: where readings are to be new events",
            )
        )  # fmt: skip
    return found


def _identity(document: Any) -> Any:
    kinds = document.get("readings") or [{}]
    own = [{name: kind.get(name) for name in ("name", *_IDENTITY)} for kind in kinds]
    for kind in own:
        if isinstance(kind["id"], Mapping):
            kind["id"] = {name: value for name, value in kind["id"].items() if name != "generation"} or None
    top = {name: document.get(name) for name in _IDENTITY}
    if isinstance(top["id"], Mapping):
        top["id"] = {name: value for name, value in top["id"].items() if name != "generation"} or None
    return [top, own]


def _generations(document: Any) -> list[Any]:
    every = [document, *(document.get("readings") or [])]
    return [one["id"].get("generation", 1) if isinstance(one.get("id"), Mapping) else 1 for one in every]


def _read(text: str) -> Written:
    try:
        check_bounds(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except ContractError as error:
        raise _LineError(1, str(error)) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _LineError(line, f"expected YAML, found {error.problem}") from None
    except yaml.YAMLError as error:
        raise _LineError(1, f"expected YAML, found {str(error).splitlines()[0]}") from None
    if node is None:
        raise _LineError(1, "expected a source, found an empty file")
    if any(
        isinstance(token, yaml.AnchorToken | yaml.AliasToken | yaml.TagToken) for token in yaml.scan(text)
    ):
        raise _LineError(
            1, "expected a source without anchors (&), aliases (*) and tags (!), found one; quote the text"
        )
    lines: dict[str, int] = {}
    return Written(_value(node, "", lines), lines)


def _value(node: yaml.Node, where: str, lines: dict[str, int]) -> Any:
    lines[where] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        made: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise _LineError(line, "expected a text as a name, found something else")
            if key.style is None and _DOUBTFUL.fullmatch(key.value):
                raise _LineError(
                    line, f"expected the name {key.value} in quotes, since not all readers take it for a text"
                )
            if key.value in made:
                raise _LineError(line, f"expected each name once, found {key.value} again")
            inside = f"{where}.{key.value}" if where else key.value
            made[key.value] = _value(value, inside, lines)
            lines[inside] = line
        return made
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, f"{where}[{i}]", lines) for i, item in enumerate(node.value)]
    return _scalar(node)


def _scalar(node: Any) -> Any:
    text = node.value
    if node.style is not None:
        return text
    if text in _FIXED:
        return _FIXED[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    if not text or _DOUBTFUL.fullmatch(text):
        found = text or "nothing"
        raise _LineError(
            node.start_mark.line + 1,
            f'expected a text in quotes, true, false, null or a plain number; found {found}: write "{text}"',
        )
    return text
