"""Curated rows to Semantic rows: every property typed as the contract says, or a reason why not.

- A row whose *critical* property is missing or not what the contract says goes to quarantine with reasons.
- Any other property that is not what the contract says becomes null and is counted; so is one that is
  required and missing. A source column that Curated does not have (yet) is missing in every row.
- A row that cannot be cast at all, which is a fault of this code, goes to quarantine as well.
- Personal data is checked in clear, then hashed, masked or dropped; neither reasons nor the quarantined row
  contain it in clear.
"""

import hmac
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from common.contract.contracts import Contract
from common.contract.limits import rules
from common.contract.properties import LINEAGE_COLUMNS, Property
from common.contract.typed_texts import Column, arrow_type, as_texts, read_texts
from common.lake.setting_aside import SetAside, by_halves
from common.runtime.errors import MissingSetting
from common.runtime.foreign_errors import sorted_error

MASK: Final = "***"
RESCUED: Final = "_rescued"
# How Quarantine names the reason of a row that could not be judged at all.
WHOLE_ROW: Final = "*"
UNPROCESSABLE: Final = "unprocessable"
_MOMENT: Final[pa.DataType] = pa.timestamp("us", tz="UTC")
# Rows cast at once: bounds the memory for intermediate columns.
_STRETCH: Final = 131_072

_LINEAGE: Final = tuple(name for name in LINEAGE_COLUMNS if name[0] != "_")
_QUARANTINE_SCHEMA: Final = pa.schema(
    [
        ("idempotency_key", pa.string()),
        ("message_id", pa.string()),
        ("period_reference", pa.string()),
        ("publish_time", _MOMENT),
        ("ingestion_ts", _MOMENT),
        ("reasons", pa.string()),
        ("row_json", pa.string()),
        ("_contract_version", pa.string()),
        ("_source_merge_seq", pa.int64()),
    ]
)


@dataclass(frozen=True)
class CastResult:
    """What became of the rows, each table in the order of the rows given.

    ``good``: lineage and contract columns, as the Semantic table has them but for ``_merge_seq``.
    ``rejected``: as the quarantine table has them but for ``_merge_seq``.
    ``nulled``: how many values of good rows became null, by (column, rule). ``set_aside``: how many of the
    rejected rows are so since casting them failed, not since they break a rule.
    """

    good: pa.Table
    rejected: pa.Table
    nulled: dict[tuple[str, str], int]
    set_aside: int = 0


@dataclass(frozen=True)
class Failure:
    """Rows (a mask without nulls) in which a property breaks one rule."""

    rule: str
    expected: str
    rows: Column


@dataclass
class Cast:
    """One property of a stretch of rows: its source texts, clear values, and what failed."""

    of: Property
    texts: Column
    values: Column
    failures: list[Failure] = field(default_factory=list)

    def check(self, rule: str, expected: str, holds: Column) -> None:
        """Note where a present value breaks the rule, and make it null."""
        broken = pc.and_(self.values.is_valid(), pc.invert(pc.fill_null(holds, True)))  # noqa: FBT003
        if pc.any(broken).as_py():
            self.failures.append(Failure(rule, expected, broken))
            self.values = pc.if_else(broken, pa.scalar(None, self.values.type), self.values)


def cast_rows(
    curated: pa.Table, contract: Contract, pii_key: bytes, *, only_good: bool = False
) -> CastResult:
    """Cast Curated rows under a contract; with ``only_good`` what is rejected is not written as JSON.

    ``curated`` has the envelope, string payload columns and ``_merge_seq``. ``pii_key`` is the key of
    the HMAC that stands for hashed personal data. Memory beside input and outcome does not grow with rows.

    Raises MissingSetting where the contract hashes and the key is empty: anyone could undo such hashes by
    trying values.
    """
    if not pii_key and any(p.pii == "hash" for p in contract.properties):
        raise MissingSetting(
            f"key for hashing personal data of topic {contract.topic}: expected some bytes, found none; "
            "put one into the secret named by LEAN_OPS_PII_KEY_SECRET_ID"
        )
    good, rejected, nulled = [], [], Counter[tuple[str, str]]()
    for start in range(0, curated.num_rows, _STRETCH):
        part = curated.slice(start, _STRETCH).combine_chunks()
        casts = [cast_property(part, p) for p in contract.properties]
        bad = rejected_rows(casts, part.num_rows)
        kept: Column = pc.invert(bad)
        good.append(_semantic(part, contract, casts, pii_key).filter(kept))
        if not only_good and pc.any(bad).as_py():
            rejected.append(_quarantine(part, contract, casts, bad, pii_key))
        for cast in casts:
            for failure in cast.failures:
                nulled[cast.of.name, failure.rule] += _count(pc.and_(failure.rows, kept))
    return CastResult(
        good=pa.concat_tables([_semantic_schema(contract).empty_table(), *good]),
        rejected=pa.concat_tables([_QUARANTINE_SCHEMA.empty_table(), *rejected]),
        nulled={key: count for key, count in nulled.items() if count},
    )


def cast_or_set_aside(
    curated: pa.Table, contract: Contract, pii_key: bytes, *, only_good: bool = False
) -> CastResult:
    """As ``cast_rows``; a row that makes it fail is ``rejected`` too, under the rule ``UNPROCESSABLE``."""
    doing = f"typing rows of topic {contract.topic}"
    done, aside = by_halves(
        curated, lambda rows: cast_rows(rows, contract, pii_key, only_good=only_good), doing
    )
    nulled = Counter[tuple[str, str]]()
    for part in done:
        nulled.update(part.nulled)
    kept_aside = [unprocessable_row(row, contract, pii_key) for row in aside]
    return CastResult(
        good=pa.concat_tables([_semantic_schema(contract).empty_table(), *(part.good for part in done)]),
        rejected=pa.concat_tables(
            [_QUARANTINE_SCHEMA.empty_table(), *(part.rejected for part in done), *kept_aside]
        ),
        nulled=dict(nulled),
        set_aside=len(aside),
    )


def unprocessable_row(row: SetAside, contract: Contract, pii_key: bytes) -> pa.Table:
    """A row that was set aside, as Quarantine has it: without its JSON where even that fails."""
    reason = {
        "column": WHOLE_ROW,
        "rule": UNPROCESSABLE,
        "expected": "a row that can be typed",
        "found": row.found,
    }
    try:
        (row_json,) = _rows_as_json(row.row, contract, pii_key)
    except Exception as error:
        reason["row_json"] = str(sorted_error(error, "writing the row as JSON"))
        row_json = "{}"
    columns = {name: row.row[name] for name in _QUARANTINE_SCHEMA.names[:5]}
    return pa.table(
        columns
        | {
            "reasons": pa.array([json.dumps([reason], ensure_ascii=False)], pa.string()),
            "row_json": pa.array([row_json], pa.string()),
            "_contract_version": pa.array([contract.version], pa.string()),
            "_source_merge_seq": row.row["_merge_seq"],
        }
    ).cast(_QUARANTINE_SCHEMA)


def treat_pii(texts: Column, of: Property, pii_key: bytes) -> Column:
    """What may be shown of a property's texts: hashed, masked, nothing, or, if it is not personal, all."""
    if of.pii is None:
        return texts
    if of.pii == "drop":
        return pa.nulls(len(texts), pa.string())
    if of.pii == "mask":
        return pc.if_else(texts.is_valid(), pa.scalar(MASK), pa.scalar(None, pa.string()))
    encoded: Any = texts.dictionary_encode()
    hashes = [hmac.digest(pii_key, text.encode(), "sha256").hex() for text in encoded.dictionary.to_pylist()]
    return pa.array(hashes, pa.string()).take(encoded.indices)


def cast_property(part: pa.Table, of: Property) -> Cast:
    """A property's clear values, every rule of the contract checked; ``part`` needs its source only."""
    texts: Column = pa.nulls(part.num_rows, pa.string())
    if of.source in part.column_names:
        texts = as_texts(_one_array(part[of.source]), of.source)
    cast = Cast(of, texts, read_texts(texts, of.logical_type, of.value_type, of.temporal_format))
    unread = pc.and_(texts.is_valid(), cast.values.is_null())
    if (of.required or of.critical) and texts.null_count:
        cast.failures.append(Failure("missing", "a value", texts.is_null()))
    if pc.any(unread).as_py():
        cast.failures.append(Failure("type", of.reads, unread))
    for rule, expected, holds in rules(of, cast.values):
        cast.check(rule, expected, holds)
    return cast


def rejected_rows(casts: Iterable[Cast], rows: int) -> Column:
    """Of so many rows those in which a critical property failed, as a mask without nulls."""
    bad: Column = pa.repeat(pa.scalar(False), rows)  # noqa: FBT003
    for cast in casts:
        if cast.of.critical:
            for failure in cast.failures:
                bad = pc.or_(bad, failure.rows)
    return bad


def _semantic(part: pa.Table, contract: Contract, casts: list[Cast], pii_key: bytes) -> pa.Table:
    """All rows as the Semantic table has them, but for ``_merge_seq``."""
    columns: list[Column] = [_one_array(part[name]) for name in _LINEAGE]
    columns.append(pa.repeat(pa.scalar(contract.version), part.num_rows))
    columns.append(_one_array(part["_merge_seq"]))
    for cast in casts:
        if cast.of.pii is None:
            columns.append(cast.values)
        elif cast.of.pii != "drop":
            valid = pc.if_else(cast.values.is_valid(), cast.texts, pa.scalar(None, pa.string()))
            columns.append(treat_pii(valid, cast.of, pii_key))
    return pa.Table.from_arrays(columns, names=_semantic_schema(contract).names).cast(
        _semantic_schema(contract)
    )


def _semantic_schema(contract: Contract) -> pa.Schema:
    kinds = {"publish_time": _MOMENT, "ingestion_ts": _MOMENT}
    lineage = [(name, kinds.get(name, pa.string())) for name in _LINEAGE]
    own: list[tuple[str, pa.DataType]] = [
        ("_contract_version", pa.string()),
        ("_source_merge_seq", pa.int64()),
    ]
    columns = [(p.name, arrow_type(p.column_type)) for p in contract.properties if p.column_type is not None]
    return pa.schema([*lineage, *own, *columns])


def _quarantine(
    part: pa.Table, contract: Contract, casts: list[Cast], bad: Column, pii_key: bytes
) -> pa.Table:
    """The rejected rows as the quarantine table has them."""
    rejected = part.filter(bad)
    rows = rejected.num_rows
    columns = {name: rejected[name] for name in _QUARANTINE_SCHEMA.names[:5]}
    return pa.table(
        columns
        | {
            "reasons": pa.array(_reasons(casts, bad), pa.string()),
            "row_json": pa.array(_rows_as_json(rejected, contract, pii_key), pa.string()),
            "_contract_version": pa.repeat(pa.scalar(contract.version), rows),
            "_source_merge_seq": rejected["_merge_seq"],
        }
    ).cast(_QUARANTINE_SCHEMA)


def _reasons(casts: list[Cast], bad: Column) -> list[str]:
    """For every rejected row a JSON list of what its critical properties broke."""
    reasons: list[list[dict[str, str]]] = [[] for _ in range(_count(bad))]
    for cast in casts:
        if not cast.of.critical:
            continue
        for failure in cast.failures:
            failed = failure.rows.filter(bad).to_pylist()
            texts = cast.texts.filter(bad).to_pylist()
            for row, text in ((r, t) for r, (t, f) in enumerate(zip(texts, failed, strict=True)) if f):
                reasons[row].append(
                    {
                        "column": cast.of.name,
                        "rule": failure.rule,
                        "expected": failure.expected,
                        "found": _kind(text),
                    }
                )
    return [json.dumps(row, ensure_ascii=False) for row in reasons]


def _kind(text: str | None) -> str:
    """What a text is, without saying what it says: it may be personal."""
    if text is None:
        return "nothing"
    if not text:
        return "empty text"
    if text in ("true", "false"):
        return "a boolean"
    if text[0] in "[{":
        return "an array" if text[0] == "[" else "an object"
    try:
        number = Decimal(text)
    except ArithmeticError:
        return "text"
    return "an integer" if text.lstrip("-").isdecimal() else "a number" if number.is_finite() else "text"


def _rows_as_json(rejected: pa.Table, contract: Contract, pii_key: bytes) -> list[str]:
    """Rejected Curated rows as JSON objects without nulls, personal data treated as in Semantic.

    What stands below a classified path is personal as well: an object where the contract has a scalar becomes
    columns of longer paths, and none of them is the contract's.
    ``_rescued`` may repeat personal data under another spelling of its path: it is masked where the contract
    has any personal data. Curated keeps it.
    """
    any_personal = any(p.pii is not None for p in contract.properties)
    columns: dict[str, list[Any]] = {}
    for name in rejected.column_names:
        column: Column = rejected[name]
        if of := personal(name, contract):
            column = treat_pii(_one_array(column), of, pii_key)
        elif name == RESCUED and any_personal:
            column = pc.if_else(column.is_valid(), pa.scalar(MASK), pa.scalar(None, pa.string()))
        columns[name] = column.to_pylist()
    return [
        json.dumps(
            {k: v for k, v in zip(columns, row, strict=True) if v is not None},
            ensure_ascii=False,
            default=_iso,
        )
        for row in zip(*columns.values(), strict=True)
    ]


def personal(name: str, contract: Contract) -> Property | None:
    """The classified property that a Curated column holds or stands below; the longest path decides."""
    above = [p for p in contract.properties if name == p.source or name.startswith(f"{p.source}__")]
    longest = max(above, key=lambda p: (len(p.source), p.pii is not None), default=None)
    return longest if longest and longest.pii else None


def _count(mask: Column) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _iso(moment: datetime) -> str:
    return moment.isoformat()


def _one_array(column: "pa.ChunkedArray[Any]") -> Column:
    return column.combine_chunks()
