"""A pass that is killed has removed letters that it has not written."""

from typing import Any

import pytest

from archive_dead_letters import archive
from common.intake.queue_pass import QueuePass

MEETS = ("letters",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""

    class Emptying(QueuePass):
        def batches(self) -> Any:
            for batch in super().batches():
                self.remove(batch)
                yield batch

    patch.setattr(archive, "QueuePass", Emptying)
