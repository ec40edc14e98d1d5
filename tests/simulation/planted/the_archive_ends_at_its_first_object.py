"""Only letters of one day are ever sent again from it."""

from itertools import islice

import pytest

from common.intake import archive

MEETS = ("letters",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    keys = archive.keys
    patch.setattr(archive, "keys", lambda *of: islice(keys(*of), 1))
