"""What CloudWatch has counted of deliveries is read in few calls, and little of it where nothing came."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from observation.arrival import Counters, Delivery, Window

NOW = datetime(2026, 3, 1, 13, tzinfo=UTC)
WINDOW = Window.settled(NOW)


class CloudWatch:
    """Metrics by name and topic; two values of each a page, and counts what it is asked."""

    def __init__(self, values: dict[tuple[str, str], list[float]]) -> None:
        self.values, self.calls, self.asked = values, 0, 0

    def get_metric_data(
        self, *, MetricDataQueries: list[Any], StartTime: datetime, EndTime: datetime, NextToken: str = "0"
    ) -> dict[str, Any]:
        assert len(MetricDataQueries) <= 500
        assert StartTime < EndTime
        self.calls += 1
        first = int(NextToken)
        self.asked += len(MetricDataQueries) if first == 0 else 0
        results, more = [], False
        for query in MetricDataQueries:
            metric = query["MetricStat"]["Metric"]
            subject = metric["Dimensions"][-1]["Value"].removeprefix("stream-")
            values = self.values.get((metric["MetricName"], subject), [])
            results.append({"Id": query["Id"], "Values": values[first : first + 2]})
            more = more or len(values) > first + 2
        return {"MetricDataResults": results, **({"NextToken": str(first + 2)} if more else {})}


def read(cloudwatch: CloudWatch, *topics: str) -> dict[str, Delivery]:
    streams = {topic: f"stream-{topic}" for topic in topics}
    return Counters(cast("Any", cloudwatch), "lean-ops", "test", streams).read(WINDOW, NOW)


def test_all_that_is_known_of_a_busy_topic() -> None:
    cloudwatch = CloudWatch(
        {
            ("EventsAccepted", "a"): [1, 2, 3, 4, 5],
            ("EventsAcceptedLate", "a"): [7],
            ("DeliveryToIceberg.FailedRowCount", "a"): [1, 1, 1],
            ("IncomingRecords", "a"): [9],
            ("DeliveryToIceberg.SuccessfulRowCount", "a"): [9],
            ("DeliveryToIceberg.DataFreshness", "a"): [60, 90, 30],
        }
    )
    assert read(cloudwatch, "a", "idle") == {"a": Delivery(15, 3, 7, age_s=90.0), "idle": Delivery()}


@pytest.mark.parametrize(
    ("incoming", "delivered", "stalled"),
    [([5], [], True), ([5], [0], True), ([5], [1], False), ([], [], False)],
)
def test_a_stream_that_takes_and_does_not_deliver_is_stalled_and_a_silent_one_is_not(
    incoming: list[float], delivered: list[float], *, stalled: bool
) -> None:
    counted = {
        ("EventsAccepted", "a"): [1.0],
        ("IncomingRecords", "a"): incoming,
        ("DeliveryToIceberg.SuccessfulRowCount", "a"): delivered,
    }
    assert read(CloudWatch(counted), "a")["a"].stalled is stalled


def test_of_seven_hundred_idle_topics_one_metric_each_is_read() -> None:
    cloudwatch = CloudWatch({})
    found = read(cloudwatch, *(f"t{number}" for number in range(700)))
    assert set(found.values()) == {Delivery()}
    assert (cloudwatch.calls, cloudwatch.asked) == (2, 700)
