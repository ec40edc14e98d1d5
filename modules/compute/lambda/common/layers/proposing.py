"""A contract proposed from the rows that Curated has: a beginning for the person who is to answer for it.

Every column of the payload becomes a property of the narrowest type that reads all of its texts, or all but
one in a hundred, and what it does not read is said. Types are tried by the readers that Semantic is made with
(``contract.typed_texts``), so that the proposal refuses none of the rows that it was made from: no property
is critical. What nobody can see in rows is left to people: descriptions, what is critical, which ranges are
rules, and whether what looks like personal data is.

One pass over the rows, a batch at a time. A type that the first texts rule out is not tried on the rest; of
values no more than ``FEW`` different ones of a column are held, and the shapes of a few.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import yaml
from pyiceberg.catalog import Catalog
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    LongType,
    PrimitiveType,
    StringType,
    TimestamptzType,
)

from common.contract.masking import shape
from common.contract.properties import is_property_name, is_source
from common.contract.suspicion import suspicion
from common.contract.temporal_formats import EPOCHS, ISO_DATE, RFC3339, TemporalFormat, compile_format
from common.contract.typed_texts import Column, as_texts, read_texts
from common.lake.reading import read_rows
from common.lake.specifications import open_table
from common.payload.flattening import DELETED
from common.payload.leaves import RESERVED_COLUMNS
from common.runtime.errors import InvalidInput
from common.runtime.settings import LakeSettings

FEW: Final = 12
"""A text with at most so many different values is proposed with an enum, if each occurs often."""

_OFTEN: Final = 20
_LONGEST_WORD: Final = 64
# Of a column's texts the type that is proposed reads at least so many.
_NEARLY_ALL: Final = 0.99
# Below this share of the first texts, a type is not tried on the others.
_PLAUSIBLE: Final = 0.9
_LOOKED_AT: Final = 2_000
_SAMPLES: Final = 3
_FEW_A_DAY: Final = 1_000
_DAY_S: Final = 86_400
_LONGEST_NAME: Final = 127
_CENTURY: Final = (946_684_800, 4_102_444_800)
"""From 2000 to 2100, in seconds since 1970: numbers of that size may be moments."""

_DATE_PATTERNS: Final = ("yyyyMMdd", "dd.MM.yyyy", "dd/MM/yyyy", "MM/dd/yyyy", "yyyy/MM/dd", "dd-MM-yyyy")
_TIME_PATTERNS: Final = (
    "yyyy-MM-dd HH:mm:ss", "yyyy-MM-dd'T'HH:mm:ss", "yyyy-MM-dd HH:mm", "yyyy-MM-dd'T'HH:mm",
    "yyyy-MM-dd HH:mm:ss.SSS", "yyyy-MM-dd'T'HH:mm:ss.SSS", "yyyy-MM-dd HH:mm:ss.SSSSSS",
    "yyyy-MM-dd'T'HH:mm:ss.SSSSSS", "dd.MM.yyyy HH:mm:ss", "dd.MM.yyyy HH:mm", "dd/MM/yyyy HH:mm:ss",
    "dd/MM/yyyy HH:mm", "MM/dd/yyyy HH:mm:ss", "MM/dd/yyyy HH:mm", "yyyy/MM/dd HH:mm:ss", "yyyyMMddHHmmss",
)  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """One way to read texts. ``options``: what a contract says for it beside ``logicalType``."""

    logical_type: str
    value_type: PrimitiveType
    temporal_format: TemporalFormat | None = None
    options: tuple[tuple[str, str], ...] = ()

    def read(self, texts: Column) -> Column:
        """Values, null where a text is none."""
        return read_texts(texts, self.logical_type, self.value_type, self.temporal_format)


def _temporal(pattern: str, *, with_time: bool) -> Reading:
    kind, value_type = ("timestamp", TimestamptzType()) if with_time else ("date", DateType())
    return Reading(kind, value_type, compile_format(pattern, with_time=with_time), (("format", pattern),))


_WIDE: Final = DecimalType(38, 0)
_INTEGER: Final = Reading("integer", LongType())
_LONG_INTEGER: Final = Reading("integer", _WIDE, None, (("physicalType", "decimal(38,0)"),))
_NUMBER: Final = Reading("number", DoubleType())
_NUMERIC: Final = (_INTEGER, _LONG_INTEGER, _NUMBER)
# The narrowest first: of two that read as many texts, the earlier one is proposed.
READINGS: Final = (
    Reading("boolean", BooleanType()),
    _INTEGER,
    _LONG_INTEGER,
    _NUMBER,
    Reading("date", DateType(), ISO_DATE),
    Reading("timestamp", TimestamptzType(), RFC3339),
    *(_temporal(pattern, with_time=False) for pattern in _DATE_PATTERNS),
    *(_temporal(pattern, with_time=True) for pattern in _TIME_PATTERNS),
    Reading("array", StringType()),
    Reading("object", StringType()),
)


@dataclass
class _Tried:
    """How many texts a reading has read, its extremes, and shapes of texts that it does not read."""

    reading: Reading
    read: int = 0
    least: Any = None
    greatest: Any = None
    unread: list[str] = field(default_factory=list)

    def take(self, texts: Column) -> Column:
        """Read texts; gives those that are no values."""
        values = self.reading.read(texts)
        count = len(texts) - values.null_count
        self.read += count
        if count and not pa.types.is_boolean(values.type) and not pa.types.is_string(values.type):
            bounds: Any = pc.min_max(values)
            self.widen(*bounds.as_py().values())
        others: Column = texts.filter(values.is_null()) if count < len(texts) else texts.slice(0, 0)
        if len(others) and len(self.unread) < _SAMPLES:
            shapes = dict.fromkeys(shape(text) for text in others.slice(0, _LOOKED_AT).unique().to_pylist())
            self.unread += [one for one in shapes if one not in self.unread][: _SAMPLES - len(self.unread)]
        return others

    def widen(self, least: Any, greatest: Any) -> None:
        """Take these values into the range that was seen."""
        self.least = least if self.least is None else min(self.least, least)
        self.greatest = greatest if self.greatest is None else max(self.greatest, greatest)


@dataclass
class Profile:
    """What the texts of one column of Curated are like.

    ``few``: its different texts, None for many. ``fraction``: the most digits after the point of any number,
    None where one has an exponent.
    """

    source: str
    rows: int = 0
    present: int = 0
    few: set[str] | None = field(default_factory=set)
    tried: list[_Tried] | None = None
    suspicion: str | None = None
    fraction: int | None = 0

    def take(self, texts: Column) -> None:
        """Take the next texts in."""
        self.rows += len(texts)
        present: Any = texts.drop_null()
        if not len(present):
            return
        self.present += len(present)
        if self.tried is None:
            first = present.slice(0, _LOOKED_AT)
            needed = _PLAUSIBLE * len(first)
            self.tried = [
                _Tried(way) for way in READINGS if len(first) - way.read(first).null_count >= needed
            ]
            self.suspicion = suspicion(self.source, first)
        numbers, narrower = present, None
        for way in self.tried:
            if way.reading not in _NUMERIC:
                way.take(present)
                continue
            # What a narrower type reads a wider one reads too: it is tried on the others only.
            way.read += len(present) - len(numbers)
            if narrower is not None and narrower.least is not None:
                way.widen(narrower.least, narrower.greatest)
            left = way.take(numbers)
            if way.reading is _NUMBER and len(numbers):
                self._measure(numbers, len(left))
            numbers, narrower = left, way
        # One that has fallen behind will not be chosen: the rest of a large table is not read by it.
        self.tried = [way for way in self.tried if way.read >= _PLAUSIBLE * self.present]
        self._count_few(present)

    def chosen(self) -> _Tried | None:
        """The reading to propose; None: text."""
        best = max(self.tried or (), key=lambda way: way.read, default=None)
        return best if best is not None and best.read >= _NEARLY_ALL * self.present else None

    def nearly(self) -> _Tried | None:
        """The reading of most texts where none reads enough to be proposed."""
        ways = () if self.chosen() else self.tried or ()
        return max(ways, key=lambda way: way.read, default=None)

    def _measure(self, present: Column, unread: int) -> None:
        """Digits after the point of numbers, ``unread`` of which are none."""
        parts: Any = pc.extract_regex(present, r"^-?[0-9]+(?:\.(?P<fraction>[0-9]+))?$")
        if self.fraction is None or parts.null_count > unread:
            self.fraction = None
            return
        longest: Any = pc.max(pc.utf8_length(parts.field("fraction")))
        self.fraction = max(self.fraction, longest.as_py() or 0)

    def _count_few(self, present: Column) -> None:
        if self.few is None:
            return
        different: Any = pc.unique(present)
        if len(different) <= FEW:
            self.few |= set(different.to_pylist())
        if len(different) > FEW or len(self.few) > FEW:
            self.few = None


@dataclass
class Proposed:
    """A contract's text, and of how many rows and columns it was made."""

    topic: str
    text: str
    rows: int
    columns: int


def propose(
    topic: str, *, settings: LakeSettings, catalog: Catalog, told: Callable[[int], None] = lambda _rows: None
) -> Proposed:
    """The contract that the rows of Curated suggest; raises InvalidInput where there is none to look at.

    ``told``: so many rows were looked at.
    """
    curated = open_table(catalog, settings.table("curated", topic))
    names = [name for name in curated.schema().column_names if name not in RESERVED_COLUMNS]
    profiles = {name: Profile(name) for name in names if is_source(name)}
    looked = _Looked(low_volume=len(curated.spec().fields) == 1)
    deleted = [DELETED] if DELETED in curated.schema().column_names else []
    for batch in read_rows(curated, columns=["publish_time", *deleted, *profiles]):
        rows = pa.Table.from_batches([batch])
        if deleted:
            gone: Any = rows[DELETED].fill_null(pa.scalar(False))  # noqa: FBT003
            rows = rows.filter(pc.invert(gone))
        looked.take(rows)
        for name, profile in profiles.items():
            profile.take(as_texts(rows[name].combine_chunks(), name))
        told(looked.rows)
    seen = [profile for profile in profiles.values() if profile.present]
    if not seen:
        raise InvalidInput(
            f"contract of {topic}: expected rows with fields in Curated to propose one from, found none; "
            f"`lean-ops send` and `lean-ops run --topic {topic}` bring some"
        )
    unnamed = sorted(set(names) - profiles.keys())
    return Proposed(topic, "\n".join(_lines(topic, seen, looked, unnamed)) + "\n", looked.rows, len(seen))


def propose_property(
    topic: str, column: str, taken: Iterable[str], *, settings: LakeSettings, catalog: Catalog
) -> list[str]:
    """The lines of a property for one column of Curated, under a name that is none of ``taken``.

    Raises InvalidInput for a column that Curated does not have, or has no value of.
    """
    curated = open_table(catalog, settings.table("curated", topic))
    if column not in curated.schema().column_names or column in RESERVED_COLUMNS or not is_source(column):
        raise InvalidInput(
            f"column {column[:80]!r}: expected a field of curated_{topic} that a contract can name, found "
            f"none; `lean-ops contract init --topic {topic}` lists them"
        )
    profile = Profile(column)
    for batch in read_rows(curated, f"{column} is not null", [column]):
        profile.take(as_texts(batch.column(column), column))
    if not profile.present:
        raise InvalidInput(f"column {column}: expected values in curated_{topic}, found none; wait for some")
    # Of rows before the field was sent, nobody knows whether they miss it.
    lines = list(_property(profile, _name(column, set(taken))))
    return [line for line in lines if line != "  required: true"]


@dataclass
class _Looked:
    """All rows together, times in seconds since 1970. ``low_volume``: the table is made for few rows."""

    low_volume: bool
    rows: int = 0
    first: float = 0
    last: float = 0

    def take(self, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        bounds: Any = pc.min_max(rows["publish_time"])
        first, last = (moment.timestamp() for moment in bounds.as_py().values())
        self.first = min(self.first, first) if self.rows else first
        self.last = max(self.last, last) if self.rows else last
        self.rows += rows.num_rows

    @property
    def a_day(self) -> float:
        return self.rows / max((self.last - self.first) / _DAY_S, 1)


def _lines(topic: str, seen: list[Profile], looked: _Looked, unnamed: list[str]) -> Iterator[str]:
    yield f"# Proposed from {looked.rows:,} rows of curated_{topic}. What rows cannot say is yours to say:"
    yield "# - a description of every property: analysts see it as the column's comment;"
    yield "# - criticalDataElement: true where a row without a good value is worth nothing and is refused;"
    yield "# - which of the ranges that were seen are rules, and whether an enum is complete;"
    yield "# - what is personal data: classification: PII with a piiTreatment (docs/contracts.md)."
    yield f"# Then: lean-ops contract lint, and lean-ops contract plan --topic {topic}"
    yield "apiVersion: v3.2.0"
    yield "kind: DataContract"
    yield f"id: lean-ops.{topic}"
    yield "version: 1.0.0"
    yield "status: draft"
    if looked.low_volume:  # as its tables are: another word here would not change them
        yield "customProperties:"
        yield "  - property: volume"
        yield "    value: low"
    elif looked.a_day < _FEW_A_DAY:
        yield f"# About {looked.a_day:,.0f} rows a day: tables made anew are better partitioned by month"
        yield "# (volume: low, docs/adr/0006). These are partitioned by day."
    first, last = (_at(seconds)[:10] for seconds in (looked.first, looked.last))
    yield f"# These were published from {first} to {last}, about {looked.a_day:,.0f} a day, which makes"
    yield f"# {365 * looked.a_day:,.0f} a year. How long rows are kept: for good, unless you say so, such as"
    yield "# slaProperties: [{property: retention, value: 400, unit: d}]"
    for name in unnamed:
        yield f"# Not proposed: {_word(name)}, since a contract cannot name such a column."
    yield "schema:"
    yield f"  - name: {topic}"
    yield "    properties:"
    taken: set[str] = set()
    for profile in seen:
        yield from (f"      {line}" for line in _property(profile, _name(profile.source, taken)))


def _name(source: str, taken: set[str]) -> str:
    """A name for the column of Semantic that nothing else has."""
    short = source.replace("__", "_")[:_LONGEST_NAME]
    choices = [short, source, *(f"{short[: _LONGEST_NAME - 4]}_{number}" for number in range(2, 1000))]
    name = next(name for name in choices if name not in taken and is_property_name(name))
    taken.add(name)
    return name


def _property(profile: Profile, name: str) -> Iterator[str]:
    way = profile.chosen()
    missing = profile.rows - profile.present
    yield f"- name: {name}"
    if missing:
        yield f"  # missing in {missing:,} of {profile.rows:,} rows ({missing / profile.rows:.1%})"
    if profile.suspicion:
        yield f"  # personal data? {profile.suspicion}: say which classification it has"
    yield from _type(profile, way) if way else ["  logicalType: string"]
    if (most := profile.nearly()) is not None:
        share = f"{most.read / profile.present:.2%}"
        yield f"  # {most.read:,} of {profile.present:,} values ({share}) would be read as"
        yield from (line.replace("  ", "  #   ", 1) for line in _type(profile, most))
    if not missing:
        yield "  required: true"
    if way is None and (words := _enum(profile)):
        yield "  # all values that were seen; leave it out if there can be others"
        yield "  enum:"
        yield from (f"    - value: {_word(word)}" for word in words)
    if name != profile.source:
        yield f"  transformSourceObjects: [{profile.source}]"


def _type(profile: Profile, way: _Tried) -> Iterator[str]:
    options = dict(way.reading.options)
    if way.reading is _NUMBER and (decimal := _decimal(profile, way)):
        options["physicalType"] = decimal
    yield f"  logicalType: {way.reading.logical_type}"
    if "physicalType" in options:
        yield f"  physicalType: {options['physicalType']}"
    if "format" in options:
        yield f"  logicalTypeOptions: {{format: {_word(options['format'])}}}"
    for other in profile.tried or ():
        if other is not way and other.reading.temporal_format is not None and other.read == way.read:
            pattern = dict(other.reading.options).get("format", "the standard's own")
            yield f"  # reads as well as logicalType: {other.reading.logical_type}, format {pattern}"
    if way.read < profile.present:
        unread = profile.present - way.read
        share = f"{unread / profile.present:.2%}"
        yield f"  # {unread:,} of {profile.present:,} values ({share}) are none and would be null, such as"
        yield f"  # {'  '.join(way.unread)}"
    if not profile.suspicion and way.least is not None:
        yield f"  # seen: {_shown(way.least)} to {_shown(way.greatest)}"
        if str(options.get("physicalType", "")).startswith("decimal") and profile.fraction:
            yield f"  # with up to {profile.fraction} digits after the point; more of them are not read"
        for unit, first, last in _moments(way):
            yield "  # a moment? logicalType: timestamp with logicalTypeOptions: {format: " + unit + "} reads"
            yield f"  # {first} to {last}"


def _moments(way: _Tried) -> Iterator[tuple[str, str, str]]:
    """As what number since 1970 all of these could be moments of this century: format, first and last."""
    if way.reading not in _NUMERIC:
        return
    for word, of in EPOCHS.items():
        first, last = (int(value / (of.a_second or 1)) for value in (way.least, way.greatest))
        if _CENTURY[0] <= first <= last < _CENTURY[1]:
            yield word, _at(first), _at(last)


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _decimal(profile: Profile, way: _Tried) -> str | None:
    """The exact type of all numbers that were seen, with room for larger ones; None: a double."""
    if profile.fraction is None:
        return None
    whole = max(len(str(abs(int(bound)))) for bound in (way.least, way.greatest))
    precision = max(18, whole + profile.fraction)
    return f"decimal({precision},{profile.fraction})" if precision <= 38 else None


def _enum(profile: Profile) -> list[str]:
    few = profile.few
    if not few or profile.suspicion or profile.present < _OFTEN * len(few):
        return []
    return sorted(few) if all(0 < len(word) <= _LONGEST_WORD for word in few) else []


def _word(text: str) -> str:
    """A text as YAML reads it back: quoted, on one line, whatever is in it."""
    quoted: str = yaml.safe_dump(text, default_style='"', width=10**6)
    return quoted.strip()


def _shown(value: Any) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
