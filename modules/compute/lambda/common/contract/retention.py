"""How long rows are kept: ``slaProperties`` with ``property: retention``, for one table or several.

A row is as old as its ``publish_time``. Upkeep drops days that are past (docs/adr/0023); what is here says
how long a table keeps rows, and what may not be said. The rules come from what the tables are for each other:

- Semantic and Quarantine are made from Curated, so Curated keeps a row at least as long as Semantic does;
- Quarantine tells for which keys older versions count (docs/adr/0016), so it too keeps a row that long;
- a dead letter can be replayed for 14 days (SQS keeps it no longer), so every table keeps a row for longer.

RAW may keep less than the others: what was dropped there was read before. A rebuild then begins where RAW
does, and takes older rows over from the live table (``lean-ops rebuild --from``).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from open_data_contract_standard.model import OpenDataContractStandard, ServiceLevelAgreementProperty

from common.contract.problems import Problems
from common.contract.promises import PROPERTY as LATENCY
from common.contract.promises import is_measured
from common.lake.specifications import LAYERS
from common.runtime.errors import ContractError

REPLAY_DAYS: Final = 14
"""How long a dead letter can be replayed: the longest that SQS keeps a message."""
ARCHIVE_DAYS: Final = 90
"""How long the archive keeps dead letters beyond that, where an environment does not say otherwise."""
LONGEST_DAYS: Final = 36_500

_UNITS: Final = {"d": 1, "day": 1, "days": 1, "y": 365, "yr": 365, "year": 365, "years": 365}
_LATE: Final = ("kept", "refused")
_ELEMENT: Final = re.compile(r"[^,\s]+")
# Fields of an entry that would change what it says; the others are for its readers.
_NOT_READ: Final = ("valueExt", "schedule", "scheduler")
_FOR_SEMANTIC: Final = ("curated", "quarantine")


@dataclass(frozen=True)
class Retention:
    """How long the rows of a topic are kept.

    ``days`` by layer; a layer that is not in it keeps its rows for good. ``refuses_late``: an event that is
    past when it arrives goes to the dead-letter queue; else it stays in RAW until that drops it. Either way
    it enters no table that it is past for.
    """

    days: Mapping[str, int] = field(default_factory=dict, hash=False)
    refuses_late: bool = False


FOR_GOOD: Final = Retention()


def read_retention(document: OpenDataContractStandard, topic: str, problems: Problems) -> Retention:
    """What the contract says; ``problems`` has what cannot be kept or says two things."""
    days: dict[str, int] = {}
    for number, entry in enumerate(document.slaProperties or [], 1):
        if entry.property != "retention":
            continue
        of_entry = problems.part(f"slaProperties, entry {number} (retention)", "slaProperties", number - 1)
        with of_entry.at():
            kept = _days(entry)
            for layer in _layers(entry.element or document.slaDefaultElement, topic):
                if layer in days:
                    raise ContractError(f"expected each table once, found {layer}_{topic} again")
                days[layer] = kept
    with problems.part("slaProperties, retention", "slaProperties").at():
        _check(days, topic)
    late = False
    with problems.part("customProperties, lateEvents", "customProperties").at():
        late = _refuses_late(document, days, topic)
    return Retention(days, late)


def doubts(document: OpenDataContractStandard, retention: Retention, topic: str) -> Iterator[tuple[str, str]]:
    """What is allowed and yet deserves a second look: where, and a sentence."""
    others = {entry.property for entry in document.slaProperties or []} - {"retention", LATENCY}
    for name in sorted(str(other) for other in others):
        yield f"slaProperties, {name}", "documented to readers, not enforced by the pipeline"
    for entry in document.slaProperties or []:
        stated = [name for name in _NOT_READ if getattr(entry, name) is not None]
        if entry.property == LATENCY and stated:
            names = ", ".join(stated)
            sentence = f"{names}: documented to readers; runs begin as soon as there is something to read"
            yield f"slaProperties, {LATENCY}", sentence
        if entry.property == LATENCY and not is_measured(entry):
            said = f"{entry.value!r} {entry.unit or ''}".strip()
            yield (
                f"slaProperties, {LATENCY}",
                f"expected a number with the unit s, min, h, d or y, found {said}; nobody watches it",
            )
    where = "slaProperties, retention"
    yield from ((where, sentence) for sentence in _sentences(retention.days, topic))


def _sentences(days: Mapping[str, int], topic: str) -> Iterator[str]:
    if not days:
        return
    reach = REPLAY_DAYS + ARCHIVE_DAYS
    shortest = min(days, key=lambda layer: days[layer])
    if days[shortest] < reach:
        yield (
            f"{shortest}_{topic} keeps rows for {days[shortest]} days: what the archive of dead letters holds"
            f" for longer (until {reach} days after it was sent, by default) is past when it is replayed"
        )
    if days.get("raw", LONGEST_DAYS) < days.get("curated", LONGEST_DAYS):
        yield (
            f"raw_{topic} keeps rows for less time than curated_{topic}: a rebuild has to begin with --from "
            "where RAW does, and versions that RAW has dropped are in no history"
        )
    if forgotten := [layer for layer in LAYERS if layer not in days]:
        tables = ", ".join(f"{layer}_{topic}" for layer in forgotten)
        yield f"{tables}: nothing said, so that rows are kept for good"


def _days(entry: ServiceLevelAgreementProperty) -> int:
    if stated := [name for name in _NOT_READ if getattr(entry, name) is not None]:
        raise ContractError(
            f"expected property, value, unit and element, found {', '.join(stated)}, which nothing "
            "reads; rows are dropped by the day, once they are past"
        )
    unit = str(entry.unit or "")
    if unit not in _UNITS:
        raise ContractError(
            f"expected a unit of {', '.join(_UNITS)}, found {entry.unit!r}; a month has no certain "
            "length, and partitions are days"
        )
    value = entry.value
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # the standard's model reads any number as one
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ContractError(f"expected a value that is a whole number above 0, found {entry.value!r}")
    days = value * _UNITS[unit]
    if not REPLAY_DAYS < days <= LONGEST_DAYS:
        raise ContractError(
            f"expected more than {REPLAY_DAYS} days and at most {LONGEST_DAYS}, found {days}: a "
            f"dead letter can be replayed for {REPLAY_DAYS} days, and would be past"
        )
    return days


def _layers(element: str | None, topic: str) -> Iterable[str]:
    """The layers that an entry speaks of: all, where it names no table."""
    if element is None:
        return LAYERS
    tables = {f"{layer}_{topic}": layer for layer in LAYERS}
    named = _ELEMENT.findall(element)
    # The column is the only one that a row's age can be told by.
    unknown = [name for name in named if name.removesuffix(".publish_time") not in tables]
    if unknown or not named:
        raise ContractError(
            f"expected element to name tables of {', '.join(tables)} (comma between, .publish_time "
            f"may follow), found {element!r}"
        )
    return [tables[name.removesuffix(".publish_time")] for name in named]


def _check(days: Mapping[str, int], topic: str) -> None:
    """Raise ContractError where a table would keep rows that it could not be made again with."""
    wanted = days.get("semantic")
    for layer in _FOR_SEMANTIC:
        if layer in days and (wanted is None or wanted > days[layer]):
            found = "for good" if wanted is None else f"for {wanted} days"
            raise ContractError(
                f"expected semantic_{topic} to keep rows for at most the "
                f"{days[layer]} days of {layer}_{topic}, which it is made from, found {found}; lengthen the "
                "one or shorten the other"
            )


def _refuses_late(document: OpenDataContractStandard, days: Mapping[str, int], topic: str) -> bool:
    stated = [c.value for c in document.customProperties or [] if c.property == "lateEvents"]
    if not stated:
        return False
    if len(stated) != 1 or stated[0] not in _LATE:
        raise ContractError(f"expected {' or '.join(_LATE)}, once, found {stated}")
    if "curated" not in days:
        raise ContractError(
            f"expected a retention of curated_{topic} (slaProperties), found none: without it no event is "
            "late"
        )
    return bool(stated[0] == "refused")
