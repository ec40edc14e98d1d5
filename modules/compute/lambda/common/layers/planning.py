"""What a contract would do to the rows that are there, before it is put in place. Nothing is changed.

Every row of Curated is judged by the very code that Semantic is made with (``contract.casting``), under the
contract to come and, where one is published, under that as well. Curated has one row a key, so that rows are
keys. What is counted is what a rebuild of Semantic would meet; without one, a row is judged when it changes.
Of a key whose row is refused, the newest version that the contract accepts stands in Semantic
(docs/adr/0016); RAW is not searched for it here.

Rows stream by, a batch at a time; of a batch only the columns that either contract reads are held.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from common.contract.casting import MASK, UNPROCESSABLE, WHOLE_ROW, Cast, cast_property, rejected_rows
from common.contract.contracts import Contract
from common.contract.masking import shape
from common.contract.properties import Property
from common.contract.suspicion import suspicious_values
from common.contract.typed_texts import Column
from common.lake.checkpoints import MERGE_SEQ_COLUMN
from common.lake.reading import read_rows
from common.lake.setting_aside import by_halves
from common.lake.specifications import open_table
from common.layers.semantic import ColumnChange, column_changes
from common.payload.flattening import DELETED
from common.payload.leaves import RESERVED_COLUMNS
from common.runtime.errors import TableMissing
from common.runtime.settings import LakeSettings

_SAMPLES: Final = 3
# Texts of a batch that are looked at for samples, and for what may be personal.
_LOOKED_AT: Final = 1_000
_CLEAR_CHARACTERS: Final = 60
_TREATMENTS: Final = (None, "hash", "mask", "drop")


@dataclass
class Broken:
    """A rule that rows break. ``critical``: they are refused for it; otherwise the value becomes null.

    ``rows``: of all that break it; where it is not critical, of those that are published all the same.
    ``samples``: what such values look like (``contract.masking``), none of personal data.
    """

    column: str
    rule: str
    expected: str
    critical: bool
    rows: int = 0
    samples: list[str] = field(default_factory=list)


@dataclass
class Values:
    """Values of one column in rows that are published, against what the published contract makes of them.

    ``present``: texts that Curated has; ``lost``: of these, values that are null now and were not;
    ``gained``: values that were null; ``changed``: other ones. Of a column that is new, nothing was null.
    """

    present: int = 0
    lost: int = 0
    gained: int = 0
    changed: int = 0


@dataclass(frozen=True)
class InClear:
    """Where a property that is personal data stands untreated, or treated less strictly than it is to be.

    ``rows``: how many values of it; None: every one that ever came.
    """

    column: str
    where: str
    rows: int | None
    what: str
    remedy: str


@dataclass(frozen=True)
class Absent:
    """A property whose column Curated does not have; ``near``: columns that are called nearly so."""

    source: str
    near: list[str]

    def __str__(self) -> str:
        other = f"; it has {', '.join(self.near)}" if self.near else ""
        return f"reads {self.source}, of which Curated has no column, so that it is null in every row{other}"


@dataclass
class Planned:
    """What the contract would do. ``snapshot_id``: of Curated, which was read; None: it holds nothing.

    ``rows``: of keys that are not deleted. ``refused`` and ``refused_before``: by the contract, and by the
    published one (None: there is none); ``newly_refused``: of rows that are published. ``suspected``: clear
    columns without classification whose values look like personal data, and like what. ``absent``: properties
    that no row has a value for.
    """

    topic: str
    version: str
    published: str | None
    snapshot_id: str | None = None
    rows: int = 0
    refused: int = 0
    refused_before: int | None = None
    newly_refused: int = 0
    broken: list[Broken] = field(default_factory=list)
    values: dict[str, Values] = field(default_factory=dict)
    changes: list[ColumnChange] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    in_clear: list[InClear] = field(default_factory=list)
    suspected: dict[str, str] = field(default_factory=dict)
    absent: dict[str, Absent] = field(default_factory=dict)

    def losses(self) -> dict[str, float]:
        """What would be lost, as shares: of rows (``*``) newly refused ones, of a column's values nulled."""
        shares = {WHOLE_ROW: self.newly_refused / self.rows} if self.rows else {}
        shares |= {name: of.lost / of.present for name, of in self.values.items() if of.present}
        return {name: share for name, share in shares.items() if share > 0}


def plan(
    contract: Contract,
    published: Contract | None,
    *,
    settings: LakeSettings,
    catalog: Catalog,
    in_clear: bool = False,
    told: Callable[[int], None] = lambda _rows: None,
) -> Planned:
    """Judge the rows of Curated under a contract that is not in place, and compare it with the published one.

    ``in_clear``: samples are the values themselves, but of personal data. ``told``: so many rows were judged.
    A topic without tables has no rows. Raises TableMismatch as ``cast_rows`` does.
    """
    found = Planned(contract.topic, contract.version, published.version if published else None)
    curated = _table(catalog, settings.table("curated", contract.topic))
    semantic = _table(catalog, settings.table("semantic", contract.topic))
    if semantic is not None:
        found.changes = column_changes(semantic.schema(), contract)
        own = {column.name for column in contract.semantic_columns()}
        before = {column.name for column in published.semantic_columns()} if published else set()
        found.left = sorted((before - own) & set(semantic.schema().column_names))
    if curated is not None and (snapshot := curated.current_snapshot()) is not None:
        found.snapshot_id = str(snapshot.snapshot_id)
        known = curated.schema().column_names
        leaves = [name for name in known if name not in RESERVED_COLUMNS]
        found.absent = {
            of.name: Absent(of.source, get_close_matches(of.source, leaves))
            for of in contract.properties
            if of.source not in known
        }
        work = _Work(contract, published, found, in_clear)
        for batch in read_rows(curated, columns=work.columns(curated), snapshot_id=snapshot.snapshot_id):
            work.take(pa.Table.from_batches([batch]))
            told(found.rows)
        work.finish()
    quarantine = _table(catalog, settings.table("quarantine", contract.topic))
    found.in_clear = _in_clear(contract, published, semantic, quarantine)
    return found


@dataclass(frozen=True)
class _Part:
    """Rows as both contracts judge them: casts by name, and which rows are refused."""

    rows: int
    casts: dict[str, Cast]
    bad: Column
    before: dict[str, Cast]
    bad_before: Column | None


@dataclass
class _Work:
    """Batch after batch of Curated."""

    contract: Contract
    published: Contract | None
    found: Planned
    in_clear: bool
    broken: dict[tuple[str, str], Broken] = field(default_factory=dict)
    looks: dict[str, Counter[str | None]] = field(default_factory=dict)

    def columns(self, curated: Table) -> list[str]:
        """What is read of Curated."""
        both = (*self.contract.properties, *(self.published.properties if self.published else ()))
        wanted = {DELETED, MERGE_SEQ_COLUMN} | {of.source for of in both}
        return [name for name in curated.schema().column_names if name in wanted]

    def take(self, rows: pa.Table) -> None:
        """Judge rows, and count."""
        if DELETED in rows.column_names:
            deleted: Any = rows[DELETED].fill_null(pa.scalar(False))  # noqa: FBT003
            rows = rows.filter(pc.invert(deleted))
        doing = f"typing rows of topic {self.contract.topic}"
        parts, aside = by_halves(rows.combine_chunks(), self._judge, doing)
        self.found.rows += len(aside)
        self.found.refused += len(aside)
        self.found.newly_refused += len(aside)
        for row in aside:
            broken = self._broken_by(WHOLE_ROW, UNPROCESSABLE, "a row that can be typed", critical=True)
            broken.rows += row.row.num_rows
        for part in parts:
            self._count(part)

    def finish(self) -> None:
        """Put what was counted in order."""
        self.found.broken = sorted(
            self.broken.values(), key=lambda one: (not one.critical, -one.rows, one.column, one.rule)
        )
        for name, looks in self.looks.items():
            kind, batches = looks.most_common(1)[0]
            if kind is not None and batches * 2 > looks.total():
                self.found.suspected[name] = kind

    def _judge(self, rows: pa.Table) -> _Part:
        casts = {of.name: cast_property(rows, of) for of in self.contract.properties}
        bad = rejected_rows(casts.values(), rows.num_rows)
        if self.published is None:
            return _Part(rows.num_rows, casts, bad, {}, None)
        known = {_judged_by(cast.of): cast for cast in casts.values()}
        before = {}
        for of in self.published.properties:
            cast = known.get(_judged_by(of))  # most properties stay as they are: judged once
            before[of.name] = replace(cast, of=of) if cast else cast_property(rows, of)
        return _Part(rows.num_rows, casts, bad, before, rejected_rows(before.values(), rows.num_rows))

    def _count(self, part: _Part) -> None:
        found = self.found
        found.rows += part.rows
        found.refused += _sum(part.bad)
        if part.bad_before is None:
            found.newly_refused += _sum(part.bad)
        else:
            found.refused_before = (found.refused_before or 0) + _sum(part.bad_before)
            found.newly_refused += _sum(pc.and_(part.bad, pc.invert(part.bad_before)))
        for name, cast in part.casts.items():
            self._count_rules(cast, part.bad)
            self._count_values(cast, part, part.before.get(name))
            if cast.of.pii is None and cast.of.classification is None and cast.texts.null_count < part.rows:
                looks = suspicious_values(cast.texts.drop_null().slice(0, _LOOKED_AT))
                self.looks.setdefault(name, Counter())[looks] += 1

    def _count_rules(self, cast: Cast, bad: Column) -> None:
        for failure in cast.failures:
            rows = failure.rows if cast.of.critical else pc.and_(failure.rows, pc.invert(bad))
            if not (count := _sum(rows)):
                continue
            broken = self._broken_by(cast.of.name, failure.rule, failure.expected, critical=cast.of.critical)
            broken.rows += count
            if cast.of.pii is None and len(broken.samples) < _SAMPLES:
                texts: Any = cast.texts.filter(rows).slice(0, _LOOKED_AT).drop_null()
                shown = (self._shown(text) for text in texts.unique().to_pylist())
                new = [text for text in dict.fromkeys(shown) if text not in broken.samples]
                broken.samples += new[: _SAMPLES - len(broken.samples)]

    def _count_values(self, cast: Cast, part: _Part, before: Cast | None) -> None:
        kept: Column = pc.invert(part.bad)
        values = self.found.values.setdefault(cast.of.name, Values())
        values.present += _sum(pc.and_(kept, cast.texts.is_valid()))
        null = cast.values.is_null()
        if before is None:
            values.lost += _sum(pc.and_(kept, pc.and_(cast.texts.is_valid(), null)))
            return
        if part.bad_before is not None:
            kept = pc.and_(kept, pc.invert(part.bad_before))
        was_null = before.values.is_null()
        values.lost += _sum(pc.and_(kept, pc.and_(null, pc.invert(was_null))))
        values.gained += _sum(pc.and_(kept, pc.and_(was_null, pc.invert(null))))
        if before.values is not cast.values or before.of.pii != cast.of.pii:
            values.changed += _sum(pc.and_(kept, _differ(before, cast)))

    def _broken_by(self, column: str, rule: str, expected: str, *, critical: bool) -> Broken:
        return self.broken.setdefault((column, rule), Broken(column, rule, expected, critical))

    def _shown(self, text: str) -> str:
        return text[:_CLEAR_CHARACTERS] if self.in_clear else shape(text)


def _judged_by(of: Property) -> Property:
    """What a property's verdicts depend on."""
    return replace(of, name="", description=None, classification=None, pii=None)


def _differ(before: Cast, now: Cast) -> Column:
    """Where both contracts publish a value, and not the same one."""
    # Where either is null, so is the comparison, and ``both`` is false: false it is.
    both: Column = pc.and_(before.values.is_valid(), now.values.is_valid())
    if before.of.pii != now.of.pii:
        return both
    old, new = before.values, now.values
    if before.of.pii is not None:  # of hashes, what is hashed is the text
        old, new = before.texts, now.texts
    elif old.type != new.type:
        numbers = all(pa.types.is_integer(t) or pa.types.is_decimal(t) for t in (old.type, new.type))
        common = pa.decimal256(76, 38) if numbers else pa.string()
        old, new = old.cast(common), new.cast(common)
    other: Column = pc.not_equal(old, new)
    return pc.and_(both, other)


def _in_clear(
    contract: Contract, published: Contract | None, semantic: Table | None, quarantine: Table | None
) -> list[InClear]:
    """Where what is personal under the contract stands as the published one, or none, has treated it."""
    found = []
    publish = f"`lean-ops contract publish --topic {contract.topic}` treats them"
    for of in contract.properties:
        if of.pii is None:
            continue
        before = [p for p in published.properties if p.source == of.source] if published else []
        weaker = [p for p in before if _TREATMENTS.index(p.pii) < min(_TREATMENTS.index(of.pii), 2)]
        found.append(
            InClear(of.name, "raw and curated", None, "in clear", "grant them accordingly; `lean-ops erase`")
        )
        for p in weaker:
            if semantic is None or p.name not in semantic.schema().column_names or p.column_type is None:
                continue
            what = "in clear" if p.pii is None else f"by the {p.pii}"
            if rows := _count(semantic, p.name):
                dropped = "" if p.name == of.name and of.column_type else ", then drop the column"
                found.append(InClear(of.name, f"semantic, column {p.name}", rows, what, publish + dropped))
            if snapshots := len(semantic.snapshots()):
                found.append(
                    InClear(
                        of.name,
                        f"{snapshots} snapshots of semantic",
                        None,
                        what,
                        "`lean-ops maintain --snapshot-days 0` afterwards, or wait for them to expire",
                    )
                )
        if quarantine is not None and (weaker or not before) and (rows := _in_json(quarantine, of.source)):
            found.append(InClear(of.name, "quarantine, row_json", rows, "in clear", publish))
    return found


def _count(table: Table, column: str) -> int:
    return sum(batch.num_rows for batch in read_rows(table, f"{column} is not null", [column]))


def _in_json(quarantine: Table, source: str) -> int:
    """Quarantined rows that show a Curated column neither masked nor hashed."""
    # Quotes in a value are escaped, so that this is the name of a member and nothing else.
    name = f'"{re.escape(source)}": '
    treated = f'{name}"(?:{re.escape(MASK)}|[0-9a-f]{{64}})"'
    count = 0
    for batch in read_rows(quarantine, columns=["row_json"]):
        texts: Column = batch.column("row_json")
        there: Column = pc.match_substring_regex(texts, name)
        bare: Column = pc.invert(pc.match_substring_regex(texts, treated))
        both: Column = pc.and_(there, bare)
        count += _sum(both)
    return count


def _table(catalog: Catalog, identifier: str) -> Table | None:
    try:
        return open_table(catalog, identifier)
    except TableMissing:
        return None


def _sum(mask: Column) -> int:
    return int(pc.sum(mask).as_py() or 0)
