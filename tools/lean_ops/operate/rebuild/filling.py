"""Filling the table beside: the jobs of the pipeline, portion by portion, until the source is read."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, time
from functools import partial
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import BooleanExpression, Or
from pyiceberg.expressions.parser import parse
from pyiceberg.table import Table

from common.contract import drift
from common.contract.contracted import contracted_columns
from common.contract.contracts import load_contract
from common.contract.store import contract_exists, read_contract
from common.lake.checkpoints import SourceCheckpoint
from common.lake.history import from_lineage, lineage
from common.lake.incremental import appends_again
from common.lake.merge import StagedSource, merge
from common.lake.progress import checkpoint_of
from common.lake.reading import read_rows
from common.lake.rule import EVENT_RULE, SOURCE_RULE, MergeRule
from common.lake.specifications import open_table
from common.layers import curated as curated_layer
from common.layers import semantic as semantic_layer
from common.layers.curated import curate, flatten_here
from common.layers.erased import Erased
from common.layers.semantic import EVERY_ROW, judge_here, publish
from common.layers.uncurable import send_letters
from common.runtime.arrowtypes import Column
from common.runtime.settings import PREFIX, JobSettings
from lean_ops.environment.repository import function_catalogue
from lean_ops.environment.target import Target
from lean_ops.operate.checkpoints import MergedLayer
from lean_ops.operate.rebuild.admission import admit, check_contract
from lean_ops.operate.rebuild.beside import (
    ADMITTED,
    Rebuild,
    Under,
    emptied_columns,
    replaced_columns,
    share_columns,
)

RULES: dict[MergedLayer, MergeRule] = {MergedLayer.CURATED: EVENT_RULE, MergedLayer.SEMANTIC: SOURCE_RULE}


@dataclass(frozen=True)
class Filled:
    """One portion: rows of the source read, those left, and the checkpoint after it (None: empty source).

    Before the first, portions whose leaves are only counted, with 0 rows read and no checkpoint.
    """

    rows_read: int
    backlog_rows: int
    checkpoint: SourceCheckpoint | None


@dataclass(frozen=True)
class Workplace:
    """Where the jobs of a rebuild do their work, and what their settings are there.

    ``environment``: by function, in place of the function's own (``repository.spark_entry``).
    """

    flatten: curated_layer.Staging = flatten_here
    judge: semantic_layer.Staging = judge_here
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


HERE: Final = Workplace()
"""This process, as a function would."""


def in_place(target: Target, topic: str) -> Under:
    """The contract that the pipeline works under; raises ContractError."""
    text = read_contract(target.client("s3"), target.lake_bucket, topic)
    return Under(load_contract(text, topic), text)


def fill(target: Target, rebuild: Rebuild, run_id: str, place: Workplace = HERE) -> Iterator[Filled]:
    """Read the source from where the table beside says it is, up to its end, then keep what must be kept.

    Safe to run again at any time: it goes on with what is new.
    """
    catalog, settings = target.catalog(), job_settings(target, rebuild.layer, place)
    entry = from_lineage(lineage(open_table(catalog, rebuild.beside)))
    since = entry.checkpoint if entry is not None else None
    if since is None and rebuild.admits_anew:
        for left in admit(
            catalog,
            settings,
            rebuild,
            _named_in_contract(target, rebuild.topic),
            _recording(target, rebuild, run_id),
        ):
            yield Filled(0, left, None)
    next_portion = (
        _curated_portion(target, catalog, rebuild, run_id, place)
        if rebuild.layer is MergedLayer.CURATED
        else _semantic_portion(target, catalog, rebuild, run_id, place)
    )
    while True:
        done = next_portion(since)
        yield done
        if done.backlog_rows == 0:
            break
        since = done.checkpoint
    _keep_live_rows(catalog, settings, rebuild, run_id)


def job_settings(target: Target, layer: MergedLayer, place: Workplace = HERE) -> JobSettings:
    """The settings that the layer's function has, or its job on Spark: the same portions, the same memory."""
    name = "curation" if layer is MergedLayer.CURATED else "semantic"
    environment = next(entry.environment for entry in function_catalogue() if entry.name == name)
    names = {f"{PREFIX}{field.upper()}": value for field, value in asdict(target.settings).items()}
    return JobSettings.from_environment({**environment, **place.environment.get(name, {}), **names})


def hashing_secret(target: Target) -> bytes:
    """The key of the hashes that stand for personal data, and for erased keys."""
    secret = target.client("secretsmanager").get_secret_value(SecretId=target.pii_key_secret)
    return str(secret["SecretString"]).encode()


def erased_of(target: Target, topic: str) -> Erased:
    """The keys of a topic whose past was erased."""
    return Erased.load(target.client("s3"), target.lake_bucket, topic, lambda: hashing_secret(target))


Portion = Callable[[SourceCheckpoint | None], Filled]


def _curated_portion(
    target: Target, catalog: Catalog, rebuild: Rebuild, run_id: str, place: Workplace
) -> Portion:
    settings = job_settings(target, rebuild.layer, place)
    contracted = contracted_columns(target.client("s3"), target.lake_bucket, rebuild.topic)
    beside = open_table(catalog, rebuild.beside)
    check_contract(rebuild.beside, beside.properties.get(ADMITTED), contracted)

    record_new = _recording(target, rebuild, run_id)
    # What Curated holds of before the first day stays, so that of what it had read these rows are left out.
    # Of what it had not, every event is read, late ones too.
    portions = None
    if rebuild.first_day is not None:
        portions = partial(appends_again, read=rebuild.live_sequence, only=published_since(rebuild))

    def next_portion(since: SourceCheckpoint | None) -> Filled:
        share_columns(catalog, rebuild, {}, record_new=record_new, contracted=contracted)
        done = curate(
            rebuild.topic,
            since,
            run_id,
            settings=settings,
            catalog=catalog,
            record_columns=lambda columns: share_columns(
                catalog, rebuild, columns.claimed, record_new=record_new, contracted=contracted
            ),
            set_aside=lambda rows: send_letters(
                target.client("sqs"), target.queue_url(target.dead_letter_queue), rows
            ),
            contracted=contracted,
            into=rebuild.beside,
            portions=portions,
            erased=erased_of(target, rebuild.topic),
            staging=place.flatten,
        )
        return Filled(done.rows_read, done.backlog_rows, done.checkpoint)

    return next_portion


def _recording(target: Target, rebuild: Rebuild, run_id: str) -> Callable[[Sequence[str]], None]:
    """What enters new columns of the live table into the drift log, as a run would that met them first."""

    def record(names: Sequence[str]) -> None:
        entries = [drift.new_column(rebuild.topic, name, run_id) for name in names]
        drift.record(target.client("dynamodb"), target.drift_log_table, entries)

    return record


def _named_in_contract(target: Target, topic: str) -> frozenset[str]:
    """Columns that the contract names; raises ContractError for one that cannot be read, and may name any."""
    if not contract_exists(target.client("s3"), target.lake_bucket, topic):
        return frozenset()
    return frozenset(property_.source for property_ in in_place(target, topic).contract.properties)


def _semantic_portion(
    target: Target, catalog: Catalog, rebuild: Rebuild, run_id: str, place: Workplace
) -> Portion:
    settings = job_settings(target, rebuild.layer, place)
    contract = rebuild.contract or in_place(target, rebuild.topic).contract
    pii_key = hashing_secret(target)
    # What changed since the rebuild began is taken whenever it was published: the live row may be older.
    only: BooleanExpression = EVERY_ROW
    if rebuild.first_day is not None:
        only = Or(published_since(rebuild), parse(f"_merge_seq > {rebuild.live_sequence}"))

    def raw_read() -> SourceCheckpoint | None:
        curated = open_table(catalog, settings.table("curated", rebuild.topic))
        entry = checkpoint_of(
            curated, MergedLayer.CURATED, rebuild.topic, target.settings, target.client("dynamodb")
        )
        return entry.checkpoint if entry else None

    def next_portion(since: SourceCheckpoint | None) -> Filled:
        done = publish(
            contract,
            since,
            run_id,
            settings=settings,
            catalog=catalog,
            pii_key=pii_key,
            record_uncontracted=lambda _names: None,  # the pipeline has recorded them
            record_replaced=lambda _names: None,  # the rebuild began with the contract's columns
            raw_read=raw_read(),
            into=rebuild.beside,
            only=only,
            erased=erased_of(target, rebuild.topic),
            staging=place.judge,
        )
        return Filled(done.rows_read, done.backlog_rows, done.checkpoint)

    return next_portion


def published_since(rebuild: Rebuild) -> BooleanExpression:
    """Rows published on or after the first day; every row without one."""
    if rebuild.first_day is None:
        return EVERY_ROW
    start = datetime.combine(rebuild.first_day, time(), UTC)
    return parse(f"publish_time >= '{start.isoformat()}'")


def published_before(day: date) -> str:
    """The row filter for what was published before a day (UTC)."""
    return f"publish_time < '{datetime.combine(day, time(), UTC).isoformat()}'"


def _keep_live_rows(catalog: Catalog, settings: JobSettings, rebuild: Rebuild, run_id: str) -> None:
    """Bring over the live rows that the source cannot give again, or was not asked for."""
    live, beside = open_table(catalog, rebuild.live), open_table(catalog, rebuild.beside)
    if rebuild.layer is MergedLayer.CURATED:
        kept = _published_before(live, rebuild)
    else:
        curated = open_table(catalog, settings.table("curated", rebuild.topic))
        kept = _judged_before(live, beside, curated, rebuild)
    if kept is None:
        return
    rows = (batch.drop_columns(["_merge_seq"]) for batch in kept)
    with StagedSource.of(rows, RULES[rebuild.layer], settings.memory_budget_mb) as source:
        merge(catalog, rebuild.beside, source, checkpoint=None, run_id=run_id, evolve=False)


def _published_before(live: Table, rebuild: Rebuild) -> Iterable[pa.RecordBatch] | None:
    """Rows of Curated from before the first day; the merge rule decides against what was rebuilt."""
    if rebuild.first_day is None:
        return None
    return read_rows(live, published_before(rebuild.first_day))


def _judged_before(
    live: Table, beside: Table, curated: Table, rebuild: Rebuild
) -> Iterable[pa.RecordBatch] | None:
    """Rows of Semantic whose newest version was published before the first day: they were not judged again.

    Where a column was replaced since they were written, they have no value in it and do not come over; the
    comparison counts them.
    """
    if rebuild.first_day is None:
        return None
    keys = _keys(live)
    keys = keys.filter(pc.invert(pc.is_in(keys, value_set=_keys(beside))))
    keys = keys.filter(pc.is_in(keys, value_set=_keys(curated, published_before(rebuild.first_day))))
    if not len(keys) or replaced_columns(live.schema(), beside.schema()):
        return None
    emptied, upto = emptied_columns(live)
    return _only_keys(read_rows(live, f"_merge_seq > {upto}" if emptied else ""), keys)


def _keys(table: Table, row_filter: str = "") -> Column:
    key = "idempotency_key"
    return read_rows(table, row_filter, columns=(key,)).read_all()[key]


def _only_keys(batches: Iterable[pa.RecordBatch], keys: Column) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch.filter(pc.is_in(batch.column("idempotency_key"), value_set=keys))
