"""Which keys are meant: given by name, from a file, or by a condition on what their events say.

A condition is read by the Iceberg library's own parser and bound to the columns of Curated: it is never
text in anybody's SQL. A key is selected where any of its events fulfils it, in RAW (every version, with its
payload in Curated's columns) or in Curated, which may hold what RAW no longer has. From then on all goes by
key.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import BooleanExpression
from pyiceberg.expressions.parser import parse
from pyiceberg.expressions.visitors import bind, extract_field_ids
from pyiceberg.io.pyarrow import expression_to_pyarrow, schema_to_pyarrow
from pyiceberg.schema import Schema
from pyiceberg.table import Table

from common.lake.merge import KEY_LENGTH_LIMIT
from common.lake.reading import read_rows
from common.lake.setting_aside import SetAside
from common.lake.specifications import open_table
from common.layers.uncurable import curable
from common.payload.columns import DEFAULT_LIMITS, Columns
from common.payload.flattening import flatten_rows
from common.runtime.errors import InvalidInput
from lean_ops.environment.target import Target

_KEY: Final = "idempotency_key"
_EXAMPLE: Final = "\"device__id = 'd-17'\""
_LONGEST: Final = 2_000


@dataclass(frozen=True)
class Selected:
    """The keys, each once, in order. ``by``: how they were named (``key``, ``keys`` or ``where``).

    ``all_there_are``: a condition took every key of the topic.
    """

    by: str
    keys: tuple[str, ...]
    all_there_are: bool = False


def given_keys(keys: Iterable[str]) -> Selected:
    """Keys by name; raises InvalidInput for one that no event can have."""
    found = tuple(dict.fromkeys(keys))
    for number, key in enumerate(found, 1):
        _check(key, f"--key, number {number}")
    return Selected("key", found)


def keys_in(path: Path) -> Selected:
    """Keys of a file, one a line; a line that begins with a quote is the key as JSON text.

    Raises InvalidInput, which names lines and quotes none.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"--keys: expected {path} to be UTF-8 text, one key a line, found other bytes; convert it first"
        ) from error
    found: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        text = line.removesuffix("\r")
        if not text.strip():
            continue
        where = f"--keys: {path}, line {number}"
        if text.startswith('"'):
            text = _json_text(text, where)
        _check(text, where)
        found[text] = None
    if not found:
        raise InvalidInput(
            f"--keys: expected keys in {path}, one a line, found none; see that it is the file"
        )
    return Selected("keys", tuple(found))


def _json_text(line: str, where: str) -> str:
    try:
        text = json.loads(line)
    except ValueError as error:
        raise InvalidInput(
            f"{where}: expected a JSON text, since it begins with a quote, found something else; mend it, or "
            "leave the quotes out"
        ) from error
    return str(text)


def _check(key: str, where: str) -> None:
    if not 1 <= len(key) <= KEY_LENGTH_LIMIT:
        raise InvalidInput(
            f"{where}: expected a key of 1 to {KEY_LENGTH_LIMIT} characters, found {len(key)}; no event "
            "has it"
        )


def condition(text: str, schema: Schema) -> BooleanExpression:
    """The condition, bound to the columns of Curated; raises InvalidInput where it is none, or names none."""
    if len(text) > _LONGEST:
        raise InvalidInput(
            f"--where: expected at most {_LONGEST} characters, found {len(text)}; list keys with --keys "
            "instead"
        )
    try:
        expression = parse(text)
        bound = bind(schema, expression, case_sensitive=True)
        columns = extract_field_ids(bound)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInput(f"--where: {_why(text, error, schema)}") from None
    except Exception as error:  # pyparsing has a family of its own, which is no dependency of ours
        if type(error).__module__.partition(".")[0] != "pyparsing":
            raise
        raise InvalidInput(f"--where: {_why(text, error, schema)}") from None
    if not columns:
        raise InvalidInput(
            f"--where: expected a condition on a column of Curated, as {_EXAMPLE}, found none that names "
            "one; for every key of a topic say --all beside a condition that all of them fulfil"
        )
    return bound


def _why(text: str, error: Exception, schema: Schema) -> str:
    place = getattr(error, "loc", None)
    if isinstance(place, int):
        return (
            f"expected a condition as {_EXAMPLE} (=, !=, <, >, in, like 'x%', is null, and, or, not), found "
            f"something else from character {min(place, len(text)) + 1} on; texts stand in single quotes"
        )
    if "Could not find field" in str(error):
        return (
            'expected columns of Curated, found another; `lean-ops query "DESCRIBE curated_…"` lists its '
            f"{len(schema.fields)} columns, with __ between the levels of a payload"
        )
    return (
        f"expected a condition as {_EXAMPLE}, found one that does not fit its columns "
        f"({type(error).__name__}); columns of payloads are texts"
    )


def keys_where(target: Target, topic: str, text: str) -> Selected:
    """Keys of which an event, in RAW or in Curated, fulfils the condition. Raises InvalidInput."""
    catalog, settings = target.catalog(), target.settings
    raw = open_table(catalog, settings.table("raw", topic))
    curated = open_table(catalog, settings.table("curated", topic))
    bound = condition(text, curated.schema())
    found: set[str] = set()
    known: set[str] = set()
    of_curated = (pa.Table.from_batches([batch]) for batch in read_rows(curated))
    for rows in chain(of_curated, _versions(raw, curated)):
        known.update(_keys(rows))
        found.update(_keys(rows.filter(expression_to_pyarrow(bound, curated.schema()))))
    return Selected("where", tuple(sorted(found)), bool(found) and found == known)


def _versions(raw: Table, curated: Table) -> Iterator[pa.Table]:
    """The events of RAW with Curated's columns; one that cannot be curated fulfils no condition."""
    partition_fields = frozenset(f.name for spec in curated.specs().values() for f in spec.fields)
    columns = Columns.of(curated.schema(), partition_fields, frozenset(), DEFAULT_LIMITS)
    schema = schema_to_pyarrow(curated.schema(), include_field_ids=False)
    aside: list[SetAside] = []
    for batch in curable(read_rows(raw), lambda rows: flatten_rows(rows, columns), aside):
        has = set(batch.schema.names)
        yield pa.table(
            {
                field.name: batch.column(field.name).cast(field.type)
                if field.name in has
                else pa.nulls(batch.num_rows, field.type)
                for field in schema
            }
        )


def _keys(rows: pa.Table) -> list[str]:
    column: Any = pc.unique(rows[_KEY])
    return [key for key in column.to_pylist() if key]
