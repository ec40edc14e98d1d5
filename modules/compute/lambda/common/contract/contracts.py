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
- the custom property ``sparkFromRows`` says from how many rows on a backlog of this topic runs on Spark, or
  ``never``, in place of what the environment says of all topics (docs/adr/0029);
- ``slaProperties`` with ``property: retention`` say how long tables keep rows, and the custom property
  ``lateEvents`` what becomes of an event that is past on arrival (``common.contract.retention``);
- ``slaProperties`` with ``property: latency`` say how late they may be (``common.contract.promises``);
- ``quality`` has rules about all rows together (``common.contract.quality``).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import yaml
from open_data_contract_standard.model import (
    DataQuality,
    OpenDataContractStandard,
    SchemaObject,
    SchemaProperty,
)
from pydantic import ValidationError
from pyiceberg.types import NestedField

from common.contract.column_comments import column_comment, fits
from common.contract.limits import contradiction, impossible_values
from common.contract.problems import PROPERTY, Finding, Problems, Step, located
from common.contract.promises import Promise, read_promise
from common.contract.properties import (
    PROPERTY_CUSTOM,
    SAID_ONLY,
    Property,
    read_property,
    repeated,
    understood,
)
from common.contract.quality import QualityRule, notes, read_quality
from common.contract.retention import FOR_GOOD, Retention, doubts, read_retention
from common.contract.suspicion import suspicious_name
from common.contract.yaml_bounds import check_bounds
from common.runtime.errors import ContractError

_NUMBER: Final = r"(0|[1-9][0-9]{0,8})"
_VERSION: Final = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")
# Longer integers say nothing about any column (the widest has 38 digits), and Python would not print them.
_INTEGER_BITS: Final = 4096
_FROM_ROWS: Final = "sparkFromRows"
_CUSTOM: Final = frozenset({"volume", "lateEvents", _FROM_ROWS})
NEVER: Final = 2**63 - 1
"""Rows of a backlog that is never reached: more than a table can count."""
_SEVERITIES: Final = ("error", "warning", "note")


@dataclass(frozen=True)
class Contract:
    """The contract of one topic, in the order of the file.

    ``low_volume``: few events a day. ``retention``: how long its tables keep rows. ``promise``: how late they
    may be, None where it does not say. ``quality``: rules about all rows together. ``spark_from_rows``: rows
    from which on a backlog runs on Spark, None where the environment's thresholds count.
    """

    topic: str
    version: str
    properties: tuple[Property, ...]
    low_volume: bool = False
    retention: Retention = FOR_GOOD
    promise: Promise | None = None
    quality: tuple[QualityRule, ...] = ()
    spark_from_rows: int | None = None

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


def load_contract(text: str, topic: str) -> Contract:
    """Read the contract of ``topic``; raises ContractError naming every file part that is wrong."""
    contract, findings = _read(text, topic)
    errors = [f for f in findings if f.severity == "error"]
    if contract is None or errors:
        raise ContractError("; ".join(f"contracts/{topic}.yaml: {f.where}: {f.message}" for f in errors))
    return contract


def lint(text: str, topic: str) -> list[Finding]:
    """Everything a data owner should know about the contract text, errors first; never raises for content.

    Each finding has the line and column that it is about, where there is one.
    """
    findings = _read(text, topic)[1]
    if any(finding.path for finding in findings):
        findings = located(findings, text)
    return sorted(findings, key=lambda finding: _SEVERITIES.index(finding.severity))


def _read(text: str, topic: str) -> tuple[Contract | None, list[Finding]]:
    """The contract, or None where the file as a whole cannot be read, and all findings."""
    problems = Problems("file")
    try:
        raw = _mapping(text)
        document = _document(raw, problems)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (None, None)
        return None, [Finding("error", "file", f"expected YAML, found that it has {error.problem}", *place)]
    except (yaml.YAMLError, ContractError) as error:
        return None, [Finding("error", "file", str(error))]
    if document is None:
        return None, problems.found
    dumped = document.model_dump(by_alias=True, exclude_unset=True)
    for where, path in _unknown_keys(raw, dumped, "", ()):
        message = "expected a field of the standard (v3), found a name it does not have; check its spelling"
        problems.part(where, *path).say("error", message)
    _check_head(document, problems)
    return _contract(document, topic, problems), problems.found


def _contract(document: OpenDataContractStandard, topic: str, problems: Problems) -> Contract:
    """The contract that the document is, as far as it can be read; ``problems`` has what there is to say."""
    table = _table(document, topic, problems)
    low_volume = False
    with problems.part("customProperties, volume", "customProperties").at():
        low_volume = _low_volume(document)
    spark_from_rows = None
    with problems.part(f"customProperties, {_FROM_ROWS}", "customProperties").at():
        spark_from_rows = _spark_from_rows(document)
    retention = read_retention(document, topic, problems)
    properties = _properties((table.properties if table else None) or [], problems)
    rules = _quality(table, properties, problems) if table else ()
    problems.found.extend(_laid_open(properties))
    for where, doubt in (*_document_doubts(document), *doubts(document, retention, topic)):
        problems.part(where, where.partition(",")[0]).say("warning", doubt)
    if table and table.physicalName and table.physicalName.lower() != f"semantic_{topic}":
        problems.part("physicalName", "schema", 0, "physicalName").say(
            "warning", f"documented to readers; the table is semantic_{topic}"
        )
    promise = read_promise(document)
    version = document.version or ""
    return Contract(topic, version, tuple(properties), low_volume, retention, promise, rules, spark_from_rows)


def _properties(stated: Sequence[SchemaProperty], problems: Problems) -> list[Property]:
    properties: list[Property] = []
    for index, source in enumerate(stated):
        where = f"{PROPERTY}{source.name or f'number {index + 1}'}"
        of_property = problems.part(where, "schema", 0, "properties", index)
        read = read_property(source, of_property)
        if read is not None:
            if read.name in {known.name for known in properties}:
                of_property.say("error", "expected each name once, found it again")
            properties.append(read)
            _possible(read, of_property)
        for message in _doubts(source):
            of_property.say("warning", message)
        for message in _understood(source):
            of_property.say("note", message)
    return properties


def _document(raw: dict[str, Any], problems: Problems) -> OpenDataContractStandard | None:
    """The document as the standard's model has it, without what the model refuses, which ``problems`` has.

    None where nothing is left that it could be without.
    """
    while True:
        try:
            return OpenDataContractStandard(**raw)
        except ValidationError as error:
            refused = error.errors()
        for one in refused:
            where = problems.part(".".join(str(step) for step in one["loc"]), *one["loc"])
            where.say("error", f"{one['msg']}, found {one['input']!r}")
        places = {
            (id(holder), key): (holder, key) for one in refused for holder, key in _place(raw, one["loc"])
        }
        if not places:
            return None
        for _, (holder, key) in sorted(
            places.items(), key=lambda place: str(place[0][1]).zfill(9), reverse=True
        ):
            del holder[key]  # of a list the last ones first, so that the others keep their places


def _place(raw: dict[str, Any], path: tuple[Step, ...]) -> Iterator[tuple[Any, Any]]:
    """Container and key of what stands at a path of the model, which names members of unions besides keys."""
    found, node = None, raw
    for step in path:
        if not _has(node, step):
            break
        found, node = (node, step), node[step]  # type: ignore[index]  # it has the step
    if found is not None:
        yield found


def _has(node: object, step: Step) -> bool:
    if isinstance(node, dict):
        return step in node
    return isinstance(node, list) and isinstance(step, int) and step < len(node)


def _possible(read: Property, problems: Problems) -> None:
    """Say where no value, or none of some, can keep to what the property says."""
    if reason := contradiction(read):
        problems.say("error", f"{reason}; no value can keep to that")
    elif never := impossible_values(read):
        message = f"enum: {', '.join(never)} can never occur, since type or limits rule it out"
        problems.say("warning", message, "enum")


def _mapping(text: str) -> dict[str, Any]:
    check_bounds(text)
    raw = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506  # nosec B506 # a SafeLoader that also refuses repeated keys
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise ContractError(f"expected a YAML mapping with text keys, found {type(raw).__name__}")
    return raw


def _check_head(document: OpenDataContractStandard, problems: Problems) -> None:
    """What every contract has above its schema."""
    checks: tuple[tuple[str, object, bool, str], ...] = (
        ("kind", document.kind, document.kind == "DataContract", "DataContract"),
        ("apiVersion", document.apiVersion, str(document.apiVersion).startswith("v3."), "v3.x.y"),
        ("id", document.id, bool(document.id), "a stable identifier"),
        ("version", document.version, bool(_VERSION.fullmatch(document.version or "")), "major.minor.patch"),
    )  # fmt: skip
    for name, found, holds, expected in checks:
        if not holds:
            problems.part(name, name).say("error", f"expected {expected}, found {found!r}")


def _table(document: OpenDataContractStandard, topic: str, problems: Problems) -> SchemaObject | None:
    """The one schema object of the document; None where it is another number of them."""
    objects = document.schema_ or []
    of_schema = problems.part("schema", "schema")
    if len(objects) != 1 or objects[0].name != topic:
        of_schema.say(
            "error",
            f"expected exactly one object named {topic!r} (one file, one topic), found "
            f"{[o.name for o in objects]}",
        )
    if len(objects) != 1:
        return None
    if not objects[0].properties:
        of_schema.say("error", "expected at least one property, found none", 0)
    return objects[0]


def _quality(
    table: SchemaObject, properties: Sequence[Property], problems: Problems
) -> tuple[QualityRule, ...]:
    """The rules of the table and of its properties; what there is to say of them is in ``problems``."""
    columns = {p.name: p.column_type for p in properties if p.column_type is not None}
    rules: list[QualityRule] = []
    read = {p.name for p in properties}
    parts: list[tuple[Problems, str | None, list[DataQuality] | None]] = [
        (problems.part("quality", "schema", 0), None, table.quality)
    ]
    parts += [
        (
            problems.part(f"{PROPERTY}{p.name}", "schema", 0, "properties", at),
            (p.name or "").lower(),
            p.quality,
        )
        for at, p in enumerate(table.properties or [])
    ]
    for part, column, stated in parts:
        if column is not None and column not in read:
            continue  # what is wrong with the property is said already
        for number, one in enumerate(stated or [], start=1):
            place, path = (
                f"quality, rule {number}: " if column is not None else f"rule {number}: ",
                ("quality", number - 1),
            )
            try:
                rule = read_quality(one, column, columns)
            except ContractError as error:
                part.say("error", f"{place}{error}", *path)
                continue
            if rule is not None and rule.name in {known.name for known in rules}:
                message = f"{place}expected a name of its own, found {rule.name!r} again; state a name"
                part.say("error", message, *path)
            elif rule is not None:
                rules.append(rule)
            for severity, note in notes(one):
                part.say(severity, f"{place}{note}", *path)
    return tuple(rules)


def _low_volume(document: OpenDataContractStandard) -> bool:
    stated = [c.value for c in document.customProperties or [] if c.property == "volume"] or ["high"]
    if len(stated) != 1 or stated[0] not in ("high", "low"):
        raise ContractError(f"expected high or low, once, found {stated}")
    return bool(stated[0] == "low")


def _spark_from_rows(document: OpenDataContractStandard) -> int | None:
    stated = [c.value for c in document.customProperties or [] if c.property == _FROM_ROWS]
    if not stated:
        return None
    text = str(stated[0])
    if len(stated) == 1 and (text == "never" or re.fullmatch(r"[1-9][0-9]{0,17}", text)):
        return NEVER if text == "never" else int(text)
    raise ContractError(f"expected a whole number of rows, at least 1, or never, once, found {stated}")


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
    yield from understood(source)
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
    options = set(source.logicalTypeOptions or {})
    if said := sorted(options & set(SAID_ONLY.get(source.logicalType or "", ()))):
        yield f"logicalTypeOptions, {', '.join(said)}: documented to readers, not enforced by the pipeline"
    if source.logicalType == "object" and options:
        yield (
            "only empty objects come into this column, since the fields of others are columns of their own "
            "(docs/contracts.md): list those as properties"
        )
    ignored = (
        *("unique", "primaryKey", "transformLogic", "relationships", "properties", "items"),
        *("partitioned", "physicalName", "encryptedName"),
    )
    if stated := [name for name in ignored if getattr(source, name)]:
        yield f"{', '.join(stated)}: documented to readers, not enforced by the pipeline"


def _unknown_keys(
    raw: object, read: object, where: str, path: tuple[str | int, ...]
) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """What the file has and the standard's model did not take: misspelled fields vanish otherwise."""
    if isinstance(raw, dict) and isinstance(read, dict):
        for key, value in raw.items():
            named = f"{where}.{key}" if where else str(key)
            if key in read:
                yield from _unknown_keys(value, read[key], named, (*path, str(key)))
            else:
                yield named, (*path, str(key))
    elif isinstance(raw, list) and isinstance(read, list):
        for index, (one, other) in enumerate(zip(raw, read, strict=True)):
            name = one.get("name", index) if isinstance(one, dict) else index
            yield from _unknown_keys(one, other, f"{where}[{name}]", (*path, index))


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
