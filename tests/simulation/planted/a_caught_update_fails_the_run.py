"""A checkpoint that is further along already ends the run as failed."""

import copy

import pytest
from tests.simulation import machine

MEETS = ("overtaken",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    definition = copy.deepcopy(machine._definition())
    for state in definition["States"].values():
        state.pop("Catch", None)
    patch.setattr(machine, "_definition", lambda: definition)
