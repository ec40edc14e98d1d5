"""A column that was replaced since reads as null in every row."""

import pytest

from lean_ops.operate import rollback

MEETS = ("contracts",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(rollback, "schema_of", lambda *_: None)
