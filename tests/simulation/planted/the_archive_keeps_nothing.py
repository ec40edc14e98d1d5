"""After two weeks the letters are gone."""

import pytest

from archive_dead_letters import archive

MEETS = ("letters",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(archive._Writer, "_write", lambda writer, day: writer._open.pop(day))
