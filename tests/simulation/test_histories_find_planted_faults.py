"""A fault that is planted into the product is found by a history: they can fail.

``make simulate-planted`` plants every fault of ``planted`` and plays seeds until one fails; docs/failures.md
keeps the score, and ``test_planted_faults_fit`` says which do not fit any more. Here a few faults, each of
another room, are found by a seed that is known to find them.
"""

import pytest

from .__main__ import once
from .planted import faults

FOUND_BY = {
    "a_backlog_ends_the_run_well": 1,
    "a_rebuild_tells_nobody_of_new_columns": 2,
    "a_retry_is_ingested_anew": 1,
}


@pytest.mark.parametrize("fault", sorted(FOUND_BY))
def test_a_planted_fault_is_found(fault: str) -> None:
    assert once(FOUND_BY[fault], fault=fault).error, "the history ended well"


def test_there_are_many_faults_of_every_room() -> None:
    assert len(faults()) >= 40
