"""A key whose newest version is bad is not published, though an older one is good."""

from dataclasses import replace
from typing import Any

import pytest

from common.lake.checkpoints import NOTHING
from common.layers import semantic


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""

    def nowhere(job: Any, _good: Any) -> Any:
        checkpoint = replace(job.checkpoint, versions=job.raw_read or job.checkpoint.versions)
        return checkpoint, semantic.Published(NOTHING, checkpoint, 0, 0), None

    patch.setattr(semantic._Job, "_look_up", nowhere)
