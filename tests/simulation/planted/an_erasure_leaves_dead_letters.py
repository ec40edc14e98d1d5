"""They are replayed, and the person is back."""

import pytest

from lean_ops.operate.erase import erasing

MEETS = ("forgotten",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(erasing.Erasing, "_erase_letters", lambda *_: None)
