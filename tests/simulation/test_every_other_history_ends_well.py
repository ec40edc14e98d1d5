"""The other half of ``test_every_history_ends_well``, for another process."""

import pytest

from .__main__ import once
from .test_every_history_ends_well import FIRST, of_every_other


@pytest.mark.parametrize("seed", of_every_other(FIRST + 1))
def test_the_history_of_a_seed_ends_well(seed: int) -> None:
    played = once(seed)
    assert not played.error, played.words
