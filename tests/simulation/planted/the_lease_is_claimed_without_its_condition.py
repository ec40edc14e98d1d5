"""A hold that was placed in between is worked on, and two runs work at once."""

from typing import Any

import pytest

from common.layers import lease
from get_all_checkpoints import handler

MEETS = ("claims",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""

    class Blunt:
        def __init__(self, dynamodb: Any) -> None:
            self.get_item = dynamodb.get_item
            self._update = dynamodb.update_item

        def update_item(self, *, ConditionExpression: str, **request: Any) -> Any:
            request["ExpressionAttributeValues"].pop(":seen")
            return self._update(**request)

    def acquire(dynamodb: Any, stepfunctions: Any, **of: Any) -> bool:
        blunt: Any = Blunt(dynamodb)
        return lease.acquire(blunt, stepfunctions, **of)

    patch.setattr(handler, "acquire", acquire)
