"""Its key has two rows."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.lake.merge import planning
from common.lake.merge.decide import Decision


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    decide = planning.decide

    def keeping(*arguments: Any) -> Decision:
        return replace(decide(*arguments), delete=np.zeros(0, np.int64))

    patch.setattr(planning, "decide", keeping)
