"""Rows of Curated as Semantic takes them: good ones typed, deletes as rows that take their key away."""

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from common.contract.casting import CastResult, cast_or_set_aside
from common.contract.contracts import Contract
from common.lake.rule import VERSION_RULE
from common.payload.flattening import DELETED


def judge(rows: pa.Table, contract: Contract, pii_key: bytes, *, only_good: bool = False) -> CastResult:
    """As ``cast_or_set_aside``; a delete breaks no rule, and is among the ``good``, ``_tombstone`` true."""
    if DELETED not in rows.column_names:
        return cast_or_set_aside(rows, contract, pii_key, only_good=only_good)
    deleted: Any = rows[DELETED].fill_null(pa.scalar(False))  # noqa: FBT003
    cast = cast_or_set_aside(rows.filter(pc.invert(deleted)), contract, pii_key, only_good=only_good)
    gone = rows.filter(deleted)
    if not gone.num_rows:
        return cast
    kept = gone.select([*VERSION_RULE.columns, DELETED])
    kept = kept.append_column("_source_merge_seq", gone["_merge_seq"])
    return replace(cast, good=pa.concat_tables([cast.good, kept], promote_options="default"))
