"""Faults, a module each: its name says what is wrong, its docstring what an operator would lose by it.

``plant`` puts it into the product that runs, by patching. Histories that find none of them show nothing.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Final

import pytest

_HELPERS: Final = frozenset({"requirements", "services"})


def meets(fault: str) -> tuple[str, ...]:
    """The kinds of steps that can meet a fault (``sequences.KINDS``); none: whichever a seed draws."""
    found: tuple[str, ...] = getattr(importlib.import_module(f"{__name__}.{fault}"), "MEETS", ())
    return found


def faults() -> Mapping[str, Callable[[pytest.MonkeyPatch], None]]:
    """Every fault by its name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _HELPERS)
    return {name: importlib.import_module(f"{__name__}.{name}").plant for name in names}
