"""Whatever is killed, repeated or run at the same time: in the end tables are right, and nobody holds.

A sequence is drawn from its seed: deliveries, runs and operations, some killed at some call, some beside each
other. What was killed is repeated, at once or at the end, as an operator would. ``make test-operations-long``
runs a thousand more (``OPERATION_SEQUENCES``, ``OPERATION_SEED``); the seed and the history of one that fails
are in its message.
"""

import os
from pathlib import Path

import pytest

from .sequences import play

# Read when the tests are collected: they run without such settings.
SEQUENCES = int(os.environ.get("OPERATION_SEQUENCES", "32"))
FIRST_SEED = int(os.environ.get("OPERATION_SEED", "1"))


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEQUENCES))
def test_tables_are_right_and_nobody_holds(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play(tmp_path / "lake", seed)
    capsys.readouterr()
