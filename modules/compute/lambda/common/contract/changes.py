"""What a new version of a contract means for those who read the Semantic table.

Semantic versioning over columns: what a reader relied on may only go with a new major version. Adding and
widening are always possible. Which types widen is Iceberg's rule (table spec, "Schema Evolution": int to
long, a decimal to more digits at the same scale); with any other type a column is replaced under its name,
and what was published before follows with a rebuild (docs/adr/0009).
"""

from collections.abc import Iterator
from typing import Final, Literal

from pyiceberg.types import DecimalType, IcebergType, IntegerType, LongType

from common.contract.contracts import Contract, lint, load_contract
from common.contract.problems import PROPERTY, Finding, located
from common.contract.properties import Limits, Property
from common.lake.specifications import LAYERS

# A change and whether readers break by it.
Change = tuple[Literal["breaks", "fits"], str, str]

_LOWER: Final = ("minimum", "exclusive_minimum", "min_length", "min_items")
_UPPER: Final = ("maximum", "exclusive_maximum", "max_length", "max_items")
# Limits without an order, which may only go: what they are called, and what says nothing.
_SHAPES: Final = (("pattern", None), ("multiple_of", None), ("unique_items", False), ("fields", ()))


def review(text: str, topic: str, before: str | None = None) -> list[Finding]:
    """All findings for a contract text: its own, and what it changes against the text of the version before.

    For the command line and for CI; the contract may be merged when none of the findings is an error. Raises
    ContractError where ``before`` cannot be read.
    """
    findings = lint(text, topic)
    if before is None or any(finding.severity == "error" for finding in findings):
        return findings
    return located(compare(load_contract(before, topic), load_contract(text, topic)), text) + findings


def compare(old: Contract, new: Contract) -> list[Finding]:
    """What changed: an error for what breaks readers without a new major version, a note for all else."""
    changes = [(kind, f"{PROPERTY}{name}", message) for kind, name, message in _changes(old, new)]
    changes += _retention_changes(old, new)
    allowed = new.major > old.major
    findings = [
        Finding(
            "error" if kind == "breaks" and not allowed else "note",
            where,
            message
            + (f"; this needs version {old.major + 1}.0.0" if kind == "breaks" and not allowed else ""),
        )
        for kind, where, message in changes
    ]
    if changes and allowed:
        findings.append(
            Finding(
                "note",
                "version",
                "`lean-ops contract publish` brings along the rows that were published before",
            )
        )
    if old.low_volume != new.low_volume:
        findings.append(
            Finding("note", "volume", "changed: existing tables keep their partitions; rebuild them")
        )
    if new.version_key < old.version_key or (findings and new.version_key == old.version_key):
        findings.append(
            Finding(
                "error",
                "version",
                f"expected a version above {old.version}, found {new.version}; raise it",
                path=("version",),
            )
        )
    return sorted(findings, key=lambda finding: finding.severity)


def widens(old: IcebergType, new: IcebergType) -> bool:
    """Whether Iceberg can promote the old column type to the new one in place."""
    if old == new:
        return True
    if isinstance(old, DecimalType) and isinstance(new, DecimalType):
        return old.scale == new.scale and old.precision <= new.precision
    return isinstance(old, IntegerType) and isinstance(new, LongType)


def _changes(old: Contract, new: Contract) -> Iterator[Change]:
    before = {p.name: p for p in old.properties}
    after = {p.name: p for p in new.properties}
    added = [p for name, p in after.items() if name not in before]
    for name, was in before.items():
        if name in after:
            yield from _property_changes(was, after[name])
            continue
        renamed = next((p.name for p in added if p.source == was.source), None)
        yield "breaks", name, f"renamed to {renamed}" if renamed else "dropped"
    for p in added:
        # A critical newcomer sends rows to quarantine that were fine: devices may not send it yet.
        yield "breaks" if p.critical else "fits", p.name, "added, critical" if p.critical else "added"


def _retention_changes(old: Contract, new: Contract) -> Iterator[Change]:
    """Rows that a reader relied on go: as a column may, with a new major version."""
    for layer in LAYERS:
        was, now = old.retention.days.get(layer), new.retention.days.get(layer)
        if was == now:
            continue
        shorter = now is not None and (was is None or now < was)
        earlier, later = ("for good" if days is None else f"for {days} days" for days in (was, now))
        yield (
            "breaks" if shorter else "fits",
            f"retention of {layer}_{new.topic}",
            f"rows were kept {earlier} and are kept {later}"
            + ("" if shorter else "; what was dropped comes back with a rebuild, as far as RAW has it"),
        )
    if old.retention.refuses_late != new.retention.refuses_late:
        yield "fits", "lateEvents", "changed: counts for events that arrive from now on"


def _property_changes(was: Property, now: Property) -> Iterator[Change]:
    name = was.name
    if was.column_type != now.column_type:
        wider = was.column_type and now.column_type and widens(was.column_type, now.column_type)
        kind: Literal["breaks", "fits"] = "fits" if wider else "breaks"
        yield (
            kind,
            name,
            f"type {'widened' if wider else 'changed'} from {was.column_type} to {now.column_type}",
        )
    elif was.value_type != now.value_type and not widens(was.value_type, now.value_type):
        # Hashed, the column stays text: what is read before it is hashed changes all the same.
        yield "breaks", name, f"reads {now.value_type} where it read {was.value_type}, before it is treated"
    elif (was.logical_type, was.temporal_format) != (now.logical_type, now.temporal_format):
        yield "breaks", name, "reads its source in another way (logicalType or format)"
    if was.source != now.source:
        yield "breaks", name, f"source changed from {was.source} to {now.source}"
    if was.pii != now.pii:
        yield "breaks", name, f"{was.pii or 'clear'} values become {now.pii or 'clear'}"
    for word, earlier, later in (
        ("required", was.required, now.required),
        ("critical", was.critical, now.critical),
    ):
        if earlier != later:
            yield "breaks" if later else "fits", name, f"{'now' if later else 'no longer'} {word}"
    yield from _enum_changes(was, now)
    yield from _limit_changes(name, was.limits, now.limits)


def _enum_changes(was: Property, now: Property) -> Iterator[Change]:
    gone = [value for value in was.enum if value not in now.enum] if now.enum else []
    come = [value for value in now.enum if value not in was.enum] if was.enum else []
    if now.enum and not was.enum:
        yield "breaks", was.name, f"enum added: only {', '.join(now.enum)} from now on"
    elif was.enum and not now.enum:
        yield "fits", was.name, "enum removed: any value from now on"
    elif gone:
        yield "breaks", was.name, f"enum loses {', '.join(gone)}"
    if come and now.enum:
        yield "fits", was.name, f"enum gains {', '.join(come)}"


def _limit_changes(name: str, was: Limits, now: Limits) -> Iterator[Change]:
    for limit in (*_LOWER, *_UPPER):
        earlier, later = getattr(was, limit), getattr(now, limit)
        if earlier == later:
            continue
        tighter = later is not None and (
            earlier is None
            or type(earlier) is not type(later)  # the kind of the property changed, which breaks readers too
            or (later > earlier if limit in _LOWER else later < earlier)
        )
        yield "breaks" if tighter else "fits", name, f"{limit} changed from {earlier} to {later}"
    for limit, nothing in _SHAPES:
        earlier, later = getattr(was, limit), getattr(now, limit)
        if earlier != later:
            kind: Literal["breaks", "fits"] = "fits" if later == nothing else "breaks"
            yield kind, name, f"{limit} changed from {earlier} to {later}"
