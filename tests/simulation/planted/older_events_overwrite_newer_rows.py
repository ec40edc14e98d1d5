"""A late event takes the place of the correction that came before it."""

import numpy as np
import pytest

from common.lake.merge import decide
from common.lake.rule import Verdict


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    always = np.int8(Verdict.REPLACES)
    patch.setattr(decide, "compare", lambda source, *_: np.full(source.num_rows, always))
