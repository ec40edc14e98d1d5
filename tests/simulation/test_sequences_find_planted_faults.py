"""A fault that is planted into the product is found by sequences of operations: they can fail.

``make test-operations-planted`` plants every fault of ``planted.faults`` and plays sequences until one fails
(``PLANTED_SEQUENCES``: how many at most); its score is in docs/failures.md. Here two faults are found by a
sequence that is known to find them.
"""

import os
import sys
from pathlib import Path

import pytest

from .planted.faults import FAULTS
from .sequences import play

# Read when the tests are collected: they run without such settings.
BUDGET = int(os.environ.get("PLANTED_SEQUENCES", "0"))
FOUND_BY = {
    "runs_do_not_ask_for_the_lease": 4,
    "the_end_of_an_operation_lifts_every_hold": 4,
}


def finds(fault: str, folder: Path, seed: int) -> str:
    """What the sequence of a seed says of a planted fault; empty where it finds nothing."""
    with pytest.MonkeyPatch.context() as plant:
        FAULTS[fault](plant)
        try:
            play(folder, seed)
        except (AttributeError, NameError, TypeError):
            raise  # the product has changed under the fault: it is to be planted anew
        except BaseException as error:
            return f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.parametrize("fault", sorted(FAULTS if BUDGET else FOUND_BY))
def test_a_planted_fault_is_found(fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(1, BUDGET + 1) if BUDGET else (FOUND_BY[fault],):
        if found := finds(fault, tmp_path / f"{seed}", seed):
            if BUDGET:
                with capsys.disabled():
                    sys.stdout.write(f"{fault}: found by seed {seed}: {found.splitlines()[0][:160]}\n")
            return
    pytest.fail(f"{fault}: not found by {BUDGET or 1} sequences")
