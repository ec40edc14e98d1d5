"""What breaks the contract is in neither Semantic nor Quarantine."""

from typing import Any

import pytest

from common.layers import semantic


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    merge = semantic._Job._merge

    def quietly(job: Any, table: str, rows: Any, *rest: Any) -> Any:
        if "quarantine" not in table:
            return merge(job, table, rows, *rest)
        with rows:
            return None

    patch.setattr(semantic._Job, "_merge", quietly)
