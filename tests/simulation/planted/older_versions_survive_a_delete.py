"""A version from before the last delete is published."""

import pytest

from common.lake.reading import read_rows
from common.layers import versions

MEETS = ("versions",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(versions, "_deletes", lambda raw, _since, _upto: read_rows(raw, "idempotency_key == ''"))
