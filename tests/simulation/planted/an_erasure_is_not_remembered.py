"""What arrives of an erased key afterwards is merged, and stays."""

import pytest

from lean_ops.operate.erase import erasing

MEETS = ("forgotten",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(erasing, "remember", lambda *_: None)
