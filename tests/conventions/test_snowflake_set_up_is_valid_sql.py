"""The set-up of Snowflake is in Snowflake's grammar.

sqlglot parses every statement in its dialect; what it knows only by name (volumes, integrations) it hands on
unread, so that those are held against the grammar of Snowflake's reference pages, quoted below.

No stand-in runs them: fakesnow 0.12.1, tried with the connector 4.8.1, makes databases, schemas, comments and
tags of tables. It knows no volume, integration, Iceberg table of another catalog, policy or grant, and these
are what the script is about; it wants exactly duckdb 2.0.1 and sqlglot 30.22.0, which are not this project's.
"""

import json
import re
from pathlib import Path

import pytest
import sqlglot
import yaml
from sqlglot import exp

from common.contract.contracts import load_contract
from common.lake.specifications import OPERATIONS
from common.runtime.errors import InvalidInput
from lean_ops.environment.repository import ROOT, contract_files, render
from lean_ops.operate.snowflake import Catalog, Handed, script

FOLDER = ROOT / "infra/snowflake"
FILES = sorted(FOLDER.glob("*.sql"))
VALUES = {
    "lake_bucket": "lake", "storage_role_arn": "arn:aws:iam::000000000000:role/s", "external_id": "x",
    "database": "lean_ops_dev", "catalog_role_arn": "arn:aws:iam::000000000000:role/c",
    "account": "000000000000", "region": "eu-west-1", "topic": "events", "public_key": "MII",
    "warehouse": "wh", "operation": "runs",
}  # fmt: skip

# CREATE EXTERNAL VOLUME; CREATE CATALOG INTEGRATION (AWS Glue), (Apache Iceberg REST); CREATE ICEBERG TABLE
# (AWS Glue as the catalog): required options first, then optional ones.
GRAMMAR = {
    "CREATE EXTERNAL VOLUME": ({"STORAGE_LOCATIONS"}, {"ALLOW_WRITES", "COMMENT"}),
    "CREATE CATALOG INTEGRATION": (
        {"CATALOG_SOURCE", "TABLE_FORMAT", "ENABLED"},
        {"CATALOG_NAMESPACE", "GLUE_AWS_ROLE_ARN", "GLUE_CATALOG_ID", "GLUE_REGION", "REST_CONFIG",
         "REST_AUTHENTICATION", "REFRESH_INTERVAL_SECONDS", "COMMENT"},
    ),
    "CREATE ICEBERG TABLE": (
        {"CATALOG_TABLE_NAME"},
        {"EXTERNAL_VOLUME", "CATALOG", "CATALOG_NAMESPACE", "AUTO_REFRESH", "REPLACE_INVALID_CHARACTERS",
         "COMMENT"},
    ),
    "CREATE USER": (set(), {"TYPE", "DEFAULT_ROLE", "RSA_PUBLIC_KEY", "COMMENT"}),
}  # fmt: skip
# What sqlglot hands on unread: it knows no volumes, integrations, roles with options, masking policies and
# no changes of columns of Iceberg tables. Each is held to the form of its reference page.
UNREAD = re.compile(
    r"""DESCRIBE\ (EXTERNAL\ VOLUME|CATALOG\ INTEGRATION)\ \w+$
      | GRANT\ [A-Z]+\ ON\ ((ALL|FUTURE)\ ICEBERG\ TABLES\ IN\ SCHEMA|WAREHOUSE|DATABASE|SCHEMA)\ [\w.]+
        \ TO\ ROLE\ \w+(\ COPY\ CURRENT\ GRANTS)?$
      | GRANT\ ROLE\ \w+\ TO\ (ROLE|USER)\ \w+$
      | CREATE\ ROLE\ IF\ NOT\ EXISTS\ \w+(\ COMMENT\ =\ '[^']*')?$
      | CREATE\ MASKING\ POLICY\ IF\ NOT\ EXISTS\ [\w.]+\ AS\ \(\w+\ VARCHAR\)
        \ RETURNS\ VARCHAR\ ->\s+.+$
      | ALTER\ TAG\ [\w.]+\ SET\ MASKING\ POLICY\ [\w.]+$
      | ALTER\ ICEBERG\ TABLE\ (IF\ EXISTS\ )?[\w.]+
        \ (REFRESH|MODIFY\ COLUMN\ \w+\ SET\ TAG\ [\w.]+\ =\ '(''|[^'])*')$
    """,
    re.X | re.S,
)
# Up to a semicolon that does not stand in a text.
_STATEMENT = re.compile(r"(?:'(?:''|\\.|[^'\\])*'|[^';])+")
OWN = {
    "GLUE": {"GLUE_AWS_ROLE_ARN", "GLUE_CATALOG_ID", "CATALOG_NAMESPACE"},
    "ICEBERG_REST": {"REST_CONFIG", "REST_AUTHENTICATION"},
}


def statements(path: Path) -> list[str]:
    return split(render(path.read_text(), VALUES))


def split(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    parts = _STATEMENT.findall("\n".join(lines))
    return [part.strip() for part in parts if part.strip()]


def options(statement: str) -> dict[str, str]:
    """Options on the outermost level: NAME = value."""
    flat, before = statement, ""
    while flat != before:  # what is nested in parentheses is a value
        before, flat = flat, re.sub(r"\([^()]*\)", "nested", flat)
    flat = re.sub(r"\bnested\b", "(nested)", flat)
    return dict(re.findall(r"\b([A-Z_]+) = (\S+)", flat))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_statement_parses(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert_grammar(statements(path))
    caplog.clear()


def assert_grammar(found: list[str]) -> None:
    assert found
    for statement in found:
        (parsed,) = sqlglot.parse(statement, dialect="snowflake")
        assert parsed is not None
        if isinstance(parsed, exp.Command):
            kind = next((k for k in GRAMMAR if statement.startswith(k)), None)
            assert kind or UNREAD.match(statement), statement


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_options_are_those_of_the_reference(path: Path) -> None:
    for statement in statements(path):
        for kind, (required, optional) in GRAMMAR.items():
            if statement.startswith(kind):
                found = options(statement)
                assert required <= found.keys() <= required | optional, statement
                if source := found.get("CATALOG_SOURCE"):
                    assert OWN[source] <= found.keys()


@pytest.mark.parametrize("catalog", Catalog)
def test_the_whole_script_parses_and_has_the_statements_of_every_contract(catalog: Catalog) -> None:
    pem = "-----BEGIN PUBLIC KEY-----\n" + "A" * 120 + "\n-----END PUBLIC KEY-----\n"
    text = script(
        Handed(VALUES),
        contract_files(),
        catalog=catalog,
        warehouse="readers",
        external_id="x",
        public_key=pem,
    )
    found = split(text)
    assert_grammar(found)
    assert "${" not in text
    for topic, path in contract_files().items():
        table = f"lean_ops.semantic.semantic_{topic}"
        contract = load_contract(path.read_text(), topic)
        (created,) = [one for one in found if one.startswith(f"CREATE ICEBERG TABLE IF NOT EXISTS {table}")]
        assert "AUTO_REFRESH = TRUE" in created
        for column in contract.properties:
            changed = f"ALTER ICEBERG TABLE {table} MODIFY COLUMN {column.name}"
            tag = f"{changed} SET TAG lean_ops.semantic.personal_data"
            stored = column.column_type is not None
            assert any(one.startswith(tag) for one in found) == (stored and column.pii is not None)
            comment = f"COMMENT IF EXISTS ON COLUMN {table}.{column.name} IS "
            assert any(one.startswith(comment) for one in found) == (stored and bool(column.description))


def test_what_was_done_is_read_there_too() -> None:
    found = split(script(Handed(VALUES), {}, catalog=Catalog.REST, warehouse="w", external_id="x"))
    created = [one for one in found if one.startswith("CREATE ICEBERG TABLE")]
    assert [one.split()[6] for one in created] == [f"lean_ops.operations.ops_{one}" for one in OPERATIONS]
    assert all(
        f"CATALOG_TABLE_NAME = '{one.split()[6].partition('.')[2].partition('.')[2]}'" in one
        for one in created
    )
    schema = found.index("CREATE SCHEMA IF NOT EXISTS lean_ops.operations")
    tables = found.index(created[0])
    grant = found.index(
        "GRANT SELECT ON ALL ICEBERG TABLES IN SCHEMA lean_ops.operations TO ROLE lean_ops_analyst"
    )
    assert schema < tables < grant, "a grant on all tables is about those that are there"


def test_hostile_descriptions_stay_texts(tmp_path: Path) -> None:
    hostile = "it's; DROP TABLE x; -- \\' \n$$"
    path = tmp_path / "events.yaml"
    contract = yaml.safe_load(contract_files()["events"].read_text())
    contract["schema"][0]["description"] = contract["schema"][0]["properties"][0]["description"] = hostile
    path.write_text(yaml.safe_dump(contract))
    text = script(Handed(VALUES), {"events": path}, catalog=Catalog.REST, warehouse="w", external_id="x")
    comments = [one for one in sqlglot.parse(text, dialect="snowflake") if isinstance(one, exp.Comment)]
    texts = [one.expression.name for one in comments]
    assert texts.count(" ".join(hostile.split())) == 2
    assert not [one for one in sqlglot.parse(text, dialect="snowflake") if isinstance(one, exp.Drop)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "JSONDecodeError"),
        ("{}", "KeyError"),
        ("[]", "TypeError"),
        ('{"snowflake_setup": {"value": {"account": "1"}}}', "'region'"),
    ],
)
def test_what_terraform_did_not_print_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(
        InvalidInput, match="--outputs: expected what `terraform output -json` prints"
    ) as found:
        Handed.parse(text)
    assert said in str(found.value)


def test_values_that_would_end_a_text_are_refused() -> None:
    handed = {"snowflake_setup": {"value": VALUES | {"lake_bucket": "a'; DROP"}}}
    with pytest.raises(InvalidInput, match="plain value of lake_bucket"):
        Handed.parse(json.dumps(handed))
    for more in ({"warehouse": "a b"}, {"external_id": "'"}, {"public_key": "short"}):
        given = {"warehouse": "w", "external_id": "x", **more}
        with pytest.raises(InvalidInput, match=f"--{next(iter(more)).replace('_', '-')}: expected"):
            script(Handed(VALUES), {}, catalog=Catalog.GLUE, **given)


def test_the_plans_statement_that_does_not_exist_is_nowhere() -> None:
    everything = "\n".join(path.read_text() for path in FILES)
    assert "EXTERNAL ICEBERG TABLE" not in everything
    assert re.search(r"ALTER ICEBERG TABLE IF EXISTS \S+ REFRESH", everything)


def test_the_check_sees_an_option_that_does_not_exist() -> None:
    assert "CATALOG_SYNC" in options("CREATE ICEBERG TABLE t CATALOG_SYNC = 'x'")
    found = options("CREATE EXTERNAL VOLUME v STORAGE_LOCATIONS = ((NAME = 'a')) ALLOW_WRITES = FALSE")
    assert found == {"STORAGE_LOCATIONS": "(nested)", "ALLOW_WRITES": "FALSE"}
