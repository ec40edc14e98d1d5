"""A topic's data contract: what Semantic promises, read from ``contracts/<topic>.yaml``.

The file follows the Open Data Contract Standard v3 (https://bitol-io.github.io/open-data-contract-standard).
The pipeline enforces a part of the standard; what it would ignore although it changes the meaning of data is
refused with a message instead, so that a contract never promises more than is kept. ``docs/contracts.md``
tells data owners how to write one.

Some things are this project's own reading of the standard:

- ``classification: PII`` needs a custom property ``piiTreatment`` with the value ``hash`` (HMAC-SHA256 of the
  exact text, hexadecimal), ``mask`` (the constant ``***``) or ``drop`` (the column is not in Semantic);
- ``transformSourceObjects`` has one entry, the Curated column that the property is read from;
- the contract's custom property ``volume`` is ``high`` (default) or ``low``: a topic of few events a day,
  whose tables are partitioned by month when they are created (docs/adr/0006);
- ``slaProperties`` with ``property: retention`` say how long tables keep rows, and the custom property
  ``lateEvents`` what becomes of an event that is past on arrival (``common.contract.retention``);
- ``slaProperties`` with ``property: latency`` say how late they may be (``common.contract.promises``);
- ``quality`` has rules about all rows together (``common.contract.quality``).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal, get_args

import yaml
from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject, SchemaProperty
from pydantic import ValidationError
from pyiceberg.types import NestedField

from common.contract.column_comments import column_comment, fits
from common.contract.limits import contradiction, impossible_values
from common.contract.promises import Promise, read_promise
from common.contract.properties import PROPERTY_CUSTOM, Property, read_property, repeated, understood
from common.contract.quality import QualityRule, notes, read_quality
from common.contract.retention import FOR_GOOD, Retention, doubts, read_retention
from common.contract.suspicion import suspicious_name
from common.contract.yaml_bounds import check_bounds
from common.runtime.errors import ContractError

_NUMBER: Final = r"(0|[1-9][0-9]{0,8})"
_VERSION: Final = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")
# Longer integers say nothing about any column (the widest has 38 digits), and Python would not print them.
_INTEGER_BITS: Final = 4096
_CUSTOM: Final = frozenset({"volume", "lateEvents"})
_PROPERTY: Final = "property "


@dataclass(frozen=True)
class Contract:
    """The contract of one topic, in the order of the file.

    ``low_volume``: few events a day. ``retention``: how long its tables keep rows. ``promise``: how late they
    may be, None where it does not say. ``quality``: rules about all rows together.
    """

    topic: str
    version: str
    properties: tuple[Property, ...]
    low_volume: bool = False
    retention: Retention = FOR_GOOD
    promise: Promise | None = None
    quality: tuple[QualityRule, ...] = ()

    @property
    def major(self) -> int:
        """Major number of the version: only a new one may break readers."""
        return self.version_key[0]

    @cached_property
    def version_key(self) -> tuple[int, int, int]:
        """The version as numbers, which sort as versions do."""
        major, minor, patch = (int(part) for part in self.version.split("."))
        return major, minor, patch

    def semantic_columns(self) -> list[NestedField]:
        """The contract's columns of the Semantic table, in order.

        Field ids are placeholders from 1 on: ``TableSpec.with_columns`` and schema evolution assign the real
        ones. Every column is optional in Iceberg's sense, so that a contract can be relaxed without
        rewriting a table; ``required`` and ``criticalDataElement`` are enforced when a row is cast.
        """
        stored = [(p, p.column_type) for p in self.properties]
        kept = [(p, column_type) for p, column_type in stored if column_type is not None]
        return [
            NestedField(field_id, p.name, column_type, required=False, doc=column_comment(p.description))
            for field_id, (p, column_type) in enumerate(kept, start=1)
        ]


@dataclass(frozen=True)
class Finding:
    """What a linter says about a contract: ``error`` stops a merge, ``warning`` and ``note`` do not.

    ``line`` and ``column``: where the property that it is about begins, from 1; None for anything else.
    """

    severity: Literal["error", "warning", "note"]
    where: str
    message: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = "" if self.line is None else f" (line {self.line}, column {self.column})"
        return f"{self.severity}: {self.where}{place}: {self.message}"


def load_contract(text: str, topic: str) -> Contract:
    """Read the contract of ``topic``; raises ContractError naming every file part that is wrong."""
    contract, findings = _read(text, topic)
    errors = [f for f in findings if f.severity == "error"]
    if contract is None or errors:
        raise ContractError("; ".join(f"contracts/{topic}.yaml: {f.where}: {f.message}" for f in errors))
    return contract


def lint(text: str, topic: str) -> list[Finding]:
    """Everything a data owner should know about the contract text, errors first; never raises for content."""
    order = get_args(Finding.__annotations__["severity"])
    findings = _read(text, topic)[1]
    if any(finding.where.startswith(_PROPERTY) for finding in findings):
        places = _places(text)
        for number, finding in enumerate(findings):
            line, column = places.get(finding.where, (None, None))
            findings[number] = replace(finding, line=line, column=column)
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def _places(text: str) -> dict[str, tuple[int, int]]:
    """Line and column of every property, by what findings call it; of one that is there twice, the first."""
    document: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    schema = _member(document, "schema")
    properties = _member(schema.value[0], "properties") if schema and schema.value else None
    places: dict[str, tuple[int, int]] = {}
    for number, node in enumerate(properties.value if properties else (), start=1):
        name = _member(node, "name")
        where = f"{_PROPERTY}{name.value if name else f'number {number}'}"
        mark = node.start_mark
        places.setdefault(where, (mark.line + 1, mark.column + 1))
    return places


def _member(mapping: Any, name: str) -> Any:
    pairs = mapping.value if isinstance(mapping, yaml.MappingNode) else ()
    return next((value for key, value in pairs if key.value == name), None)


def _read(text: str, topic: str) -> tuple[Contract | None, list[Finding]]:
    """The contract, or None where the file as a whole cannot be read, and all findings."""
    try:
        raw = _mapping(text)
        document = OpenDataContractStandard(**raw)
        table = _table(document, topic)
        low_volume = _low_volume(document)
        retention = read_retention(document, topic)
    except (yaml.YAMLError, ContractError) as error:
        return None, [Finding("error", "file", str(error))]
    except ValidationError as error:
        return None, [
            Finding("error", ".".join(str(part) for part in e["loc"]), f"{e['msg']}, found {e['input']!r}")
            for e in error.errors()
        ]
    dumped = document.model_dump(by_alias=True, exclude_unset=True)
    findings = [
        Finding(
            "error",
            path,
            "expected a field of the standard (v3), found a name it does not have; check its spelling",
        )
        for path in _unknown_keys(raw, dumped, "")
    ]
    properties = []
    for index, source in enumerate(table.properties or []):
        where = f"property {source.name or f'number {index + 1}'}"
        try:
            properties.append(read := read_property(source))
        except ContractError as error:
            findings.append(Finding("error", where, str(error)))
        else:
            if reason := contradiction(read):
                findings.append(Finding("error", where, f"{reason}; no value can keep to that"))
            elif never := impossible_values(read):
                message = f"enum: {', '.join(never)} can never occur, since type or limits rule it out"
                findings.append(Finding("warning", where, message))
        findings += [Finding("warning", where, message) for message in _doubts(source)]
        findings += [Finding("note", where, message) for message in _understood(source)]
    rules, of_rules = _quality(table, properties)
    findings += of_rules
    findings += _laid_open(properties)
    findings += [Finding("warning", where, doubt) for where, doubt in _document_doubts(document)]
    findings += [Finding("warning", where, doubt) for where, doubt in doubts(document, retention, topic)]
    findings += [
        Finding("error", f"property {name}", "expected each name once, found it again")
        for name in repeated(p.name for p in properties)
    ]
    version, promise = document.version or "", read_promise(document)
    return Contract(topic, version, tuple(properties), low_volume, retention, promise, rules), findings


def _mapping(text: str) -> dict[str, Any]:
    check_bounds(text)
    raw = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506  # nosec B506 # a SafeLoader that also refuses repeated keys
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise ContractError(f"expected a YAML mapping with text keys, found {type(raw).__name__}")
    return raw


def _table(document: OpenDataContractStandard, topic: str) -> SchemaObject:
    """The one schema object of the document, its head checked."""
    checks: tuple[tuple[str, object, bool, str], ...] = (
        ("kind", document.kind, document.kind == "DataContract", "DataContract"),
        ("apiVersion", document.apiVersion, str(document.apiVersion).startswith("v3."), "v3.x.y"),
        ("id", document.id, bool(document.id), "a stable identifier"),
        ("version", document.version, bool(_VERSION.fullmatch(document.version or "")), "major.minor.patch"),
    )  # fmt: skip
    for name, found, holds, expected in checks:
        if not holds:
            raise ContractError(f"{name}: expected {expected}, found {found!r}")
    objects = document.schema_ or []
    if len(objects) != 1 or objects[0].name != topic:
        raise ContractError(
            f"schema: expected exactly one object named {topic!r} (one file, one topic), "
            f"found {[o.name for o in objects]}"
        )
    if not objects[0].properties:
        raise ContractError("schema: expected at least one property, found none")
    return objects[0]


def _quality(
    table: SchemaObject, properties: Sequence[Property]
) -> tuple[tuple[QualityRule, ...], list[Finding]]:
    """The rules of the table and of its properties, and what there is to say of them."""
    columns = {p.name: p.column_type for p in properties if p.column_type is not None}
    rules: list[QualityRule] = []
    findings = []
    of_properties = [
        (f"{_PROPERTY}{p.name}", (p.name or "").lower(), p.quality) for p in table.properties or []
    ]
    read = {p.name for p in properties}
    for where, column, stated in [("quality", None, table.quality), *of_properties]:
        if column is not None and column not in read:
            continue  # what is wrong with the property is said already
        for number, one in enumerate(stated or [], start=1):
            place = f"quality, rule {number}: " if column is not None else f"rule {number}: "
            try:
                rule = read_quality(one, column, columns)
            except ContractError as error:
                findings.append(Finding("error", where, f"{place}{error}"))
                continue
            if rule is not None and rule.name in {known.name for known in rules}:
                message = f"{place}expected a name of its own, found {rule.name!r} again; state a name"
                findings.append(Finding("error", where, message))
            elif rule is not None:
                rules.append(rule)
            findings += [Finding("note", where, f"{place}{note}") for note in notes(one)]
    return tuple(rules), findings


def _low_volume(document: OpenDataContractStandard) -> bool:
    stated = [c.value for c in document.customProperties or [] if c.property == "volume"] or ["high"]
    if len(stated) != 1 or stated[0] not in ("high", "low"):
        raise ContractError(f"customProperties, volume: expected high or low, once, found {stated}")
    return bool(stated[0] == "low")


def _document_doubts(document: OpenDataContractStandard) -> Iterator[tuple[str, str]]:
    """Custom properties of the contract that nothing reads: one of ours, misspelled, would look like that."""
    for name in sorted({str(c.property) for c in document.customProperties or []} - _CUSTOM):
        yield f"customProperties, {name}", "documented to readers, not enforced by the pipeline"


def _laid_open(properties: list[Property]) -> Iterator[Finding]:
    """Properties that publish in clear what another one treats as personal data: one source, two opinions."""
    treated = {p.source: p for p in properties if p.pii is not None}
    for p in properties:
        if p.pii is None and (other := treated.get(p.source)):
            yield Finding(
                "error",
                f"property {p.name}",
                f"expected classification: PII as {other.name} has it, which reads the same source "
                f"{p.source}, found the value in clear",
            )


def _understood(source: SchemaProperty) -> Iterator[str]:
    """What the property says in other words than this project's."""
    if message := understood(source):
        yield message
    if source.name and source.name != source.name.lower():
        yield f"the column is {source.name.lower()}, as Curated and AWS Glue have it"


def _doubts(source: SchemaProperty) -> Iterator[str]:
    """What is allowed and yet deserves a second look."""
    if source.description is None:
        yield "no description: analysts see it as the column's comment"
    elif not fits(" ".join(source.description.split())):
        yield "the description is long: the column's comment ends after 255 bytes (a limit of AWS Glue)"
    if source.classification is None and suspicious_name(source.name or ""):
        yield "the name suggests personal data; state a classification (PII or another) to settle it"
    for name in sorted({str(c.property) for c in source.customProperties or []} - PROPERTY_CUSTOM):
        yield f"customProperties, {name}: documented to readers, not enforced by the pipeline"
    ignored = ("unique", "primaryKey", "transformLogic", "relationships", "properties", "items")
    if stated := [name for name in ignored if getattr(source, name)]:
        yield f"{', '.join(stated)}: documented to readers, not enforced by the pipeline"


def _unknown_keys(raw: object, read: object, path: str) -> Iterator[str]:
    """Paths that the file has and the standard's model did not take: misspelled fields vanish otherwise."""
    if isinstance(raw, dict) and isinstance(read, dict):
        for key, value in raw.items():
            where = f"{path}.{key}" if path else str(key)
            if key in read:
                yield from _unknown_keys(value, read[key], where)
            else:
                yield where
    elif isinstance(raw, list) and isinstance(read, list):
        for index, (one, other) in enumerate(zip(raw, read, strict=True)):
            name = one.get("name", index) if isinstance(one, dict) else index
            yield from _unknown_keys(one, other, f"{path}[{name}]")


class _UniqueKeys(yaml.SafeLoader):
    """A safe YAML loader that refuses a key written twice, where YAML libraries silently keep the last.

    A value that YAML takes for another kind and cannot read as one (2026-02-30, !!int x) is a ContractError
    with its line, not an accident of the library.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node; raises ContractError where it cannot be read, or is an endless integer."""
        try:
            value = super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise ContractError(
                f"line {node.start_mark.line + 1}: expected a value that YAML can read as "
                f"{node.tag.rpartition(':')[2]}, found another; put it in quotes if it is text"
            ) from error
        if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
            line = node.start_mark.line + 1
            raise ContractError(f"line {line}: expected a number of at most 1,233 digits, found a longer one")
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping; raises ContractError where a key is written twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if again := repeated([str(key) for key in keys]):
            line = node.start_mark.line + 1
            raise ContractError(f"line {line}: expected each key once, found {', '.join(again)} again")
        return super().construct_mapping(node, deep)
