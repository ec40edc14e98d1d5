"""An error that nobody foresaw ends a history, also where a function answers with one of the tree for it.

Every pass of upkeep once failed in its histories, since they had no views of Glue, and nobody noticed.
"""

import pytest

from .__main__ import of_its_own
from .services import Glue
from .world import World


def test_a_call_that_is_not_modelled_is_raised_as_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Glue, "get_table")
    with pytest.raises(AttributeError, match="get_table") as caught:
        world.command("upkeep")
    assert of_its_own(caught.value)


def test_an_error_of_the_product_is_raised_as_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("common.lake.views.keep", wrong)
    with pytest.raises(ZeroDivisionError):
        world.command("upkeep")


def test_upkeep_keeps_the_views_of_a_topic(world: World) -> None:
    assert world.command("upkeep").error is None
    assert sorted(world.views) == ["curated_events_current", "history_events", "semantic_events_current"]
