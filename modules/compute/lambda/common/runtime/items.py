"""Many items of a DynamoDB table in few calls."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from common.runtime.errors import ServiceFailure
from common.runtime.retrying import RetryPolicy

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient

# BatchGetItem takes so many keys; what it could not read of them in time it gives back.
_AT_ONCE: Final = 100


def read_items(
    dynamodb: "DynamoDBClient", table: str, ids: Iterable[str], *, retry: RetryPolicy | None = None
) -> dict[str, Mapping[str, Any]]:
    """The items of the checkpoints table that exist, by ``checkpoint_id``, as DynamoDB has them.

    Eventually consistent: for who looks again soon. Raises ServiceFailure where some stay unread.
    """
    retry = retry or RetryPolicy()
    found: dict[str, Mapping[str, Any]] = {}
    left = iter(dict.fromkeys(ids))
    while some := list(islice(left, _AT_ONCE)):
        request: Any = {table: {"Keys": [{"checkpoint_id": {"S": one}} for one in some]}}
        for attempt in range(retry.attempts):
            answer = dynamodb.batch_get_item(RequestItems=request)
            found |= {item["checkpoint_id"]["S"]: item for item in answer["Responses"].get(table, [])}
            request = answer.get("UnprocessedKeys")
            if not request:
                break
            retry.wait(attempt)
        else:
            raise ServiceFailure(
                f"{table}: expected all of {len(some)} items, found "
                f"{len(request[table]['Keys'])} unread after {retry.attempts} tries; DynamoDB throttles"
            )
    return found
