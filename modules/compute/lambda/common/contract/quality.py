"""Rules about all rows of a topic together: ``quality`` of the standard, of a property or of the table.

    quality:
      - metric: nullValues        # rowCount, nullValues, missingValues, invalidValues, duplicateValues
        mustBeLessThan: 5         # exactly one bound
        unit: percent             # default: rows
        severity: warning         # info, warning; error (default); critical
      - type: sql
        query: SELECT count(*) FROM ${table} WHERE energy_kwh > 1000
        mustBe: 0

They are measured on the rows of Semantic (``common.layers.quality``). ``severity`` says what follows where a
rule is broken: ``info`` and ``warning`` are told, ``error`` rings an alarm, and of ``critical`` the topic is
held back as well: no run goes on until somebody resumes it.

A rule in SQL needs an engine, which functions do not have: ``lean-ops contract test`` measures it. What
nobody could measure is refused; ``type: text`` is a sentence for readers and ``type: custom`` a rule of
another engine, and the linter says so.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc
from open_data_contract_standard.model import DataQuality
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.types import PrimitiveType, StringType

from common.runtime.errors import ContractError

Severity = Literal["warning", "error", "critical"]
Metric = Literal["rowCount", "nullValues", "missingValues", "invalidValues", "duplicateValues", "sql"]

SEVERITIES: Final[Mapping[str, Severity]] = {
    "info": "warning", "warning": "warning", "error": "error", "critical": "critical",
}  # fmt: skip
OF_TABLE: Final = ("rowCount", "duplicateValues")
OF_PROPERTY: Final = ("nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount")
ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "missingValues": ("missingValues",),
    "invalidValues": ("validValues", "pattern"),
}
OF_TABLE_ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {"duplicateValues": ("properties",)}
_COMPARED: Final[Mapping[str, tuple[str, Callable[[Any, Any], bool]]]] = {
    "mustBe": ("is", eq),
    "mustNotBe": ("is not", ne),
    "mustBeGreaterThan": ("is more than", gt),
    "mustBeGreaterOrEqualTo": ("is at least", ge),
    "mustBeLessThan": ("is less than", lt),
    "mustBeLessOrEqualTo": ("is at most", le),
}
_BETWEEN: Final = ("mustBeBetween", "mustNotBeBetween")
_TABLE: Final = re.compile(r"\$\{(?:table|object|model)\}", re.IGNORECASE)
_COLUMN: Final = re.compile(r"\$\{(?:column|property|field)\}", re.IGNORECASE)
_LONGEST_QUERY: Final = 10_000


@dataclass(frozen=True)
class Bound:
    """What the measured number must keep to: an operator of the standard, and one number or two."""

    operator: str
    numbers: tuple[Decimal, ...]

    def holds(self, measured: Decimal) -> bool:
        """Whether the number keeps to it."""
        if self.operator in _BETWEEN:
            least, most = self.numbers
            return (least <= measured <= most) is (self.operator == "mustBeBetween")
        return _COMPARED[self.operator][1](measured, self.numbers[0])

    def __str__(self) -> str:
        if self.operator in _BETWEEN:
            least, most = self.numbers
            return f"is {'' if self.operator == 'mustBeBetween' else 'not '}between {least} and {most}"
        return f"{_COMPARED[self.operator][0]} {self.numbers[0]}"


@dataclass(frozen=True)
class QualityRule:
    """One rule. ``columns``: of Semantic that it is about; ``name``: unique in its contract.

    ``values``: the valid, or the missing ones, as texts; None among them stands for null. ``query``: of a
    rule in SQL, with ``${table}`` for the table.
    """

    name: str
    metric: Metric
    columns: tuple[str, ...]
    bound: Bound
    severity: Severity = "error"
    percent: bool = False
    values: frozenset[str | None] = frozenset()
    pattern: str | None = None
    query: str = ""

    @property
    def expected(self) -> str:
        """The rule as a clause."""
        what = "the result" if self.metric == "sql" else self.metric
        of = f" of {', '.join(self.columns)}" if self.columns and self.metric != "sql" else ""
        return f"{what}{of} {self.bound}{' %' if self.percent else ''}"

    def sql(self, table: str) -> str:
        """The statement of a rule in SQL, on a table of that name."""
        query = _TABLE.sub(lambda _: table, self.query)
        return _COLUMN.sub(lambda _: self.columns[0], query) if self.columns else query


def read_quality(
    one: DataQuality, column: str | None, columns: Mapping[str, PrimitiveType]
) -> QualityRule | None:
    """One rule of a property (``column``) or of the table (None) that has these ``columns``.

    None for a text, and for a rule of another engine (``custom``). Raises ContractError for what could not
    be measured.
    """
    kind = one.type or ("sql" if one.query else "library")
    if kind in ("text", "custom"):
        return None
    if kind not in ("library", "sql"):
        raise ContractError(f"type: expected library, sql, text or custom, found {kind!r}; state it so")
    if column is not None and column not in columns:
        raise ContractError("expected a property that has a column, found one without")
    severity = SEVERITIES.get((one.severity or "error").lower())
    if severity is None:
        raise ContractError(f"severity: expected {', '.join(SEVERITIES)}, found {one.severity!r}")
    bound = _bound(one)
    return (
        _sql(one, column, bound, severity)
        if kind == "sql"
        else _library(one, column, columns, bound, severity)
    )


def notes(one: DataQuality) -> Iterator[tuple[Literal["warning", "note"], str]]:
    """What a linter says of a rule: what stands there and is not kept."""
    if one.type == "text":
        yield "note", "a text is documented to readers, and measured by nobody"
    elif one.type == "custom":
        engine = one.engine or "another engine"
        message = f"it is for {engine}, and measured by nobody here: state it by a metric, or in SQL"
        yield "warning", message
    elif one.type == "sql":
        yield "note", "SQL is measured by `lean-ops contract test`, not by runs"
    if (one.schedule or one.scheduler) and one.type not in ("text", "custom"):
        yield "note", "it is measured after each commit, whatever its schedule says"


def typed(values: Collection[str | None], column_type: PrimitiveType) -> "pa.Array[Any]":
    """The values as the column has them; raises ContractError for one that it cannot have."""
    kind = schema_to_pyarrow(column_type)
    texts = sorted(value for value in values if value is not None)
    try:
        return pa.array(texts, pa.string()).cast(kind)
    except pa.ArrowException as error:
        raise ContractError(
            f"expected values that a column of type {column_type} can have, found others: {error}"
        ) from error


def _library(
    one: DataQuality,
    column: str | None,
    columns: Mapping[str, PrimitiveType],
    bound: Bound,
    severity: Severity,
) -> QualityRule:
    metric: Any = one.metric or one.rule
    allowed = OF_TABLE if column is None else OF_PROPERTY
    if metric not in allowed:
        raise ContractError(f"metric: expected {', '.join(allowed)}, found {metric!r}")
    unit = one.unit or "rows"
    if unit not in ("rows", "percent") or (unit == "percent" and metric == "rowCount"):
        raise ContractError(
            f"unit: expected rows{'' if metric == 'rowCount' else ' or percent'}, found {unit!r}"
        )
    about: tuple[str, ...] = (column,) if column is not None and metric != "rowCount" else ()
    values, pattern = frozenset[str | None](), None
    arguments = one.arguments or {}
    taken = OF_TABLE_ARGUMENTS if column is None else ARGUMENTS
    if unknown := sorted(set(arguments) - set(taken.get(metric, ()))):
        expected = ", ".join(taken.get(metric, ())) or "none"
        raise ContractError(f"arguments: expected {expected} for {metric} here, found {', '.join(unknown)}")
    if metric == "duplicateValues" and column is None:
        about = tuple(_names(arguments.get("properties")))
        if unknown := sorted(set(about) - set(columns)):
            raise ContractError(f"properties: expected properties with a column, found {', '.join(unknown)}")
    if metric == "missingValues":
        values = frozenset(_values(arguments.get("missingValues"), "missingValues"))
    elif metric == "invalidValues":
        values, pattern = _validity(arguments)
    if pattern is not None and not isinstance(columns[about[0]], StringType):
        raise ContractError(
            f"pattern: expected a column of texts, found {columns[about[0]]}; list validValues"
        )
    if values:
        typed(values, columns[about[0]])
    name = one.name or one.id or ": ".join([*about, metric])
    return QualityRule(name, metric, about, bound, severity, unit == "percent", values, pattern)


def _sql(one: DataQuality, column: str | None, bound: Bound, severity: Severity) -> QualityRule:
    query = (one.query or "").strip()
    if not query or len(query) > _LONGEST_QUERY:
        raise ContractError(
            f"query: expected a SELECT of at most {_LONGEST_QUERY:,} characters, found {len(query):,}"
        )
    if one.unit not in (None, "rows"):
        raise ContractError(f"unit: expected none beside a query, found {one.unit!r}")
    about = () if column is None else (column,)
    return QualityRule(
        one.name or one.id or ": ".join([*about, "sql"]), "sql", about, bound, severity, query=query
    )


def _bound(one: DataQuality) -> Bound:
    stated = {name: value for name in (*_COMPARED, *_BETWEEN) if (value := getattr(one, name)) is not None}
    if len(stated) != 1:
        raise ContractError(
            f"expected exactly one bound ({', '.join((*_COMPARED, *_BETWEEN))}), found "
            f"{', '.join(stated) or 'none'}"
        )
    ((operator, value),) = stated.items()
    numbers = value if operator in _BETWEEN else [value]
    wanted = 2 if operator in _BETWEEN else 1
    if (
        not isinstance(numbers, list)
        or len(numbers) != wanted
        or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
        or not all(Decimal(str(n)).is_finite() for n in numbers)
    ):
        raise ContractError(
            f"{operator}: expected {'two numbers' if wanted == 2 else 'a number'}, found {value!r}"
        )
    return Bound(operator, tuple(Decimal(str(n)) for n in numbers))


def _validity(arguments: Mapping[str, Any]) -> tuple[frozenset[str | None], str | None]:
    if len(arguments) != 1:
        raise ContractError(
            f"arguments: expected validValues or pattern, found {', '.join(arguments) or 'none'}"
        )
    if (pattern := arguments.get("pattern")) is None:
        return frozenset(_values(arguments["validValues"], "validValues")), None
    try:
        pc.match_substring_regex(pa.array(["x"]), pattern)
    except (pa.ArrowException, TypeError) as error:
        words = next(iter(str(error).splitlines()), "")
        raise ContractError(f"pattern: expected an RE2 expression, found {pattern!r} ({words})") from error
    return frozenset(), pattern


def _values(stated: object, name: str) -> Iterator[str | None]:
    if not isinstance(stated, list) or not stated:
        raise ContractError(f"{name}: expected a list of values, found {stated!r}")
    for value in stated:
        if isinstance(value, dict | list):
            raise ContractError(f"{name}: expected texts, numbers, booleans or null, found {value!r}")
        yield None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _names(stated: object) -> list[str]:
    if not isinstance(stated, list) or not stated or not all(isinstance(one, str) for one in stated):
        raise ContractError(f"arguments, properties: expected a list of names, found {stated!r}")
    return [one.lower() for one in stated]
