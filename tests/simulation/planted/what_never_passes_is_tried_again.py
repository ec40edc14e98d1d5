"""A contract that cannot be read is read seven times, with pauses, at every run."""

import copy

import pytest
from tests.simulation import machine

MEETS = ("contracts",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    definition = copy.deepcopy(machine._definition())
    for state in definition["States"].values():
        if state["Type"] == "Task":
            state["Retry"] = [one for one in state.get("Retry", ()) if one.get("MaxAttempts") != 0]
    patch.setattr(machine, "_definition", lambda: definition)
