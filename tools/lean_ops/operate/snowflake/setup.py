"""The set-up of Snowflake as one script, in the order in which it runs: ``infra/snowflake`` and contracts.

Everything may run again: objects are made where they are missing, and tags, comments and grants are set to
what they are. Comments and tags of a table come from its contract, so that the script is run again after a
change. Sources: Snowflake's reference pages of each statement; ``tests/conventions`` hold options to them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

import yaml

from common.contract.column_comments import column_comment
from common.contract.contracts import Contract, load_contract
from common.lake.specifications import OPERATIONS
from common.runtime.errors import InvalidInput
from lean_ops.environment.repository import ROOT, render

FOLDER: Final = ROOT / "infra/snowflake"
SCHEMA: Final = "lean_ops.semantic"
_OUTPUT: Final = "snowflake_setup"
_VALUES: Final = ("account", "region", "database", "lake_bucket", "storage_role_arn", "catalog_role_arn")
# What stands inside of quotation marks in the files: nothing that would end them.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:/+=@ -]+")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,254}")
_KEY: Final = re.compile(r"[A-Za-z0-9+/=]{100,}")


class Catalog(StrEnum):
    """How Snowflake asks Glue for the tables: its Iceberg REST endpoint, or Glue's own interface."""

    REST = "rest"
    GLUE = "glue"


_CATALOG_FILES: Final = {Catalog.REST: "02-catalog-glue-rest.sql", Catalog.GLUE: "02-catalog-glue.sql"}


@dataclass(frozen=True)
class Handed:
    """What Terraform hands out: names of the files' placeholders, and their values."""

    values: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``terraform output -json`` prints; raises InvalidInput for something else."""
        try:
            document: Any = json.loads(text)
            found = document[_OUTPUT]["value"]
            values = {name: str(found[name]) for name in _VALUES}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InvalidInput(
                f"--outputs: expected what `terraform output -json` prints, with {_OUTPUT} and in it "
                f"{', '.join(_VALUES)}, found something else ({type(error).__name__}: {str(error)[:60]}); "
                "apply the environment, then print its outputs again"
            ) from error
        for name, value in values.items():
            if not _PLAIN.fullmatch(value):
                raise InvalidInput(f"--outputs: expected a plain value of {name}, found {value[:80]!r}")
        return cls(values)


def script(
    handed: Handed,
    contracts: Mapping[str, Path],
    *,
    catalog: Catalog,
    warehouse: str,
    external_id: str,
    public_key: str = "",
) -> str:
    """All statements, for topics with a contract (``contracts``: file by topic).

    ``public_key``: PEM of the monitoring user's key; without it there is no such user. Raises InvalidInput
    for a name that Snowflake does not take, and ContractError.
    """
    if not _IDENTIFIER.fullmatch(warehouse):
        raise InvalidInput(
            f"--warehouse: expected a name of letters, digits, _ and $, found {warehouse[:80]!r}"
        )
    if not _PLAIN.fullmatch(external_id):
        raise InvalidInput(
            f"--external-id: expected letters, digits and _.:/+=@-, found {external_id[:80]!r}"
        )
    values = {**handed.values, "warehouse": warehouse, "external_id": external_id}
    parts = [_file(name, values) for name in ("01-external-volume.sql", _CATALOG_FILES[catalog])]
    parts += [_file(name, values) for name in ("03-schema.sql", "03-governance.sql")]
    for topic, path in contracts.items():
        contract = load_contract(path.read_text(), topic)
        parts.append(_file("04-semantic-table.sql", {**values, "topic": topic}))
        parts.append("\n\n".join(_described(contract, path)) + "\n")
    parts += [_file("04-operations-table.sql", {**values, "operation": one}) for one in OPERATIONS]
    parts.append(_file("07-grants.sql", values))
    if public_key:
        parts.append(_file("06-monitoring-user.sql", {**values, "public_key": _body(public_key)}))
    return "\n".join(parts)


def _file(name: str, values: Mapping[str, str]) -> str:
    return f"-- {name}\n{render((FOLDER / name).read_text(), values)}"


def _described(contract: Contract, path: Path) -> Iterator[str]:
    """Comments and tags of a table and its columns, as its contract says."""
    table = f"{SCHEMA}.semantic_{contract.topic}"
    yield f"-- contracts/{contract.topic}.yaml, version {contract.version}"
    if text := column_comment(_description(path)):
        yield f"COMMENT IF EXISTS ON TABLE {table} IS {_text(text)};"
    yield f"ALTER ICEBERG TABLE {table} SET TAG {SCHEMA}.contract_version = {_text(contract.version)};"
    for one in contract.properties:
        if one.column_type is None:  # the contract drops it: there is no such column
            continue
        if text := column_comment(one.description):
            yield f"COMMENT IF EXISTS ON COLUMN {table}.{one.name} IS {_text(text)};"
        tags = {"personal_data": one.pii, "critical": "true" if one.critical else None}
        for tag, value in tags.items():
            if value is not None:
                column = f"ALTER ICEBERG TABLE {table} MODIFY COLUMN {one.name}"
                yield f"{column} SET TAG {SCHEMA}.{tag} = {_text(value)};"


def _description(path: Path) -> str | None:
    """What the contract says of the table."""
    document: Any = yaml.safe_load(path.read_text())
    described = document["schema"][0].get("description")
    return str(described) if described else None


def _text(value: str) -> str:
    """A literal: Snowflake reads backslashes in one ("String & binary data types", escape sequences)."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _body(pem: str) -> str:
    """A public key without its first and last line, on one line, as RSA_PUBLIC_KEY takes it."""
    body = "".join(line for line in pem.splitlines() if "-----" not in line).strip()
    if not _KEY.fullmatch(body):
        raise InvalidInput(
            "--public-key: expected a public key in PEM, found something else; see the first lines of "
            "infra/snowflake/06-monitoring-user.sql"
        )
    return body
