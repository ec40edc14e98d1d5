"""Semantic of a million rows: what a contract of thirty columns costs to cast and merge.

Curated is what one merge leaves of generated rows, all text; the contract has integers, decimals, doubles,
times, booleans and text. DuckDB casts and merges the same rows in one statement, inexactly: its casts round
decimals, and refuse and quarantine nothing.
"""

from pathlib import Path

import workload
from duckdb_extensions import import_extension
from pyiceberg.catalog.sql import SqlCatalog

from common.contract.contracts import Contract, load_contract
from common.lake.merge import StagedSource, merge
from common.lake.rule import EVENT_RULE
from common.lake.specifications import TableSpec

IDENTIFIER = "lake.semantic_events"
ROWS = 1_000_000

_INTEGER = ("integer", "", "bigint", "((hash(n,{i})>>8)%1000000)::varchar")
_DECIMAL = (
    *("number", "decimal(12,2)", "decimal(12,2)"),
    "format('{{:d}}.{{:02d}}', (hash(n,{i})>>8)%100000, (hash(n,{i})>>16)%100)",
)
_DOUBLE = ("number", "double", "double", "format('0.{{:06d}}', (hash(n,{i})>>8)%1000000)")
_TIME = (
    *("timestamp", "", "timestamptz"),
    "strftime(make_timestamp(pub-((hash(n,{i})>>8)%1000000)::bigint*1000000), '%Y-%m-%dT%H:%M:%SZ')",
)
_BOOLEAN = ("boolean", "", "boolean", "(hash(n,{i})%2=0)::varchar")
_TEXT = ("string", "", "varchar", "'some text '||hash(n,{i})%1000")
_COLUMNS = {
    f"c{i:02d}": (*rest, sql.format(i=i))
    for i, (*rest, sql) in enumerate(
        [*[_INTEGER] * 10, *[_DECIMAL] * 6, *[_DOUBLE] * 4, *[_TIME] * 4, *[_BOOLEAN] * 3, *[_TEXT] * 3]
    )
}
"""Logical and physical type of the contract, DuckDB's type, and the text as SQL of row ``n``."""


def contract() -> Contract:
    """Of all columns."""
    properties = "".join(
        f"      - name: {name}\n        description: A column\n        logicalType: {logical}\n"
        + (f"        physicalType: {physical}\n" if physical else "")
        + f"        transformSourceObjects: [{name}]\n"
        for name, (logical, physical, _, _) in _COLUMNS.items()
    )
    return load_contract(
        "apiVersion: v3.2.0\nkind: DataContract\nid: bench.events\nversion: 1.0.0\nstatus: active\nschema:\n"
        f"  - name: events\n    properties:\n{properties}",
        "events",
    )


def build(root: Path) -> SqlCatalog:
    """Create (once) the Curated table."""
    lake = workload.catalog(root / f"contracted_{ROWS}")
    if lake.namespace_exists("lake") and lake.table_exists(workload.IDENTIFIER):
        return lake
    lake.create_namespace_if_not_exists("lake")
    TableSpec.load(workload.SPECIFICATIONS, "curated").create(lake, "lake.building")
    leaves = ", ".join(f"{sql} {name}" for name, (_, _, _, sql) in _COLUMNS.items())
    rows = workload.connect().sql(
        f"""with e as (select n, {workload.published("n", ROWS)} pub from range({ROWS}) r(n))
            select (md5('m'||n)::uuid)::varchar message_id, (md5('k'||n)::uuid)::varchar idempotency_key,
              'events' topic_name, strftime(make_timestamp(pub), '%Y-%m') period_reference,
              (md5('c'||(n//3))::uuid)::varchar correlation_id, make_timestamptz(pub) publish_time,
              make_timestamptz(pub+1000000) ingestion_ts, {leaves} from e"""
    )
    with StagedSource.of(rows.to_arrow_reader(65_536), EVENT_RULE, memory_budget_mb=2048) as source:
        merge(lake, "lake.building", source, checkpoint=None, run_id="building", evolve=True)
    lake.rename_table("lake.building", workload.IDENTIFIER)
    return lake


def clone(root: Path, name: str) -> SqlCatalog:
    """A fresh catalog over it, with an empty Semantic table of its own."""
    lake = workload.catalog(root / name)
    lake.create_namespace("lake")
    built = build(root).load_table(workload.IDENTIFIER)
    lake.register_table(workload.IDENTIFIER, built.metadata_location)
    spec = TableSpec.load(workload.SPECIFICATIONS, "semantic").with_columns(contract().semantic_columns())
    spec.create(lake, IDENTIFIER)
    TableSpec.load(workload.SPECIFICATIONS, "quarantine").create(lake, "lake.quarantine_events")
    return lake


def duckdb_sql() -> str:
    """The same as one statement."""
    envelope = list(workload.ENVELOPE)
    casts = ", ".join(f"try_cast({name} as {kind}) {name}" for name, (_, _, kind, _) in _COLUMNS.items())
    columns = [*envelope, "_contract_version", "_source_merge_seq", "_merge_seq", *_COLUMNS]
    updates = ", ".join(f"{name} = s.{name}" for name in columns)
    return f"""merge into lake.{IDENTIFIER} t
      using (select {", ".join(envelope)}, '1.0.0' _contract_version, _merge_seq _source_merge_seq,
        1::bigint _merge_seq, {casts} from lake.{workload.IDENTIFIER}) s
      on t.idempotency_key = s.idempotency_key
      when matched and s._source_merge_seq > t._source_merge_seq then update set {updates}
      when not matched then insert ({", ".join(columns)}) values ({", ".join(f"s.{c}" for c in columns)})"""


def check(lake: SqlCatalog) -> None:
    """Raise SystemExit unless Semantic holds every row, with what it was made of."""
    connection = workload.connect()
    for extension in ("avro", "iceberg"):
        import_extension(extension, con=connection)
        connection.execute(f"load {extension}")
    semantic, curated = (
        f"iceberg_scan('{lake.load_table(name).metadata_location}')"
        for name in (IDENTIFIER, workload.IDENTIFIER)
    )
    typed = ", ".join(f"{name}::{kind}" for name, (_, _, kind, _) in _COLUMNS.items())
    query = f"select count(*), sum(hash(idempotency_key, epoch_us(publish_time), {typed})) from "
    found, expected = (connection.sql(query + table).fetchone() for table in (semantic, curated))
    if found != expected:
        raise SystemExit(f"Semantic: expected {expected}, found {found} (rows, hash of all columns)")
