"""A topic on hold is worked on."""

import pytest

from get_all_checkpoints import handler as looking_up


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(looking_up, "acquire", lambda *_, **__: True)
