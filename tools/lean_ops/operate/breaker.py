"""The circuit breaker as operators see and set it.

Orders go through the function itself, so that one piece of code changes the mapping, on AWS and locally, and
an order meets alarms and the schedule as they meet each other.
"""

import json
from dataclasses import dataclass
from typing import Any

from common.intake.breaker.mapping import Pace, SourceMapping
from common.intake.breaker.record import Record, RecordStore
from common.intake.breaker.rules import Action
from common.runtime import outside
from common.runtime.errors import TransientError
from lean_ops.environment.target import Target


class OrderFailed(TransientError):  # noqa: N818 - the order failed; "error" would say less
    """The circuit breaker's function did not carry out an order."""


@dataclass(frozen=True)
class Status:
    """The breaker's record, and the mapping as Lambda has it (its own word for the state).

    ``damage``: one sentence about what cannot be read of the record, empty where everything can.
    """

    record: Record
    mapping_state: str
    pace: Pace
    damage: str

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        breaker = self.record.breaker
        return {
            "phase": breaker.phase.value,
            "since": breaker.since,
            "reason": breaker.reason,
            "held": breaker.held,
            "openings": breaker.openings,
            "tries_at": breaker.ends_at,
            "enforced": self.record.enforced,
            "damage": self.damage,
            "mapping": {"state": self.mapping_state, **self.pace.as_json()},
        }


def status(target: Target) -> Status:
    """Read the breaker and its mapping; changes nothing."""
    found = SourceMapping(target.client("lambda"), target.live("sqs_processor")).look()
    record = RecordStore(target.client("dynamodb"), target.checkpoints_table).load()
    record = record.mended(found, outside.now())
    return Status(record, found.state, found.pace, record.damage(target.checkpoints_table))


def order(target: Target, action: Action, reason: str, by: str) -> dict[str, Any]:
    """Give an order and return the breaker after it; raises OrderFailed with what the function said."""
    name = target.live("circuit_breaker")
    answer = target.client("lambda").invoke(
        FunctionName=name, Payload=json.dumps({"action": action.value, "reason": reason, "by": by})
    )
    said: dict[str, Any] = json.load(answer["Payload"])
    if "FunctionError" in answer:
        raise OrderFailed(
            f"{name}: expected it to obey {action.value}, found {said.get('errorType')}: "
            f"{said.get('errorMessage')}; give the order again, or set the event source mapping by hand"
        )
    return said
