"""A contract as tools of the standard read it: about the table that is there, with the servers that have it.

A contract says how texts of devices become columns; a reader, such as datacontract-cli, holds a document
against a table. Of what has become of a value in between the document says what the column is: a hash is a
text, a time of day too, and a format of texts is gone. Limits, rules, service levels, descriptions and
classifications stand as the contract has them. The lineage columns are in it as well, with the business key
as the primary key, which it is.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import yaml

from common.contract.contracts import load_contract
from common.contract.properties import TIME_FORMATS, Bound, Property
from common.lake.specifications import TableSpec
from lean_ops.environment.repository import TABLE_SPECIFICATIONS
from lean_ops.environment.target import Target

# What a column is called in the standard, by the type that it has.
_LOGICAL: Final = {
    "string": "string",
    "boolean": "boolean",
    "int": "integer",
    "long": "integer",
    "double": "number",
    "date": "date",
    "timestamptz": "timestamp",
}
_BOUNDS: Final[tuple[tuple[str, str, Any], ...]] = (
    ("minimum", "exclusive_minimum", max),
    ("maximum", "exclusive_maximum", min),
)
_OF_TEXTS: Final = (("minLength", "min_length"), ("maxLength", "max_length"), ("pattern", "pattern"))
_KEY: Final = "idempotency_key"


def exported(target: Target, topic: str, text: str) -> dict[str, Any]:
    """The document; raises ContractError where ``text`` is no contract."""
    contract = load_contract(text, topic)
    document: dict[str, Any] = yaml.safe_load(text)
    table = document["schema"][0]
    by_name = {str(stated["name"]).lower(): stated for stated in table["properties"]}
    columns = [_column(by_name[of.name], of) for of in contract.properties if of.column_type is not None]
    spec = TableSpec.load(TABLE_SPECIFICATIONS, "semantic", low_volume=contract.low_volume)
    lineage = [
        {"name": of.name, "description": of.doc, "logicalType": _LOGICAL[str(of.field_type)]}
        | {"physicalType": str(of.field_type), "required": of.name == _KEY, "primaryKey": of.name == _KEY}
        for of in spec.schema.fields
    ]
    table |= {"physicalName": f"semantic_{topic}", "physicalType": "table"}
    table["properties"] = lineage + columns
    # The first version of the standard that has servers with Iceberg tables.
    return document | {"apiVersion": "v3.2.0", "servers": [target.iceberg_server()]}


def _column(stated: Mapping[str, Any], of: Property) -> dict[str, Any]:
    """A property as its column is: without what was said of the texts that it is made from."""
    kept = {name: value for name, value in stated.items() if name not in ("logicalTypeOptions", "enum")}
    kept["name"] = of.name
    kept["physicalType"] = str(of.column_type)
    kept["logicalType"] = _LOGICAL.get(kept["physicalType"], "number")
    if of.critical:
        kept["required"] = True  # a row without one is refused
    # What is hashed, masked, or JSON text keeps to limits that its text does not show.
    if of.pii is None and of.logical_type not in ("array", "object", "time"):
        if options := dict(_options(of)):
            kept["logicalTypeOptions"] = options
        if of.enum:
            kept["enum"] = stated["enum"]
    custom = [one for one in kept.pop("customProperties", None) or [] if one["property"] != TIME_FORMATS]
    return kept | ({"customProperties": custom} if custom else {})


def _options(of: Property) -> Iterator[tuple[str, Any]]:
    for inclusive, exclusive, tighter in _BOUNDS:
        bounds = [
            (name, bound)
            for name in (inclusive, exclusive)
            if (bound := getattr(of.limits, name)) is not None
        ]
        if bounds:  # of two, the one that says more: datacontract-cli reads one of a side
            name, bound = tighter(bounds, key=lambda one: (one[1], (one[0] == exclusive) == (tighter is max)))
            first, *others = name.split("_")
            yield first + "".join(word.capitalize() for word in others), _plain(bound)
    for name, attribute in _OF_TEXTS:
        if (limit := getattr(of.limits, attribute)) is not None:
            yield name, limit
    if of.limits.multiple_of is not None:
        yield "multipleOf", _plain(of.limits.multiple_of)


def _plain(bound: Bound) -> int | float | str:
    """A bound as YAML has it."""
    if isinstance(bound, Decimal):
        return int(bound) if bound == int(bound) else float(bound)
    return bound.isoformat()
