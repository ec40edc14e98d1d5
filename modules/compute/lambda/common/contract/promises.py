"""How late the rows of a topic may be: ``slaProperties`` with ``property: latency``.

    slaProperties:
      - property: latency
        value: 30
        unit: min

It is held against how long a layer has had something that it has not read: the function ``observation``
rings, the doctor and the page say where it is not kept. Of several entries the strictest counts, whichever
table or column they name.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from open_data_contract_standard.model import OpenDataContractStandard, ServiceLevelAgreementProperty

PROPERTY: Final = "latency"
# Those of the standard's examples (v3.1, "Service-level agreement"), and the shorter ones.
_UNITS: Final = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("y", "yr", "year", "years"), 365 * 86_400),
}


@dataclass(frozen=True)
class Promise:
    """``within``: so long after an event came in, readers have it at the latest."""

    within: timedelta


def read_promise(document: OpenDataContractStandard) -> Promise | None:
    """What the contract promises; None where it says nothing, or nothing that can be measured."""
    spans = [span for entry in document.slaProperties or [] if (span := _span(entry)) is not None]
    return Promise(min(spans)) if spans else None


def is_measured(entry: ServiceLevelAgreementProperty) -> bool:
    """Whether an entry says something that can be measured."""
    return _span(entry) is not None


def _span(entry: ServiceLevelAgreementProperty) -> timedelta | None:
    number, unit = entry.value, _UNITS.get(str(entry.unit or ""))
    if entry.property != PROPERTY or unit is None or isinstance(number, bool):
        return None
    if not isinstance(number, int | float) or not 0 < number * unit <= timedelta.max.total_seconds():
        return None
    return timedelta(seconds=number * unit)
