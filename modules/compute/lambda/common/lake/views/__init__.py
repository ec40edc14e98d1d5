"""Views for whoever reads the tables by SQL: Athena's (Trino's), made and kept true by upkeep.

    history_<topic>            every version of every key (docs/adr/0018)
    curated_<topic>_current    Curated without deleted keys and without the pipeline's own columns
    semantic_<topic>_current   the contract's columns of Semantic, key and times

A view lists its columns, with their types: Athena refuses one whose columns are not those that its SELECT
gives. Curated gains columns by itself, and so upkeep writes the view again after each pass over a changed
table (docs/adr/0025). Until then the view lacks the new columns, and is right. Where a column goes, or gets
another type, whoever changes it writes the view that is there at once (``follow``).

Glue keeps a view of Athena as a table of the type VIRTUAL_VIEW, whose text is the SELECT with the names and
types of its columns, as JSON in base64: what Athena writes for CREATE VIEW, and Trino reads (its
``ViewReaderUtil``). Athena's views know no timestamp with a zone (aws-sdk-pandas, issue 86): moments are
given in UTC, without one.
"""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pyiceberg.schema import Schema
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    LongType,
    StringType,
    TimestampType,
    TimestamptzType,
)

from common.payload.flattening import DELETED
from common.runtime.errors import TableMismatch

if TYPE_CHECKING:
    from types_boto3_glue.client import GlueClient

CURRENT: Final = "_current"
"""Ends the name of a view of what counts now."""
HISTORY: Final = "history_"
"""Begins the name of a topic's view of all versions."""

_FOLDER: Final = Path(__file__).parent
_KIND: Final = "VIRTUAL_VIEW"
# How often a view is written at most while its table changes.
_TIMES: Final = 5
# Of one layer: what the pipeline notes for itself, and in Semantic where a row comes from.
_OWN: Final = {
    "curated": frozenset({"_merge_seq", DELETED}),
    "semantic": frozenset(
        {
            "message_id",
            "topic_name",
            "correlation_id",
            "_contract_version",
            "_source_merge_seq",
            "_merge_seq",
        }
    ),
}
# The name of a type in Trino's SQL, and in Glue's catalog, which has Hive's.
_TYPES: Final[dict[type[IcebergType], tuple[str, str]]] = {
    BooleanType: ("boolean", "boolean"),
    IntegerType: ("integer", "int"),
    LongType: ("bigint", "bigint"),
    FloatType: ("real", "float"),
    DoubleType: ("double", "double"),
    DateType: ("date", "date"),
    StringType: ("varchar", "string"),
    TimestampType: ("timestamp(6)", "timestamp"),
    TimestamptzType: ("timestamp(6)", "timestamp"),
}


@dataclass(frozen=True)
class Column:
    """A column of a view: its type in Trino's SQL, and in Glue's catalog."""

    name: str
    sql_type: str
    glue_type: str


@dataclass(frozen=True)
class View:
    """A view: its SELECT, and the columns that this gives."""

    name: str
    sql: str
    columns: tuple[Column, ...]

    def create(self) -> str:
        """The statement that makes it, for an engine that works out the columns by itself."""
        return f"CREATE OR REPLACE VIEW {self.name} AS\n{self.sql}\n"

    def as_table(self, database: str) -> dict[str, Any]:
        """What Glue keeps of it: the ``TableInput`` of CreateTable and UpdateTable."""
        text = {
            "originalSql": self.sql,
            "catalog": "awsdatacatalog",
            "schema": database,
            "columns": [{"name": column.name, "type": column.sql_type} for column in self.columns],
        }
        encoded = base64.b64encode(json.dumps(text, ensure_ascii=False).encode()).decode()
        return {
            "Name": self.name,
            "TableType": _KIND,
            "Parameters": {"presto_view": "true", "comment": "Presto View"},
            "ViewOriginalText": f"/* Presto View: {encoded} */",
            "ViewExpandedText": "/* Presto View */",
            "StorageDescriptor": {
                "Columns": [{"Name": column.name, "Type": column.glue_type} for column in self.columns],
                "SerdeInfo": {"Name": "-", "SerializationLibrary": "-"},
            },
        }


def history(topic: str) -> View:
    """Every version of every key of a topic, since when and until when it counted, and why.

    ``valid_to``: when the next newer version was published, null for the newest; a delete is a version, whose
    ``what`` says so. ``superseded_since``: what made the next one newer. ``stands_in_curated``: false for the
    newest of a key that was not merged yet, was set aside, or is past there. Only columns of the envelope are
    read, so that a column that Curated gains changes nothing; the text is DuckDB's as well.
    """
    text, moment = ("varchar", "string"), ("timestamp(6)", "timestamp")
    columns = {
        "idempotency_key": text,
        "message_id": text,
        "what": text,
        "valid_from": moment,
        "valid_to": moment,
        "received": moment,
        "copies": ("bigint", "bigint"),
        "superseded_by": text,
        "superseded_since": text,
        "stands_in_curated": ("boolean", "boolean"),
        "json_payload": text,
    }
    named = tuple(Column(name, *types) for name, types in columns.items())
    return View(f"{HISTORY}{topic}", _sql("history", topic=topic), named)


def current(layer: str, topic: str, schema: Schema) -> View:
    """What counts now of a Curated or Semantic table with that schema, without the pipeline's own columns.

    Raises TableMismatch for a column of a type that neither layer has.
    """
    fields = [field for field in schema.fields if field.name not in _OWN[layer]]
    # A table that is older than deletes and was not merged since has none.
    deleted = DELETED if DELETED in schema.column_names else "false"
    selected = ",\n       ".join(_selected(field.name, field.field_type) for field in fields)
    return View(
        f"{layer}_{topic}{CURRENT}",
        _sql(f"{layer}_current", topic=topic, columns=selected, deleted=deleted),
        tuple(Column(field.name, *_types(field.name, field.field_type)) for field in fields),
    )


def of_table(layer: str, topic: str, schema: Schema) -> Sequence[View]:
    """The views that are to be kept when a table of ``layer`` has been looked after."""
    if layer == "curated":
        return (current(layer, topic, schema), history(topic))
    return (current(layer, topic, schema),) if layer == "semantic" else ()


def keep(glue: "GlueClient", database: str, view: View) -> bool:
    """Make the view, or write it again where it is another; gives whether that was needed.

    What has its name and is no view stays: a table is nobody's to replace. Raises TableMismatch for it.
    """
    wanted: Any = view.as_table(database)
    try:
        found = _found(glue, database, view)
    except glue.exceptions.EntityNotFoundException:
        try:
            glue.create_table(DatabaseName=database, TableInput=wanted)
        except glue.exceptions.AlreadyExistsException:
            # Another pass was first, or this one was: its answer was lost, and the SDK has asked again.
            found = _found(glue, database, view)
        else:
            return True
    if found.get("TableType") != _KIND:
        raise TableMismatch(
            f"view {database}.{view.name}: expected a view or nothing of that name, found a table; rename it "
            "(a topic may not end in _current)"
        )
    return _written(glue, database, found, wanted)


def follow(glue: "GlueClient", database: str, layer: str, topic: str, schema: Schema) -> bool:
    """Write the view of what counts now again, where it is there, for the columns that its table has now.

    For whoever takes a column away or gives it another type: with the columns of before the view fails. One
    that is not there is upkeep's to make, and what cannot be one is upkeep's to complain about. Gives whether
    it was written.
    """
    try:
        view = current(layer, topic, schema)
        found = _found(glue, database, view)
    except (TableMismatch, glue.exceptions.EntityNotFoundException):
        return False
    return found.get("TableType") == _KIND and _written(glue, database, found, view.as_table(database))


def until_true(write: Callable[[], bool]) -> None:
    """Let ``write`` look at a table and write its views, until it says that there was nothing to write.

    Who writes a view while another gives its table other columns may do so behind the other, and leave what
    it had seen first: so each looks again when it has written. (Should it never end, upkeep comes again.)
    """
    for _ in range(_TIMES):
        if not write():
            return


def _written(glue: "GlueClient", database: str, found: Any, wanted: Any) -> bool:
    """Write a view that is there, where it has another text; gives whether that was needed."""
    if found.get("ViewOriginalText") == wanted["ViewOriginalText"]:
        return False
    glue.update_table(DatabaseName=database, TableInput=wanted)
    return True


def _found(glue: "GlueClient", database: str, view: View) -> Any:
    """What has the view's name; Glue's EntityNotFoundException where nothing has."""
    return glue.get_table(DatabaseName=database, Name=view.name)["Table"]


def _sql(name: str, **values: str) -> str:
    """The SELECT of a file, without the comment that begins it."""
    lines = (_FOLDER / f"{name}.sql").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("--"))
    for placeholder, value in values.items():
        text = text.replace(f"${{{placeholder}}}", value)
    return text


def _selected(name: str, of: IcebergType) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    return f"CAST({quoted} AT TIME ZONE 'UTC' AS timestamp(6)) AS {quoted}" if _zoned(of) else quoted


def _zoned(of: IcebergType) -> bool:
    return isinstance(of, TimestamptzType)


def _types(name: str, of: IcebergType) -> tuple[str, str]:
    if isinstance(of, DecimalType):
        decimal = f"decimal({of.precision},{of.scale})"
        return decimal, decimal
    try:
        return _TYPES[type(of)]
    except KeyError:
        raise TableMismatch(
            f"column {name}: expected a type that contracts give ({', '.join(t for t, _ in _TYPES.values())} "
            f"or decimal), found {of}; no view of the table can be kept until the column is gone"
        ) from None
