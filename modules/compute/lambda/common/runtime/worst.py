"""Which topics an alarm is about: alarms watch the worst of all topics, and these notes say which that is.

A note is an attribute of the item ``worst#<alarm>`` of the checkpoints table: the topic, how bad it is in the
alarm's own unit, and when that was. Written by who emits the alarm's metric, for topics with something wrong
only; read by who tells people of the alarm.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient

ITEM: Final = "worst#"
# Of more, the worst: an alarm is about a few, or about all.
_MOST_NOTED: Final = 20
_MOST_NAMED: Final = 8
# Longer than any alarm looks back, and than a run takes.
_RECENT: Final = timedelta(hours=3)
_TOPIC: Final = "topic "


def note(
    dynamodb: "DynamoDBClient", table: str, alarm: str, values: Mapping[str, float], now: datetime
) -> None:
    """Write down how bad it is with each topic of ``values``; zero is nothing to note."""
    bad = sorted((topic for topic, value in values.items() if value > 0), key=lambda topic: -values[topic])
    if not bad:
        return
    at = {"N": str(int(now.timestamp()))}
    noted = list(islice(bad, _MOST_NOTED))
    dynamodb.update_item(
        TableName=table,
        Key={"checkpoint_id": {"S": ITEM + alarm}},
        UpdateExpression="SET " + ", ".join(f"#t{n} = :v{n}" for n in range(len(noted))),
        ExpressionAttributeNames={f"#t{n}": _TOPIC + topic for n, topic in enumerate(noted)},
        ExpressionAttributeValues={
            f":v{n}": {"L": [{"N": str(round(values[topic], 3))}, at]} for n, topic in enumerate(noted)
        },
    )


def worst(dynamodb: "DynamoDBClient", table: str, alarm: str, now: datetime) -> dict[str, float]:
    """Topics that were noted lately, the worst first, each with how bad it was."""
    found = dynamodb.get_item(TableName=table, Key={"checkpoint_id": {"S": ITEM + alarm}})
    since = (now - _RECENT).timestamp()
    values = {
        name.removeprefix(_TOPIC): _value(attribute, since)
        for name, attribute in found.get("Item", {}).items()
        if name.startswith(_TOPIC)
    }
    lately = {topic: value for topic, value in values.items() if value > 0}
    return dict(sorted(lately.items(), key=lambda one: -one[1]))


def listed(topics: Mapping[str, float]) -> str:
    """Topics for a message, in their order, few of many."""
    names = list(islice(topics, _MOST_NAMED))
    more = len(topics) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _value(attribute: Any, since: float) -> float:
    """What a note says; zero for one that is old, or damaged."""
    try:
        value, at = (float(number["N"]) for number in attribute["L"])
    except (KeyError, TypeError, ValueError):
        return 0.0
    return value if at >= since else 0.0
