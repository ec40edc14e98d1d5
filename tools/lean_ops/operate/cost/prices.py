"""The table of prices (``prices.json``): list prices, quotas, and what no file and no metric says.

Every price has its source, the region that the source speaks of, and its day (of a page without one: the day
that it was read). Where no price of the table's own region was found, that of another stands in, and the bill
says so. Free allowances are not taken off: an account has them once, whatever else runs in it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from common.runtime.errors import PermanentError

T = TypeVar("T")
PRICES: Final = Path(__file__).with_name("prices.json")


class MissingPrice(PermanentError):  # noqa: N818 - a price is missing; "error" would say less
    """The table has no price, quota or assumption of that name, or none for the region."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The price of what is used above ``count`` units a month."""

    count: float
    usd: float


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``usd`` for ``per`` units; above a count, less. ``date``: ISO 8601."""

    unit: str
    per: float
    usd: float
    region: str
    source: str
    date: str
    above: list[Step] = []

    def shares(self, used: float, count: float) -> Iterator[tuple[float, float]]:
        """How ``count`` more units after ``used`` ones fall on the steps: pairs of units and USD a unit."""
        steps = [Step(0, self.usd), *self.above]
        ends = [*(step.count for step in self.above), float("inf")]
        for step, end in zip(steps, ends, strict=True):
            units = min(used + count, end) - max(used, step.count)
            if units > 0:
                yield units, step.usd / self.per


class Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many of something an account has by default."""

    value: int
    source: str
    date: str


class Assumption(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A quantity that was measured elsewhere or is known of a service, and why it is what it is."""

    value: float
    unit: str
    why: str


class PriceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything in the file. ``price``, ``quota`` and ``assumed`` raise MissingPrice by name."""

    region: str
    prices: dict[str, Price]
    quotas: dict[str, Quota]
    assumptions: dict[str, Assumption]

    def price(self, name: str) -> Price:
        """The price called ``name``."""
        return _of(self.prices, "price", name)

    def quota(self, name: str) -> Quota:
        """The quota called ``name``."""
        return _of(self.quotas, "quota", name)

    def assumed(self, name: str) -> float:
        """The value that is taken for ``name``."""
        return _of(self.assumptions, "assumption", name).value

    def check_region(self, region: str) -> None:
        """Raise MissingPrice for a region that the table does not speak of."""
        if region != self.region:
            raise MissingPrice(
                f"prices: expected those of {region}, found a table of {self.region}; "
                f"write the prices of {region} into {PRICES.name}"
            )


def load_prices(path: Path = PRICES) -> PriceTable:
    """Read the table; raises MissingPrice for one that cannot be read, and for a price that cannot be."""
    try:
        table = msgspec.json.decode(path.read_bytes(), type=PriceTable)
    except msgspec.DecodeError as error:
        raise MissingPrice(f"{path}: expected prices, quotas and assumptions, found: {error}") from error
    for name, price in table.prices.items():
        steps = [step.count for step in price.above]
        cheap = [price.usd, *(step.usd for step in price.above)]
        if (
            price.per <= 0
            or min(cheap) < 0
            or steps != sorted({*steps} - {0.0})
            or not (price.source and price.date)
        ):
            raise MissingPrice(
                f"{path}: price {name}: expected USD for a number of units, steps that rise, source "
                f"and date, found {price}"
            )
    return table


def _of(entries: Mapping[str, T], kind: str, name: str) -> T:
    if name not in entries:
        raise MissingPrice(
            f"{kind} {name}: expected it in the table of prices, found none; write it, with source and date, "
            f"into {PRICES.name}"
        )
    return entries[name]
