"""Quarantined rows judged again, under the contract as it is today.

Semantic reads Curated by merge sequence, so a row that it has refused does not come by again: mending the
contract alone changes nothing, and sending the event again changes nothing in Curated. So the refused rows
are looked up (docs/adr/0008): those of Quarantine whose version is still the one in Curated and is not in
Semantic. They are read from Curated, cast, and the good ones merged into Semantic by the usual rule. No
checkpoint moves, and a row that is refused again stays in Quarantine as it is; of its key, all older versions
in RAW are judged again as well, and the newest good one stands (``versions``).

One period (a partition of Quarantine) at a time. Curated and Semantic are pruned to the period and to the
days that the refused rows were published on; of all rows there, key, message id and time alone are read.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from common.contract.casting import cast_or_set_aside
from common.contract.contracts import Contract
from common.lake.merge import StagedSource, merge
from common.lake.reading import read_rows
from common.lake.rule import SOURCE_RULE
from common.lake.specifications import open_table
from common.layers.erased import NOTHING_ERASED, Erased
from common.layers.semantic import align_columns
from common.layers.versions import REFUSED, Versions
from common.runtime.arrowtypes import Column
from common.runtime.errors import InvalidInput
from common.runtime.settings import JobSettings

_VERSION: Final = ("idempotency_key", "message_id", "publish_time")
_LISTED: Final = (*_VERSION, "ingestion_ts", "reasons")
_PERIOD: Final = re.compile(r"[0-9]{4}-[0-9]{2}")


@dataclass(frozen=True)
class Appeal:
    """Which quarantined rows of a period are to be judged again; empty filters take all.

    ``reasons``: rules that a row broke, as ``column:rule``. ``since`` (included) and ``until`` (not) bound
    ``ingestion_ts``. ``ids``: message ids or idempotency keys. ``dry_run``: only count. ``samples``: how many
    rows to name.
    """

    period: str
    reasons: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    ids: frozenset[str] = frozenset()
    dry_run: bool = False
    samples: int = 0

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> "Appeal":
        """Read the ``quarantine`` part of an event; raises InvalidInput."""
        try:
            period = str(event["period"])
            since, until = event.get("since"), event.get("until")
            appeal = cls(
                period=period,
                reasons=frozenset(event.get("reasons", ())),
                since=datetime.fromisoformat(since) if since else None,
                until=datetime.fromisoformat(until) if until else None,
                ids=frozenset(event.get("ids", ())),
                dry_run=bool(event.get("dry_run", False)),
                samples=int(event.get("samples", 0)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(
                f"quarantine: expected period, and optionally reasons, since, until, ids, dry_run, samples; "
                f"found {type(error).__name__}: {error}; see `lean-ops replay quarantine --help`"
            ) from error
        if not _PERIOD.fullmatch(period):
            raise InvalidInput(f"quarantine: expected a period YYYY-MM, found {period!r}")
        return appeal


@dataclass
class Verdicts:
    """What became of the rows of one period.

    ``waiting``: refused, and still the current version of their key. ``accepted``: of these, good today;
    ``changed``: rows of Semantic that the merge wrote. ``refused``: of these, still bad; ``older``: keys of
    which another version than the one that stood so far stands today. ``settled``: accepted earlier;
    ``superseded``: a newer version took their place. ``reasons`` counts the waiting rows by the rules that
    they broke when they came, ``still`` the refused ones by those that they break today.
    """

    waiting: int = 0
    accepted: int = 0
    changed: int = 0
    older: int = 0
    refused: int = 0
    settled: int = 0
    superseded: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    still: Counter[str] = field(default_factory=Counter)
    oldest: datetime | None = None
    newest: datetime | None = None
    samples: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Counts, times (ISO 8601) and samples; never a value of a row."""
        return {
            "waiting": self.waiting,
            "accepted": self.accepted,
            "changed": self.changed,
            "older": self.older,
            "refused": self.refused,
            "settled": self.settled,
            "superseded": self.superseded,
            "reasons": dict(self.reasons),
            "still": dict(self.still),
            "oldest": self.oldest.isoformat() if self.oldest else None,
            "newest": self.newest.isoformat() if self.newest else None,
            "samples": self.samples,
        }


def judge_again(
    contract: Contract,
    appeal: Appeal,
    run_id: str,
    *,
    settings: JobSettings,
    catalog: Catalog,
    pii_key: bytes,
    record_replaced: Callable[[Sequence[str]], None],
    columns_changed: Callable[[], None] = lambda: None,
    erased: Erased = NOTHING_ERASED,
) -> Verdicts:
    """Judge the selected rows of Quarantine again, and merge the good ones into Semantic in one commit.

    ``pii_key``, ``record_replaced``, ``columns_changed`` and ``erased`` as for
    ``common.layers.semantic.publish``. Raises the errors of ``common.lake.merge.merge``; whatever it raises,
    doing it again is safe.
    """
    topic = contract.topic
    quarantine = open_table(catalog, settings.table("quarantine", topic))
    selected = select(_refused_rows(quarantine, appeal), appeal)
    verdicts = Verdicts()
    if not selected.num_rows:
        return verdicts
    curated = open_table(catalog, settings.table("curated", topic))
    semantic = open_table(catalog, settings.table("semantic", topic))
    place = _place(appeal.period, selected)
    waiting = undecided(selected, _versions(curated, place), _versions(semantic, place), verdicts)
    _describe(waiting, verdicts, appeal.samples)
    if appeal.dry_run or not waiting.num_rows:
        return verdicts
    align_columns(semantic, contract, record_replaced, columns_changed)
    wanted = _version(waiting)
    refused: list[pa.Table] = []
    with StagedSource(SOURCE_RULE, settings.memory_budget_mb) as good:
        for batch in read_rows(curated, place):
            rows = pa.Table.from_batches([batch])
            rows = rows.filter(pc.is_in(_version(rows), value_set=wanted))
            if not rows.num_rows:
                continue
            cast = cast_or_set_aside(rows, contract, pii_key)
            good.write_all(cast.good.to_batches())
            verdicts.accepted += cast.good.num_rows
            verdicts.refused += cast.rejected.num_rows
            verdicts.still.update(_by_reason(cast.rejected["reasons"]))
            refused.append(cast.rejected.select(list(REFUSED)))
        if verdicts.accepted:
            outcome = merge(
                catalog,
                settings.table("semantic", topic),
                good,
                checkpoint=None,
                run_id=run_id,
                evolve=False,
            )
            verdicts.changed = outcome.inserted + outcome.updated
    if verdicts.refused:
        semantic_table = settings.table("semantic", topic)
        versions = Versions(contract, settings, catalog, pii_key, semantic_table, erased)
        if (found := versions.found(pa.concat_tables(refused), None, None)) is not None:
            stood, _ = versions.merge(found, run_id)
            verdicts.older = stood.inserted + stood.updated if stood else 0
    return verdicts


def select(rows: pa.Table, appeal: Appeal) -> pa.Table:
    """The rows (columns of Quarantine) that the appeal names by reason or id."""
    if appeal.ids:
        named = pa.array(sorted(appeal.ids), rows["message_id"].type)
        rows = rows.filter(
            pc.or_(
                pc.is_in(rows["message_id"], value_set=named),
                pc.is_in(rows["idempotency_key"], value_set=named),
            )
        )
    if appeal.reasons:
        # Few different texts for many rows: each is read once.
        every: list[Any] = pc.unique(rows["reasons"]).to_pylist()
        texts = [text for text in every if appeal.reasons & set(rules_of(text))]
        rows = rows.filter(pc.is_in(rows["reasons"], value_set=pa.array(texts, rows["reasons"].type)))
    return rows


def undecided(selected: pa.Table, curated: Column, semantic: Column, verdicts: Verdicts) -> pa.Table:
    """The rows whose version is in ``curated`` and not in ``semantic``; counts the others."""
    version = _version(selected)
    current = pc.is_in(version, value_set=curated)
    published = pc.is_in(version, value_set=semantic)
    waiting = selected.filter(pc.and_(current, pc.invert(published)))
    verdicts.superseded = selected.num_rows - selected.filter(pc.or_(current, published)).num_rows
    verdicts.waiting = waiting.num_rows
    verdicts.settled = selected.num_rows - waiting.num_rows - verdicts.superseded
    return waiting


def rules_of(reasons: str) -> list[str]:
    """The rules in the ``reasons`` of a quarantined row, as ``column:rule``."""
    return [f"{reason['column']}:{reason['rule']}" for reason in json.loads(reasons)]


def _refused_rows(quarantine: Table, appeal: Appeal) -> pa.Table:
    when = [f"period_reference == '{appeal.period}'"]
    if appeal.since:
        when.append(f"ingestion_ts >= '{appeal.since.isoformat()}'")
    if appeal.until:
        when.append(f"ingestion_ts < '{appeal.until.isoformat()}'")
    return read_rows(quarantine, " and ".join(when), _LISTED).read_all()


def _place(period: str, rows: pa.Table) -> str:
    """The filter for where these versions are in Curated and Semantic: both are partitioned by it."""
    bounds: Any = pc.min_max(rows["publish_time"])
    first, last = bounds.as_py().values()
    return (
        f"period_reference == '{period}' and publish_time >= '{first.isoformat()}' "
        f"and publish_time <= '{last.isoformat()}'"
    )


def _versions(table: Table, place: str) -> Column:
    return _version(read_rows(table, place, _VERSION).read_all())


def _version(rows: pa.Table) -> Column:
    """One text a row that names its version: key, message id, and time, since ids are used again.

    A clash would cost one needless verdict.
    """
    key, message = (rows[name].cast(pa.string()) for name in _VERSION[:2])
    moment = rows["publish_time"].cast(pa.int64()).cast(pa.string())
    join: Any = pc.binary_join_element_wise
    version: Column = join(key, message, moment, "\0")
    return version


def _describe(waiting: pa.Table, verdicts: Verdicts, samples: int) -> None:
    if not waiting.num_rows:
        return
    verdicts.reasons = _by_reason(waiting["reasons"])
    bounds: Any = pc.min_max(waiting["ingestion_ts"])
    verdicts.oldest, verdicts.newest = bounds.as_py().values()
    verdicts.samples = [
        {
            "message_id": row["message_id"],
            "idempotency_key": row["idempotency_key"],
            "ingestion_ts": row["ingestion_ts"].isoformat(),
            "reasons": rules_of(row["reasons"]),
        }
        for row in waiting.slice(0, samples).to_pylist()
    ]


def _by_reason(reasons: Column) -> Counter[str]:
    """Rows by all rules that they broke, joined."""
    counted = Counter[str]()
    values: Any = pc.value_counts(reasons)
    for entry in values.to_pylist():
        counted[" ".join(rules_of(entry["values"]))] += entry["counts"]
    return counted
