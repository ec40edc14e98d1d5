"""A pass died between its note and the start: the topic waits for good."""

import pytest

from dispatcher import judging, passing
from dispatcher.judging import Ending

MEETS = ("schedule", "meet")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    ending = passing.Dispatcher._ending

    def hopeful(dispatcher: passing.Dispatcher, execution: str) -> Ending:
        found = ending(dispatcher, execution)
        return judging.Ending.RUNS if found is Ending.UNKNOWN else found

    patch.setattr(passing.Dispatcher, "_ending", hopeful)
