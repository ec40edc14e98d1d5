"""The workload of the merge benchmarks: a Curated table of device readings and batches to merge into it.

Everything is a function of row number and version, so that a run can be repeated anywhere. The table covers 30
days, partitioned as Curated is (period, day, 16 key buckets). A batch is 90 % new events of the last two days,
8 % corrections (half of rows older than two days; 60 % of them move to another partition; 10 % are stale and
must lose), 1 % retries of stored messages and 1 % retries inside the batch. Keys are random UUIDs, the worst
case for pruning by min/max; other ``Kind``s of tables have other keys, or hundreds of columns.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from duckdb_extensions import import_extension
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation
from pyiceberg.types import NestedField, StringType

from common.lake.merge.datafiles import DataFileWriter
from common.lake.merge.layout import ENDING
from common.lake.merge.livefiles import live_files
from common.lake.merge.partitions import partition_rows
from common.lake.merge.snapshot import Change, SnapshotCommit
from common.lake.merge.source import conform
from common.lake.merge.target import Target
from common.lake.rule import EVENT_RULE
from common.lake.specifications import TableSpec

SPECIFICATIONS = Path(__file__).parents[3] / "modules" / "storage" / "tables"
DAYS = 30
DAY_US = 86_400_000_000
FIRST_US = 1_768_435_200_000_000  # 2026-01-15T00:00Z
END_US = FIRST_US + DAYS * DAY_US
IDENTIFIER = "lake.curated_events"
RAW_IDENTIFIER = "lake.raw_events"
RAW_ROWS = 180_000  # about 128 MiB of records

LEAVES = {
    "device__id": "'sensor-'||{r1}%200000",
    "device__model": "(['TH-2','TH-3','AQ-1','PM-10'])[1+{r2}%4]",
    "device__firmware": "format('{{:d}}.{{:d}}.{{:d}}',{r3}%4,{r4}%10,{r5}%20)",
    "site__name": "'Site '||{r6}%4000",
    "site__city": "(['Berlin','Madrid','Paris','Milano','London','Lisboa'])[1+{r6}%6]",
    "reading__temperature": "format('{{:d}}.{{:02d}}',{r7}%60-20,{r8}%100)",
    "reading__humidity": "format('{{:d}}.{{:d}}0',{r9}%100,{r10}%10)",
    "reading__pressure": "format('{{:d}}.{{:03d}}',950+{r11}%100,{r12}%1000)",
    "reading__co2": "({r13}%5000)::varchar",
    "battery__level": "format('0.{{:03d}}',{r14}%1000)",
    "radio__rssi": "(-({r15}%110))::varchar",
    "status": "(['OK','WARN','FAULT','OFFLINE'])[1+{r16}%4]",
    "counter": "'1234567890'||format('{{:010d}}',({r17}%9999999999)::bigint)",
    "alarms": "'[{{\"code\":\"A-'||{r18}%5000||'\",\"level\":'||(1+{r19}%9)||'}}]'",
    "trace": "md5('trace'||n||ver)",
}

NOT_TEXT = {
    "reading__temperature",
    "reading__humidity",
    "reading__pressure",
    "reading__co2",
    "battery__level",
    "radio__rssi",
    "counter",
    "alarms",
}
"""Leaves that are numbers or arrays in the payload."""


_DIGEST = "(md5('k'||n))"
_MILLISECONDS = "(printf('%012x', original//1000))"


@dataclass(frozen=True)
class Kind:
    """What a table of the benchmark is like.

    ``key``: SQL of a key from ``n`` and ``original``, a row's number and when it was first published.
    ``sparse``: further leaves, of which a row has one in 33. ``hot``: half of a batch's new rows are versions
    of one in a hundred of its new keys.
    """

    name: str
    key: str = f"({_DIGEST}::uuid)::varchar"
    sparse: int = 0
    hot: bool = False

    @property
    def leaves(self) -> dict[str, str]:
        """SQL of each leaf, with places for random numbers."""
        further = {
            f"sparse{i:03d}": f"case when hash(n,{i})%33=0 then (hash(n,ver,{i})%100000)::varchar end"
            for i in range(self.sparse)
        }
        return LEAVES | further

    @property
    def columns(self) -> list[str]:
        """Columns of a batch, in order."""
        return [*ENVELOPE, *self.leaves]


ENVELOPE = (
    *("message_id", "idempotency_key", "topic_name", "period_reference", "correlation_id"),
    *("publish_time", "ingestion_ts"),
)
RANDOM = Kind("random keys")
TIME_ORDERED = Kind(  # as a UUID of version 7 is made (RFC 9562): milliseconds first
    "time-ordered keys",
    f"""{_MILLISECONDS}[1:8]||'-'||{_MILLISECONDS}[9:12]||'-7'||{_DIGEST}[1:3]||'-a'||{_DIGEST}[4:6]||'-'
      ||{_DIGEST}[7:18]""",
)
NUMERIC = Kind("short numeric keys", "n::varchar")
HOT = Kind("hot keys", hot=True)
WIDE, WIDER = (
    Kind(f"{columns} columns", sparse=columns - len(ENVELOPE) - len(LEAVES) - 3) for columns in (200, 500)
)


def row_columns(kind: Kind = RANDOM) -> str:
    """SQL that makes the columns of a Curated row from ``(n, ver, original, pub, ing)``, times in microseconds."""
    leaves = []
    for name, expression in kind.leaves.items():
        numbers = {f"r{i}": f"(hash(n,ver,{i}) >> 8)::bigint" for i in range(1, 20)}
        leaves.append(f"{expression.format(**numbers)} {name}")
    return f"""(md5('m'||n||'-'||ver)::uuid)::varchar message_id, {kind.key} idempotency_key,
      'events' topic_name, strftime(make_timestamp(original), '%Y-%m') period_reference,
      (md5('c'||(n//3))::uuid)::varchar correlation_id, make_timestamptz(pub) publish_time,
      make_timestamptz(ing) ingestion_ts, {", ".join(leaves)}"""


def published(n: str, rows: int) -> str:
    """SQL: when row ``n`` of a table of ``rows`` rows was published, in microseconds."""
    return f"({FIRST_US}+(({n})::hugeint*{DAYS * DAY_US}//{rows})::bigint)"


def connect() -> duckdb.DuckDBPyConnection:
    """DuckDB for making data and checking results, never for what is measured."""
    connection = duckdb.connect(config={"threads": 2, "memory_limit": "6GB"})
    connection.execute("set timezone = 'UTC'; set enable_progress_bar = false")
    return connection


def catalog(root: Path, **properties: str) -> SqlCatalog:
    """The catalog of one benchmark directory; ``properties`` are added to those of its tables' files."""
    root.mkdir(parents=True, exist_ok=True)
    uri, warehouse = f"sqlite:///{root}/catalog.db", f"file://{root}/warehouse"
    return SqlCatalog("bench", uri=uri, warehouse=warehouse, **properties)


def build_table(root: Path, rows: int, kind: Kind = RANDOM) -> Table:
    """Create (once) a Curated table of ``rows`` rows: one file a partition, one commit a day."""
    lake = catalog(root / f"table of {rows} {kind.name}".replace(" ", "_"))
    if lake.namespace_exists("lake") and lake.table_exists(IDENTIFIER):
        return lake.load_table(IDENTIFIER)
    lake.create_namespace_if_not_exists("lake")
    spec = TableSpec.load(SPECIFICATIONS, "curated")
    columns = [NestedField(0, name, StringType(), required=False) for name in kind.leaves]
    spec.with_columns(columns).create(lake, "lake.building")
    connection = connect()
    for day in range(DAYS):
        first, end = day * rows // DAYS, (day + 1) * rows // DAYS
        day_rows = connection.sql(
            f"""with e as (select n, 0 ver, {published("n", rows)} original, {published("n", rows)} pub,
                {published("n", rows)} + (1+hash(n)%60)::bigint*1000000 ing from range({first},{end}) r(n))
                select {row_columns(kind)} from e order by idempotency_key"""
        ).to_arrow_table()
        _append(lake, day_rows)
    lake.rename_table("lake.building", IDENTIFIER)
    return lake.load_table(IDENTIFIER)


def _append(lake: SqlCatalog, rows: pa.Table) -> None:
    target = Target.check(lake.load_table("lake.building"), EVENT_RULE)
    conformed = conform(rows, target, 1).combine_chunks()
    writer = DataFileWriter(target, EVENT_RULE)
    with ThreadPoolExecutor(2) as pool:
        files = list(
            pool.map(
                lambda p: writer.write(
                    target.new_path(target.directory(p[0]), ENDING),
                    p[0],
                    conformed.take(p[1]),
                ),
                partition_rows(target, conformed),
            )
        )
        commit = SnapshotCommit(
            target.table, live_files(target.table, pool), Change(operation=Operation.APPEND, added=files)
        )
        commit.commit(lake, commit.stage())


def build_batch(root: Path, table_rows: int, rows: int, number: int = 0, kind: Kind = RANDOM) -> Path:
    """Create (once) a Parquet file with a batch for the table of ``table_rows`` rows; gives its path.

    ``number`` makes different batches; their new events do not overlap.
    """
    path = _of_batch(root, table_rows, rows, kind, f"batch {number}.parquet")
    if path.exists():
        return path
    new, corrected, retried = rows * 90 // 100, rows * 8 // 100, rows // 100
    recent = table_rows * (DAYS - 2) // DAYS
    first_new = table_rows + number * new
    hot = f"i%2=1 then (hash(i,'hot')%{max(1, new // 200)})::bigint*2" if kind.hot else "false then 0"
    connection = connect()
    connection.execute(
        f"""create table e as
        select {first_new}+k n, case when k=i then 0 else 1+i end::bigint ver,
          {END_US - 2 * DAY_US}+(k::bigint*{2 * DAY_US}//{new}) original,
          {END_US - 2 * DAY_US}+(i::bigint*{2 * DAY_US}//{new}) pub, {END_US}+{number}*1000000+i*10 ing
          from (select i, case when {hot} else i end k from range({new}) r(i))
        union all
        select n, 1+i+{number}*{rows} ver, {published("n", table_rows)} original,
          case when hash(i,'stale')%10=0 then original-3600000000
               when hash(i,'stale')%10<4 then original+60000000
               else {END_US}-(hash(i,{number},'pub')%{2 * DAY_US})::bigint end pub,
          {END_US}+{number}*1000000+i*100+7 ing
        from (select i, case when i%2=0 then (hash(i,{number},'old')%{recent})::bigint
              else ({recent}+hash(i,{number},'new')%{table_rows - recent})::bigint end n from range({corrected}) r(i))
        union all
        select n, 0, {published("n", table_rows)}, {published("n", table_rows)}, {END_US}+i*50+3
        from (select i, (hash(i,{number},'retry')%{table_rows})::bigint n from range({retried}) r(i))"""
    )
    connection.execute(
        f"""insert into e select n, ver, original, pub, ing+5000000 from e where ver>0 or n>={table_rows}
            order by hash(n,ver,'copy') limit {rows - new - corrected - retried}"""
    )
    connection.execute(
        f"""copy (select {row_columns(kind)} from e order by hash(n,ver,ing)) to '{path}'
            (format parquet, compression zstd)"""
    )
    return path


def _of_batch(root: Path, table_rows: int, rows: int, kind: Kind, name: str) -> Path:
    """A file of what belongs to a batch."""
    folder = root / f"{rows} into {table_rows} {kind.name}".replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name.replace(" ", "_")


def build_raw(root: Path, table_rows: int, rows: int) -> Table:
    """Create (once) a RAW table that holds batch 0 as Firehose would have delivered it.

    Every commit takes about what fills Firehose's buffer of 128 MiB and leaves a file for each day of
    publication, so that the corrections of old readings make many small files.
    """
    lake = catalog(root / f"raw_{table_rows}_{rows}")
    if lake.namespace_exists("lake") and lake.table_exists(RAW_IDENTIFIER):
        return lake.load_table(RAW_IDENTIFIER)
    lake.create_namespace_if_not_exists("lake")
    building = TableSpec.load(SPECIFICATIONS, "raw").create(lake, "lake.building")
    names = building.schema().as_arrow()
    batch = build_batch(root, table_rows, rows)
    for first in range(0, rows, RAW_ROWS):
        events = (
            connect()
            .sql(
                f"""select message_id, idempotency_key, topic_name, period_reference, correlation_id,
                publish_time, ingestion_ts, {payload_sql()} json_payload, null::varchar as operation,
                null::varchar as "source"
                from read_parquet('{batch}', file_row_number=true)
                where file_row_number >= {first} and file_row_number < {first + RAW_ROWS}"""
            )
            .to_arrow_table()
        )
        building.append(events.cast(names))
    lake.rename_table("lake.building", RAW_IDENTIFIER)
    return lake.load_table(RAW_IDENTIFIER)


def payload_sql() -> str:
    """SQL that writes the leaves of a row as the JSON object that a device would send."""
    members: dict[str, list[str]] = {}
    for name in LEAVES:
        branch, _, key = name.rpartition("__")
        quote = "" if name in NOT_TEXT else '"'
        members.setdefault(branch, []).append(f"""'"{key}":{quote}'||{name}||'{quote}'""")
    joined = {branch: "||','||".join(of_branch) for branch, of_branch in members.items()}
    objects = [f"""'"{b}":{{'||{of}||'}}'""" if b else of for b, of in joined.items()]
    return "'{'||" + "||','||".join(objects) + "||'}'"


def clone(root: Path, table_rows: int, name: str, raw_rows: int = 0, kind: Kind = RANDOM) -> SqlCatalog:
    """A fresh catalog over the built table: what is merged into it leaves the built table as it was.

    With ``raw_rows``, the RAW table of the batch with so many rows is in it too.
    """
    directory = root / name
    directory.mkdir(parents=True)
    lake = catalog(directory)
    lake.create_namespace("lake")
    lake.register_table(IDENTIFIER, build_table(root, table_rows, kind).metadata_location)
    if raw_rows:
        lake.register_table(RAW_IDENTIFIER, build_raw(root, table_rows, raw_rows).metadata_location)
    return lake


def remove_new_files(root: Path, table_rows: int, before: set[Path], kind: Kind = RANDOM) -> None:
    """Remove the files that a merge into a clone left beside the built table's."""
    for path in data_tree(root, table_rows, kind) - before:
        path.unlink()


def data_tree(root: Path, table_rows: int, kind: Kind = RANDOM) -> set[Path]:
    """All files under the built table's location."""
    location = Path(build_table(root, table_rows, kind).location().removeprefix("file://"))
    return {p for p in location.rglob("*") if p.is_file()}


WINNERS = """from (select * from {source} qualify row_number() over (partition by message_id order by ingestion_ts)=1)
  qualify row_number() over (partition by idempotency_key
    order by publish_time desc, ingestion_ts desc, message_id desc)=1"""


def checksum(table: Table) -> dict[str, str]:
    """Rows, distinct keys and an order-independent hash of all event columns, as DuckDB reads the table."""
    connection = connect()
    for extension in ("avro", "iceberg"):
        import_extension(extension, con=connection)
        connection.execute(f"load {extension}")
    known = table.schema().column_names
    leaves = [name for name in known if name not in ENVELOPE and not name.startswith("_")]
    return _checksum(connection, f"iceberg_scan('{table.metadata_location}')", leaves)


def _checksum(connection: duckdb.DuckDBPyConnection, source: str, leaves: Sequence[str]) -> dict[str, str]:
    names = [f"epoch_us({name})" if name in ("publish_time", "ingestion_ts") else name for name in ENVELOPE]
    found = connection.sql(
        f"select count(*), count(distinct idempotency_key), sum(hash({', '.join([*names, *leaves])})) from {source}"
    ).fetchone()
    assert found is not None
    return {"rows": str(found[0]), "keys": str(found[1]), "hash": str(found[2])}


def expected(root: Path, table_rows: int, rows: int, kind: Kind = RANDOM) -> dict[str, str]:
    """Checksum of the table after batch 0, computed without any merge engine; kept beside the batch."""
    kept = _of_batch(root, table_rows, rows, kind, "expected.json")
    if kept.exists():
        known: dict[str, str] = json.loads(kept.read_text())
        return known
    batch = build_batch(root, table_rows, rows, kind=kind)
    files = build_table(root, table_rows, kind).scan().plan_files()
    data = [t.file.file_path.removeprefix("file://") for t in files]
    connection = connect()
    connection.execute(f"create table s as select * {WINNERS.format(source=repr(str(batch)))}")
    base = f"read_parquet({data!r}, hive_partitioning=false)"
    result = winners_file(batch)
    columns = ", ".join(kind.columns)  # files have them in an order of their own
    connection.execute(
        f"""create table m as select {columns} from {base} t semi join s using (idempotency_key);
        create table w as select s.* from s left join m t using (idempotency_key) where t.message_id is null
          or (s.message_id <> t.message_id and (s.publish_time, s.ingestion_ts) > (t.publish_time, t.ingestion_ts));
        copy (select * from w) to '{result}' (format parquet);
        create table lost as select idempotency_key k from m semi join w using (idempotency_key)"""
    )
    lost = connection.sql("select k from lost").to_arrow_table()["k"]
    old = _checksum(connection, base, list(kind.leaves))
    gone_file = batch.with_name("gone.parquet")
    connection.execute(
        f"copy (select m.* from m semi join lost on k = idempotency_key) to '{gone_file}' (format parquet)"
    )
    added, gone = (
        _checksum(connection, f"read_parquet('{path}')", list(kind.leaves)) for path in (result, gone_file)
    )
    total = {
        "rows": str(int(old["rows"]) - len(lost) + int(added["rows"])),
        "keys": str(int(old["rows"]) - len(lost) + int(added["rows"])),
        "hash": str(int(old["hash"]) - int(gone["hash"]) + int(added["hash"])),
    }
    gone_file.unlink()
    kept.write_text(json.dumps(total))
    return total


def winners_file(batch: Path) -> Path:
    """The rows of a batch that must win, as ``expected`` left them beside it."""
    return batch.with_name("expected.parquet")


def read_batch(path: Path) -> pa.RecordBatchReader:
    """The batch as a stream, as curation would hand it over."""
    file = pq.ParquetFile(path)
    schema = file.schema_arrow
    return pa.RecordBatchReader.from_batches(schema, file.iter_batches(batch_size=65_536))
