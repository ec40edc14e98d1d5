"""Whatever breaks, in whatever order: in the end nothing is lost, tables are right, everything rests.

The histories of 300 seeds (``make test-simulation``).
What is drawn says ``sequences``, what must hold in the end ``resting``, and at every moment ``watching``.
``make simulate`` plays more, or one in words. A seed that fails is named, with its history.
"""

import os

import pytest

from .__main__ import once

# Read when the tests are collected: they run without such settings.
SEEDS = int(os.environ.get("SIMULATED_SEEDS", "300"))
FIRST = int(os.environ.get("SIMULATED_FIRST", "1"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_the_history_of_a_seed_ends_well(seed: int) -> None:
    played = once(seed)
    assert not played.error, played.words
