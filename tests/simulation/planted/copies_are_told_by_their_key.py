"""Of two events of a key at one time the later one counts as a copy, and is left out."""

from typing import Any

import pytest

from common.lake import rule


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""

    def decide(rows: Any, keys: Any, of: rule.MergeRule) -> Any:
        if of.message is None:
            return plain(rows, keys, of)
        alike = rows.set_column(
            rows.column_names.index(of.message), of.message, rows[of.key].combine_chunks()
        )
        return plain(alike, keys, of)

    plain = rule._decide_repeated
    patch.setattr(rule, "_decide_repeated", decide)
