"""Every version of a key: since when and until when it counted, what it was, and what became of it.

The history is computed from RAW, which has all versions, and from what the merged tables hold; nothing is
stored for it (docs/adr/0018). A version counts from its publish time until that of the next newer one, as in
a slowly changing dimension of type 2. Values are not shown: ``lean-ops query`` reads them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any, Final

from pyiceberg.expressions import And, BooleanExpression
from pyiceberg.expressions.parser import parse
from pyiceberg.table import Table

from common.intake.events import DELETE
from common.lake.reading import any_of, read_rows
from common.lake.specifications import open_table
from common.layers.rejudging import rules_of
from common.payload.flattening import DELETED, OPERATION, PAYLOAD
from common.runtime.errors import TableMissing
from lean_ops.environment.target import Target

_VERSION: Final = ("message_id", "publish_time", "ingestion_ts")


@dataclass(frozen=True)
class KeyVersion:
    """One version of a key.

    ``copies``: how often RAW has it. ``since`` is its publish time, ``until`` that of the next newer version
    (None: it is the newest). ``what``: ``upsert`` or ``delete``. ``fate``: what the merged tables say of it.
    """

    message_id: str
    since: datetime
    until: datetime | None
    received: datetime
    copies: int
    what: str
    fate: str


def history(target: Target, topic: str, key: str, since: datetime | None = None) -> list[KeyVersion]:
    """The versions of ``key`` in RAW, oldest first; empty for a key that RAW does not have.

    ``since`` bounds the publish times that are read; without it every file that may hold the key is. Raises
    TableMissing for an unknown topic.
    """
    catalog, settings = target.catalog(), target.settings
    where = any_of("idempotency_key", [key])
    raw = open_table(catalog, settings.table("raw", topic))
    events = _rows(raw, (*_VERSION, OPERATION, PAYLOAD), And(where, _since(since)) if since else where)
    copies: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for event in sorted(events, key=lambda event: event["ingestion_ts"]):
        copies.setdefault((event["message_id"], event["publish_time"]), []).append(event)
    ordered = sorted(copies.values(), key=lambda same: (same[0]["publish_time"], *_order(same[0])))
    held = {layer: _held(target, topic, layer, where) for layer in ("curated", "semantic", "quarantine")}
    newer = [same[0]["publish_time"] for same in ordered[1:]]
    return [
        KeyVersion(
            same[0]["message_id"],
            same[0]["publish_time"],
            until,
            same[0]["ingestion_ts"],
            len(same),
            DELETE if _deletes(same[0]) else "upsert",
            _fate(same[0], held, newest=until is None),
        )
        for same, until in zip_longest(ordered, newer)  # of the newest there is no newer one
    ]


def _order(event: Mapping[str, Any]) -> tuple[Any, ...]:
    return event["ingestion_ts"], event["message_id"]


def _since(moment: datetime) -> BooleanExpression:
    return parse(f"publish_time >= '{moment.isoformat()}'")


def _deletes(event: Mapping[str, Any]) -> bool:
    """Whether an event of RAW deletes (``common.payload.flattening.flatten_rows``)."""
    operation = event.get(OPERATION)
    return operation == DELETE or (operation is None and event[PAYLOAD] is None)


def _held(target: Target, topic: str, layer: str, where: BooleanExpression) -> Mapping[str, Any] | None:
    """The row that a merged table has of the key."""
    try:
        table = open_table(target.catalog(), target.settings.table(layer, topic))
    except TableMissing:  # a topic without a contract has no Semantic and no Quarantine
        return None
    rows = _rows(table, ("message_id", "publish_time", DELETED, "reasons", "_contract_version"), where)
    return rows[0] if rows else None


def _rows(table: Table, columns: Sequence[str], where: BooleanExpression) -> list[dict[str, Any]]:
    """Matching rows, with those of the columns that the table has."""
    names = [name for name in columns if name in table.schema().column_names]
    return read_rows(table, where, names).read_all().to_pylist()


def _fate(event: Mapping[str, Any], held: Mapping[str, Mapping[str, Any] | None], *, newest: bool) -> str:
    def is_in(layer: str) -> Mapping[str, Any] | None:
        row = held[layer]
        same = row is not None and all(row[name] == event[name] for name in ("message_id", "publish_time"))
        return row if same else None

    found = []
    if is_in("curated"):
        found.append("current in Curated")
    elif newest:
        found.append("not merged yet")
    if published := is_in("semantic"):
        found.append(f"stands in Semantic under contract {published['_contract_version']}")
    elif refused := is_in("quarantine"):
        rules = ", ".join(rules_of(refused["reasons"]))
        found.append(f"refused by contract {refused['_contract_version']}: {rules}")
    return "; ".join(found) or "superseded"
