"""Checks of the lake: tables against their specifications, checkpoints against tables, leases, operations."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from pyiceberg.exceptions import ResolveError
from pyiceberg.schema import promote
from pyiceberg.table import Table

from common.contract.contracts import Contract, load_contract
from common.contract.store import contract_exists, read_contract
from common.lake.checkpoints import NOTHING
from common.lake.history import lineage
from common.lake.specifications import LAYERS, OPERATIONS, OPERATIONS_LAYER, TableSpec
from common.layers.lease import described
from common.runtime import outside
from common.runtime.errors import ContractError, TableMissing
from lean_ops.environment import audit
from lean_ops.environment.lake import TableUnreadable, open_whole
from lean_ops.environment.repository import TABLE_SPECIFICATIONS, contract_files
from lean_ops.environment.target import Target
from lean_ops.operate import checkpoints, leases
from lean_ops.operate.checkpoints import LayerCheckpoint, MergedLayer, time_of
from lean_ops.operate.doctor.findings import Finding, Severity
from lean_ops.operate.holds import places

# Of one table: more take longer to read than a person waits for.
MANIFESTS: Final = 50
_LAG: Final = timedelta(minutes=45)  # three times the schedule
_LONG_RUN: Final = timedelta(hours=2)
_SILENT: Final = timedelta(minutes=10)  # a living operation gives a sign every few seconds


def tables(target: Target, *, thorough: bool = False) -> Iterator[Finding]:
    """Every table that should be there is, can be read, and is as specified.

    Of many manifests the newest are read, which the last commits wrote; all of them where ``thorough``.
    """
    catalog = target.catalog()
    for identifier, spec, contract in _expected(target):
        try:
            table = open_whole(catalog, identifier, newest=None if thorough else MANIFESTS)
        except TableMissing:
            yield Finding(identifier, "expected the table, found none", target.deploy_advice)
            continue
        except TableUnreadable as error:
            yield Finding(identifier, str(error), "docs/runbook.md, A table that cannot be read")
            continue
        if not thorough:
            yield from _unread(table, identifier)
        yield from differences(table, spec, identifier)
        if contract is not None:
            yield from _promises(table, contract, identifier)


def _expected(target: Target) -> Iterator[tuple[str, TableSpec, Contract | None]]:
    """Every table that should be there, by its specification; a Semantic table with its contract."""
    for topic in target.topics:
        contract = _contract(target, topic)
        low_volume = contract is not None and contract.low_volume
        for layer in LAYERS if contract else ("raw", "curated"):
            spec = TableSpec.load(TABLE_SPECIFICATIONS, layer, low_volume=low_volume)
            yield target.settings.table(layer, topic), spec, contract if layer == "semantic" else None
    for name in OPERATIONS:
        spec = TableSpec.load(TABLE_SPECIFICATIONS, f"{OPERATIONS_LAYER}_{name}")
        yield target.settings.table(OPERATIONS_LAYER, name), spec, None


def _unread(table: Table, identifier: str) -> Iterator[Finding]:
    snapshot = table.current_snapshot()
    manifests = len(snapshot.manifests(table.io)) if snapshot else 0
    if manifests > MANIFESTS:
        yield Finding(
            identifier,
            f"looked at the newest {MANIFESTS} of its {manifests:,} manifests",
            "`lean-ops doctor --thorough` reads all; `lean-ops maintain` makes fewer of them",
            Severity.NOTE,
        )


def differences(table: Table, spec: TableSpec, identifier: str) -> Iterator[Finding]:
    """What a table has otherwise than specified; columns beside the specified ones are its own."""
    if table.metadata.format_version != 2:
        yield Finding(
            identifier,
            f"expected Iceberg format version 2 (Firehose, Athena and Snowflake read no further), found "
            f"{table.metadata.format_version}",
            "a format cannot go back: create the table anew and `lean-ops rebuild` it",
        )
    schema = table.schema()
    for field in spec.schema.fields:
        found = schema.find_field(field.name).field_type if field.name in schema.column_names else None
        if found != field.field_type:
            yield Finding(
                identifier,
                f"expected column {field.name} of type {field.field_type}, found {found or 'none'}",
                "add it by an Iceberg schema update; runs of this topic fail until then",
            )
    expected = _partitions(spec)
    found_partitions = [(schema.find_column_name(f.source_id), str(f.transform)) for f in table.spec().fields]
    if found_partitions != expected:
        yield Finding(
            identifier,
            f"expected partitions {_spelled(expected)}, found {_spelled(found_partitions)}",
            "the volume of a contract counts when a table is created (docs/adr/0006); merges go on, with "
            "other files than meant",
        )
    for name, value in spec.properties.items():
        if name == "format-version":
            continue
        if (kept := table.properties.get(name)) != value:
            yield Finding(
                identifier,
                f"expected property {name} = {value}, found {kept or 'nothing'}",
                "set it again by an Iceberg property update (Athena: ALTER TABLE … SET TBLPROPERTIES)",
            )


def _promises(table: Table, contract: Contract, identifier: str) -> Iterator[Finding]:
    """Types of Semantic that are not the contract's; the next run adds columns that are missing."""
    schema = table.schema()
    for column in contract.semantic_columns():
        if column.name not in schema.column_names:
            continue
        found = schema.find_type(column.name)
        if found == column.field_type:
            continue
        wrong = f"expected column {column.name} of the contract's type {column.field_type}, found {found}"
        try:
            promote(found, column.field_type)
        except ResolveError:
            yield Finding(
                identifier,
                f"{wrong}, which does not widen to it: runs of this topic fail",
                f"`lean-ops rebuild --layer semantic --topic {contract.topic}`, or publish the type under "
                "a new column name",
            )
        else:
            yield Finding(identifier, wrong, "the next run that has rows widens it", Severity.NOTE)


def progress(target: Target) -> Iterator[Finding]:
    """Checkpoints speak of snapshots that are there, and no layer is far behind its source."""
    catalog = target.catalog()
    for topic in target.topics:
        promise = _promise(target, topic)
        for layer in MergedLayer:
            try:
                open_whole(catalog, target.settings.table(layer, topic), newest=MANIFESTS)
                source = open_whole(catalog, target.settings.table(layer.source, topic), newest=MANIFESTS)
            except (TableMissing, TableUnreadable):
                continue  # the check of tables says so
            yield from _about(checkpoints.read(target, topic, layer), source, promise)


def holds(target: Target) -> Iterator[Finding]:
    """No topic is on hold, nor a rebuild of one, and no run takes unusually long."""
    client = target.client("stepfunctions")
    for topic in target.topics:
        lease = leases.read(target, topic)
        if lease.damage:
            yield Finding(
                f"topic {topic}", lease.damage, f"`lean-ops run --topic {topic}` does so now", Severity.NOTE
            )
        if lease.hold:
            yield Finding(
                f"topic {topic}",
                lease.hold,
                lease.way_out,
            )
        for place in places(target, topic):
            for hold in place.holds() if place.kind != "lease" else ():
                yield Finding(place.name, hold.describe(), hold.way_out(topic), Severity.NOTE)
        if lease.status == "RUNNING":
            found = described(client, lease.holder)
            if found and outside.now() - (begun := found["startDate"]) > _LONG_RUN:
                yield Finding(
                    f"topic {topic}",
                    f"a run is in progress since {begun:%Y-%m-%d %H:%M}: {lease.holder}",
                    f"`lean-ops stop --topic {topic}` ends it; the next run takes over",
                )


def operations(target: Target) -> Iterator[Finding]:
    """No operation was killed half-way, no rebuild waits."""
    now = outside.now()
    for entry in audit.entries(target, limit=50):
        if entry.operation == audit.UNREADABLE:
            yield Finding(
                f"operation {entry.operation_id}",
                f"found {entry.error}",
                f"look at the item in {target.audit_table}; no operation waits for it",
                Severity.NOTE,
            )
        if entry.outcome is audit.Outcome.STARTED and now - entry.seen_at > _SILENT:
            yield Finding(
                f"operation {entry.operation_id}",
                f"{entry.operation} gave its last sign at {entry.seen_at:%Y-%m-%d %H:%M} and never ended",
                "run it again: every operation goes on or repeats nothing",
                Severity.NOTE,
            )
    catalog = target.catalog()
    for topic in target.topics:
        for layer in MergedLayer:
            identifier = target.settings.rebuild_table(layer, topic)
            if catalog.table_exists(identifier):
                yield Finding(
                    identifier,
                    "a rebuild was begun and neither swapped in nor removed",
                    f"`lean-ops rebuild --layer {layer} --topic {topic}` with --yes to swap it in, with "
                    "--discard to remove it",
                    Severity.NOTE,
                )


def _about(found: LayerCheckpoint, source: Table, promise: timedelta | None) -> Iterator[Finding]:
    subject = f"{found.topic}: {found.layer}"
    counts = found.counts
    if found.damage:
        yield Finding(subject, found.damage, f"`lean-ops run --topic {found.topic}`", Severity.NOTE)
    if found.snapshots_behind is None:
        yield Finding(
            subject,
            f"its checkpoint {counts.token if counts else NOTHING} is not in the history of "
            f"{found.layer.source} (expired, or rolled back): the next run reads all of it",
            "`lean-ops run` does; it repeats nothing. See docs/runbook.md, Tables and checkpoints",
        )
        return
    unread = list(lineage(source))[: found.snapshots_behind]
    since = time_of(unread[-1]) if unread else None
    if since is not None and outside.now() - since > (promise or _LAG):
        minutes = promise.total_seconds() / 60 if promise else 0
        promised = f", and the contract promises them within {minutes:,.0f} min" if promise else ""
        yield Finding(
            subject,
            f"{found.rows_behind:,} rows of {found.layer.source} are unread since {since:%Y-%m-%d %H:%M}"
            f"{promised}",
            f"`lean-ops run --topic {found.topic}` and see where it ends",
        )
    if counts is not None and counts.rewound and found.snapshots_behind:
        yield Finding(
            subject,
            f"its checkpoint was set back to {counts.token}",
            f"`lean-ops run --topic {found.topic}` reads from there",
            Severity.NOTE,
        )


def _promise(target: Target, topic: str) -> timedelta | None:
    """How late the contract says that rows may be; None where it does not, or is wrong (another check)."""
    try:
        contract = _contract(target, topic)
    except ContractError:
        return None
    return contract.promise.within if contract and contract.promise else None


def _contract(target: Target, topic: str) -> Contract | None:
    """The deployed contract, or this checkout's where that is missing or wrong (which is another check)."""
    s3, files = target.client("s3"), contract_files()
    try:
        if contract_exists(s3, target.lake_bucket, topic):
            return load_contract(read_contract(s3, target.lake_bucket, topic), topic)
    except ContractError:
        if topic not in files:
            raise
    return load_contract(files[topic].read_text(), topic) if topic in files else None


def _partitions(spec: TableSpec) -> list[tuple[str | None, str]]:
    return [
        (spec.schema.find_column_name(field.source_id), str(field.transform))
        for field in spec.partition_spec.fields
    ]


def _spelled(partitions: list[tuple[str | None, str]]) -> str:
    return ", ".join(f"{transform}({column})" for column, transform in partitions) or "none"
