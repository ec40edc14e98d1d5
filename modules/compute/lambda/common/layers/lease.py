"""The lease of a topic: one execution at a time does the work.

Two executions at once are harmless (commits are optimistic, checkpoints conditional), but they would do
the same work twice. The lease names the execution that holds it. It needs no release and no expiry: a
holder that is no longer running has no claim, and Step Functions knows who is running.

An operator can put a topic on hold (``lean-ops pause``): then no execution gets its lease, until the hold is
lifted. The attribute ``on_hold`` of the lease item says since when and why; whatever is in it, it is a hold.
A holder that is no execution of the same state machine, by its ARN, has no claim either.
"""

from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from common.runtime import outside

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient
    from types_boto3_stepfunctions.client import SFNClient
    from types_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

# How long is waited before an execution that nobody knows of is asked for again, in seconds.
_ASKED_AGAIN_S: Final = (1.0, 1.0, 2.0)


def acquire(
    dynamodb: "DynamoDBClient",
    stepfunctions: "SFNClient",
    *,
    table: str,
    topic: str,
    execution_arn: str,
    continued_from: str,
) -> bool:
    """Take or keep the lease of ``topic`` for ``execution_arn``; False when another execution holds it.

    It is refused, too, while the topic is on hold: an execution that has it ends with its current round.

    ``continued_from`` is the execution that started this one to go on with its work (or empty): its lease
    passes on, even while it is still about to end.
    """
    key = {"checkpoint_id": {"S": f"{topic}#lease"}}
    item = dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {})
    written = item.get("execution_arn")
    holder = str((written or {}).get("S", ""))
    if "on_hold" in item:
        return False
    if holder == execution_arn:
        return True
    claims = same_machine(holder, execution_arn) and holder != continued_from
    if claims and (found := described(stepfunctions, holder)) and found["status"] == "RUNNING":
        return False
    try:
        dynamodb.update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET execution_arn = :me",
            # The holder that was looked at must still be the holder: of two that find it gone, one wins.
            ConditionExpression="attribute_not_exists(on_hold)"
            " AND (attribute_not_exists(execution_arn) OR execution_arn = :seen)",
            ExpressionAttributeValues={
                ":me": {"S": execution_arn},
                ":seen": written or {"S": execution_arn},
            },
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return False
    return True


def same_machine(one: str, other: str) -> bool:
    """Whether two ARNs, ``<execution of a state machine>:<name>``, are of executions of the same one."""
    return one.rpartition(":")[0] == other.rpartition(":")[0]


def described(stepfunctions: "SFNClient", execution_arn: str) -> "DescribeExecutionOutputTypeDef | None":
    """What Step Functions says of an execution; None where it knows of none, as 90 days after its end.

    Its answers are eventually consistent (API reference, DescribeExecution): it may know of none that has
    just begun, so that is believed when it is said for four seconds. One that has just ended may still be
    said to run: who asks comes again.
    """
    for pause in (*_ASKED_AGAIN_S, None):
        try:
            return stepfunctions.describe_execution(executionArn=execution_arn)
        except stepfunctions.exceptions.ExecutionDoesNotExist:
            if pause is not None:
                outside.sleep(pause)
    return None
