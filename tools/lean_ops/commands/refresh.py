"""``refresh``: make Snowflake read the newest snapshot of a Semantic table now."""

from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError

from common.readers.sql_api import Access, SqlApi
from common.runtime.errors import PermanentError
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.commands.options import check_topic
from lean_ops.console.printing import say
from lean_ops.environment.repository import ROOT, render
from lean_ops.environment.target import Target

REFRESH = ROOT / "infra/snowflake/05-refresh.sql"


class SnowflakeNotConfigured(PermanentError):  # noqa: N818 - nothing is wrong but that
    """There is no Snowflake to talk to; the message says what is missing."""


@on_target()
def refresh(
    call: Call, topic: Annotated[str, typer.Argument(help="Topic of the Semantic table.")] = "events"
) -> Answer:
    """Refresh the topic's Semantic table in Snowflake; on the local stack there is nothing to refresh."""
    target = call.target
    check_topic(target, topic)
    statement = refresh_statement(topic)
    if not target.has_snowflake:
        outcome = (
            "Nothing to refresh: DuckDB, in Snowflake's place here, reads the latest snapshot each time."
        )
    else:
        with call.operation("snowflake.refresh", topic=topic):
            SqlApi(access(target)).run(statement)
        outcome = f"Snowflake has read the newest snapshot of semantic_{topic}."
    document = {"topic": topic, "refreshed": target.has_snowflake, "statement": statement}
    return Answer(document, lambda: say(outcome))


def refresh_statement(topic: str) -> str:
    """The one statement of infra/snowflake/05-refresh.sql, without comments and semicolon."""
    text = render(REFRESH.read_text(), {"topic": topic})
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return "\n".join(lines).strip().rstrip(";")


def access(target: Target) -> Access:
    """How to reach Snowflake; raises SnowflakeNotConfigured, and InvalidInput for half a configuration."""
    name = f"{target.name_prefix}-snowflake"
    client: Any = target.client("secretsmanager")
    try:
        secret = client.get_secret_value(SecretId=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        raise SnowflakeNotConfigured(
            f"Snowflake: expected account, user, private_key, role, warehouse, database and schema in the "
            f"secret {name}, found no value; set it up with infra/snowflake and docs/deploy.md"
        ) from error
    return Access.parse(secret["SecretString"])
