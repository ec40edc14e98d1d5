"""Every planted fault fits: what it replaces is there, is used, and what takes its place takes its calls."""

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lean_ops.operate.rebuild import swapping
from lean_ops.operate.rebuild.filling import fill

from . import fitting
from .fitting import Change, changes, misfits
from .planted import faults


@pytest.mark.parametrize("fault", faults())
def test_a_planted_fault_fits(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = changes(faults()[fault], monkeypatch)
    assert planted, "it changes nothing"
    assert [sentence for change in planted for sentence in misfits(change)] == []


class Kept:
    """Something to plant faults into; ``changes`` and ``check`` are names that code calls."""

    def check(self, one: int, *, two: int = 0) -> int:
        return one + two

    @classmethod
    def load(cls, one: int) -> "Kept":
        return [cls()][one]

    @property
    def attributes(self) -> int:
        return 1


def three(_target: Any, _rebuild: Any, _run_id: str) -> None:
    """What once took the place of ``fill``, which was given a place to work in since."""


def nobody_calls_this() -> None:
    """As it says."""


class More(Kept):
    """A kind of it that takes less."""

    def check(self) -> int:  # type: ignore[override] # what is to be found
        return 0


OWN = ModuleType("own")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Change(swapping, "fill", fill, three), r"called with \(4 by position\)"),
        (Change(Kept, "check", Kept.check, lambda _self: 0), "called with"),
        (Change(Kept, "check", Kept.check, lambda _self, _one: 0), "two="),
        (Change(Kept, "check", Kept.check, lambda *_, more: more), "called with"),
        (Change(Kept, "load", Kept.load, lambda: 0), "called with"),
        (Change(Kept, "check", Kept.check, 3), "expected something to call"),
        (Change(Kept, "check", Kept.check, Kept.check), "found the same"),
        (Change(Kept, "attributes", Kept.attributes, lambda _: 1), "expected a property"),
        (Change(fitting, "changes", Kept, More), "called with"),
        (Change(fitting, "changes", More, Kept), "a kind of it"),
        (Change(OWN, "nobody_calls_this", nobody_calls_this, lambda: None), "code that uses it"),
    ],
)
def test_what_does_not_fit_any_more_is_said(change: Change, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        assert not list(misfits(change)), "; ".join(misfits(change))


@pytest.mark.parametrize("after", [lambda *_, **__: 0, lambda _self, _one, two=0: two])
def test_what_takes_the_same_calls_fits(after: Any) -> None:
    assert not list(misfits(Change(Kept, "check", Kept.check, after)))


def test_what_is_not_there_cannot_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AttributeError, match="gone"):
        changes(lambda patch: patch.setattr(Kept, "gone", 1), monkeypatch)
    with pytest.raises(KeyError, match="gone"):
        changes(lambda patch: patch.setitem(vars(SimpleNamespace()), "gone", 1), monkeypatch)
