"""Step Functions answers of an execution that has just begun as if there were none yet.

Its answers are eventually consistent (API reference, DescribeExecution). Who takes that for an execution that
was forgotten after 90 days works beside one that goes on.
"""

import pytest

from common.runtime.errors import InvalidInput
from lean_ops.operate import leases

from .conftest import done
from .services import TOPIC
from .world import World

WHY = ("--reason", "a test", "--json")


@pytest.fixture
def begun(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A run has begun, has the lease, and is not seen yet by who asks for it."""
    arn = world.stepfunctions.begin({"topic": TOPIC}, "begun")["executionArn"]
    answer = world.invoke(
        "get_all_checkpoints", {"topic": TOPIC, "execution_arn": arn, "continued_from": "", "engine": "auto"}
    )
    assert answer["lease"] == "held"
    assert world.lease_holder() == arn
    monkeypatch.setattr(world.stepfunctions, "lags", lambda: True)
    return world


def test_no_other_run_takes_its_lease(begun: World) -> None:
    begun.send(2)
    holder = begun.lease_holder()
    done(begun.command("run"))
    assert begun.lease_holder() == holder


def test_no_operation_begins_beside_it(begun: World) -> None:
    before = begun.snapshots("curated")[0]
    process = begun.command("rollback", "curated", "--to", before, "--wait", "0", *WHY)
    assert isinstance(process.error, InvalidInput)
    assert "expected no run in progress" in str(process.error)


def test_who_looks_is_told_that_it_runs(begun: World) -> None:
    assert leases.read(begun.target, TOPIC).status == "RUNNING"


def test_one_that_was_forgotten_holds_nothing(begun: World) -> None:
    del begun.stepfunctions.statuses[begun.lease_holder()]
    assert leases.read(begun.target, TOPIC).status == "FORGOTTEN"
    begun.send(2)
    done(begun.command("run"))
    assert begun.stepfunctions.statuses[begun.lease_holder()] == "SUCCEEDED"
