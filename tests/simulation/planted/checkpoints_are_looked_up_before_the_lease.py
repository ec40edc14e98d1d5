"""A rollback in between is not seen: the run reads on from where the table no longer is."""

from typing import Any

import pytest

from get_all_checkpoints import handler as looking_up
from get_all_checkpoints.lookup import look_up

MEETS = ("killed_midway", "run_beside", "long_ago")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""

    def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
        settings, dynamodb = looking_up._settings(), looking_up._client("dynamodb")
        found = look_up(
            event["topic"],
            settings=settings,
            catalog=vars(looking_up)["lake_catalog"](),
            dynamodb=dynamodb,
            s3=looking_up._client("s3"),
        )
        held = vars(looking_up)["acquire"](
            dynamodb,
            looking_up._client("stepfunctions"),
            table=settings.checkpoints_table,
            topic=event["topic"],
            execution_arn=event["execution_arn"],
            continued_from=event["continued_from"],
        )
        return {"lease": "held" if held else "busy", **found.as_json()}

    patch.setattr(looking_up, "handler", handler)
