"""The event source mapping between the source queue and its function: on, off, or slowed down."""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from common.intake.breaker.rules import Phase
from common.runtime.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from types_boto3_lambda.client import LambdaClient
    from types_boto3_lambda.type_defs import EventSourceMappingConfigurationTypeDef


class MappingBusy(TransientError):  # noqa: N818 - the mapping is busy; "error" would say less
    """Lambda is still at work on an earlier change of the mapping."""


class MappingMissing(PermanentError):  # noqa: N818 - the mapping is missing; "error" would say less
    """The function has no event source mapping."""


@dataclass(frozen=True)
class Pace:
    """How much the mapping takes at once. ``maximum_concurrency`` 0: no limit (Lambda's own is 2 or more)."""

    batch_size: int
    batching_window_s: int
    maximum_concurrency: int

    def as_json(self) -> dict[str, int]:
        """The pace by field name."""
        return asdict(self)

    @property
    def possible(self) -> bool:
        """Whether Lambda takes it for a queue (AWS Lambda API, CreateEventSourceMapping)."""
        return (
            1 <= self.batch_size <= 10_000
            and 0 <= self.batching_window_s <= 300
            and (self.maximum_concurrency == 0 or 2 <= self.maximum_concurrency <= 1_000)
        )

    def with_changes_of(self, found: "Pace") -> "Pace":
        """This pace, slowed down for a trial since, with whatever in ``found`` is not the trial's.

        That was set in the meantime, by an operator or by Terraform, and counts from then on.
        """
        trial = TRIAL.as_json()
        return replace(
            self, **{name: value for name, value in found.as_json().items() if value != trial[name]}
        )


# Small batches at the least concurrency that Lambda offers: enough to see, little to lose a try for.
TRIAL: Final = Pace(batch_size=10, batching_window_s=0, maximum_concurrency=2)


@dataclass(frozen=True)
class Found:
    """The mapping as configured now. ``state``: Enabled, Disabled, or Lambda's word for the way to either."""

    state: str
    pace: Pace

    @property
    def taking(self) -> bool:
        """Whether it is on, or on the way there."""
        return self.state not in {"Disabled", "Disabling"}


class SourceMapping:
    """The mapping that feeds ``function`` (``name`` or ``name:alias``).

    Lambda changes a mapping asynchronously, within a minute.
    """

    def __init__(self, functions: "LambdaClient", function: str) -> None:
        self._functions: Final = functions
        self._function: Final = function

    def look(self) -> Found:
        """What it is now; raises MappingMissing."""
        found = self._describe()
        return Found(
            str(found["State"]),
            Pace(
                found["BatchSize"],
                found.get("MaximumBatchingWindowInSeconds", 0),
                found.get("ScalingConfig", {}).get("MaximumConcurrency", 0),
            ),
        )

    def enforce(self, phase: Phase, normal: Pace | None) -> None:
        """Make the mapping do what ``phase`` says; ``normal`` is its own pace where it was slowed down.

        Raises MappingBusy while Lambda is at work on an earlier change, MappingMissing.
        """
        pace = TRIAL if phase is Phase.HALF_OPEN else normal
        request: dict[str, Any] = {"Enabled": phase is not Phase.OPEN}
        if pace is not None:
            request["BatchSize"] = pace.batch_size
            request["MaximumBatchingWindowInSeconds"] = pace.batching_window_s
            limited = pace.maximum_concurrency > 0
            request["ScalingConfig"] = {"MaximumConcurrency": pace.maximum_concurrency} if limited else {}
        mapping = self._describe()["UUID"]
        try:
            self._functions.update_event_source_mapping(UUID=mapping, **request)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"ResourceInUseException", "ResourceConflictException"}:
                raise
            raise MappingBusy(
                f"event source mapping of {self._function}: expected Lambda to take the change to {phase}, "
                "found it at work on an earlier one; the next minute's look tries again"
            ) from error

    def _describe(self) -> "EventSourceMappingConfigurationTypeDef":
        found = self._functions.list_event_source_mappings(FunctionName=self._function)["EventSourceMappings"]
        if not found:
            raise MappingMissing(
                f"function {self._function}: expected its event source mapping, found none; "
                "create it with `terraform apply` (or `lean-ops up` for the local stack)"
            )
        return found[0]
