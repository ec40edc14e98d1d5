"""What the rows of some keys say that may be said by no other row: texts that are looked for at the end."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table

from common.lake.reading import any_of, read_rows
from common.payload.flattening import PAYLOAD

SHORTEST: Final = 8
"""Shorter texts say little of one row alone, and are found by chance everywhere."""

MOST: Final = 200_000
"""So many are looked for at most, the first found of them."""

_KEY: Final = "idempotency_key"
_FEW_KEYS: Final = 1_000
_OWN: Final = frozenset({"message_id", "correlation_id", "_rescued", "row_json"})
_ENVELOPE: Final = frozenset(
    {_KEY, "topic_name", "period_reference", "publish_time", "ingestion_ts", "operation", "reasons"}
)


def values_of(tables: Iterable[Table], keys: Collection[str]) -> tuple[list[str], int]:
    """Texts of the rows of ``keys`` in these tables, at most ``MOST``, and how many there were."""
    found: dict[str, None] = {}
    for table in tables:
        for batch in _rows(table, keys):
            for text in _texts(batch):
                if len(text) >= SHORTEST:
                    found[text] = None
    values = [text for text in found if text not in keys]
    return values[:MOST], len(values)


def _rows(table: Table, keys: Collection[str]) -> Iterator[pa.RecordBatch]:
    names = table.schema().column_names
    says = [n for n in names if n in _OWN or n == PAYLOAD or not (n in _ENVELOPE or n.startswith("_"))]
    condition = any_of(_KEY, keys) if len(keys) <= _FEW_KEYS else ""
    value_set = pa.array(sorted(keys), pa.string())
    for batch in read_rows(table, condition, [_KEY, *says]):
        yield batch.filter(pc.is_in(batch[_KEY], value_set=value_set))


def _texts(batch: pa.RecordBatch) -> Iterator[str]:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name == _KEY or not pa.types.is_string(column.type):
            continue
        values: Any = pc.unique(column)
        for text in values.to_pylist():
            if text is None:
                continue
            yield from _leaves(text) if text[:1] in "{[" else (text,)


def _leaves(text: str) -> Iterator[str]:
    """The texts and numbers of a JSON document, at any level; the text itself where it is none."""
    try:
        waiting: list[Any] = [msgspec.json.decode(text)]
    except (msgspec.MsgspecError, RecursionError):
        yield text
        return
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, str):
            # A JSON document may hold another as text.
            if one[:1] in ("{", "["):
                yield from _leaves(one)
            else:
                yield one
        elif isinstance(one, int | float) and not isinstance(one, bool):
            yield str(one)
