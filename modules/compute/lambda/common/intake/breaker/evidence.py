"""What the metrics say: the breaker's alarms that are up, and the batches that went well or badly."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types_boto3_cloudwatch.client import CloudWatchClient
    from types_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

# The alarms of the topic `breaker` (modules/monitoring/catalogue.json).
ALARMS: Final = ("message-error-rate", "invocation-error-rate")

_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class Evidence:
    """Reads CloudWatch for the environment ``<project>-<env>``."""

    cloudwatch: "CloudWatchClient"
    project: str
    env: str

    @property
    def alarm_names(self) -> list[str]:
        """Full names of the breaker's alarms."""
        return [f"{self.project}-{self.env}-{alarm}" for alarm in ALARMS]

    def alarms_up(self) -> Sequence[str]:
        """Which of the breaker's alarms are in ALARM now."""
        answer = self.cloudwatch.describe_alarms(AlarmNames=self.alarm_names, StateValue="ALARM")
        return sorted(alarm["AlarmName"] for alarm in answer["MetricAlarms"])

    def batches(self, since: datetime, until: datetime) -> tuple[int, int]:
        """Good and failed batches of sqs_processor between the two, as far as metrics have arrived.

        Counted in whole minutes. The first may begin before ``since``; the mapping was off then, so that
        whatever it counts was tried.
        """
        answer = self.cloudwatch.get_metric_data(
            MetricDataQueries=[
                self._failed_batches("batches", "SampleCount"),
                self._failed_batches("failed", "Sum"),
            ],
            StartTime=since.replace(second=0, microsecond=0),
            EndTime=until.replace(second=0, microsecond=0) + _MINUTE,
        )
        totals = {result["Id"]: int(sum(result["Values"])) for result in answer["MetricDataResults"]}
        failed = totals.get("failed", 0)
        return totals.get("batches", 0) - failed, failed

    def _failed_batches(self, name: str, statistic: str) -> "MetricDataQueryTypeDef":
        return {
            "Id": name,
            "MetricStat": {
                "Metric": {
                    "Namespace": self.project,
                    "MetricName": "FailedBatches",
                    "Dimensions": [{"Name": "environment", "Value": self.env}],
                },
                "Period": 60,
                "Stat": statistic,
            },
        }
