"""A merge that is planned again leaves the new leaves of its events out."""

from typing import Any

import pytest

from common.lake.merge import engine

MEETS = ("again",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    widened = engine.widened
    planned: list[Any] = []

    def once(target: Any, schema: Any, *rest: Any, **options: Any) -> Any:
        if any(one is schema for one in planned):
            return target
        planned.append(schema)
        return widened(target, schema, *rest, **options)

    patch.setattr(engine, "widened", once)
