"""The set-up of Snowflake is in Snowflake's grammar.

sqlglot parses every statement in its dialect; what it knows only by name (volumes, integrations) it hands on
unread, so that those are held against the grammar of Snowflake's reference pages, quoted below.
"""

import re
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from lean_ops.environment.repository import ROOT, render

FOLDER = ROOT / "infra/snowflake"
FILES = sorted(FOLDER.glob("*.sql"))
VALUES = {
    "lake_bucket": "lake", "storage_role_arn": "arn:aws:iam::000000000000:role/s", "external_id": "x",
    "database": "lean_ops_dev", "catalog_role_arn": "arn:aws:iam::000000000000:role/c",
    "account": "000000000000", "region": "eu-west-1", "topic": "events", "public_key": "MII",
    "warehouse": "wh",
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
OWN = {
    "GLUE": {"GLUE_AWS_ROLE_ARN", "GLUE_CATALOG_ID", "CATALOG_NAMESPACE"},
    "ICEBERG_REST": {"REST_CONFIG", "REST_AUTHENTICATION"},
}


def statements(path: Path) -> list[str]:
    text = render(path.read_text(), VALUES)
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";") if part.strip()]


def options(statement: str) -> dict[str, str]:
    """Options on the outermost level: NAME = value."""
    flat, before = statement, ""
    while flat != before:  # what is nested in parentheses is a value
        before, flat = flat, re.sub(r"\([^()]*\)", "nested", flat)
    flat = re.sub(r"\bnested\b", "(nested)", flat)
    return dict(re.findall(r"\b([A-Z_]+) = (\S+)", flat))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_statement_parses(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = statements(path)
    assert found
    for statement in found:
        (parsed,) = sqlglot.parse(statement, dialect="snowflake")
        assert parsed is not None
        if isinstance(parsed, exp.Command):
            kind = next((k for k in GRAMMAR if statement.startswith(k)), None)
            assert kind or re.match(r"(DESCRIBE|GRANT|CREATE ROLE|ALTER ICEBERG TABLE) ", statement), (
                statement
            )
    caplog.clear()


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_options_are_those_of_the_reference(path: Path) -> None:
    for statement in statements(path):
        for kind, (required, optional) in GRAMMAR.items():
            if statement.startswith(kind):
                found = options(statement)
                assert required <= found.keys() <= required | optional, statement
                if source := found.get("CATALOG_SOURCE"):
                    assert OWN[source] <= found.keys()


def test_the_plans_statement_that_does_not_exist_is_nowhere() -> None:
    everything = "\n".join(path.read_text() for path in FILES)
    assert "EXTERNAL ICEBERG TABLE" not in everything
    assert re.search(r"ALTER ICEBERG TABLE IF EXISTS \S+ REFRESH", everything)


def test_the_check_sees_an_option_that_does_not_exist() -> None:
    assert "CATALOG_SYNC" in options("CREATE ICEBERG TABLE t CATALOG_SYNC = 'x'")
    found = options("CREATE EXTERNAL VOLUME v STORAGE_LOCATIONS = ((NAME = 'a')) ALLOW_WRITES = FALSE")
    assert found == {"STORAGE_LOCATIONS": "(nested)", "ALLOW_WRITES": "FALSE"}
