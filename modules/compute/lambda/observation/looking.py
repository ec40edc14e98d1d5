"""Looking at the tables of topics that have changed, several at once, and remembering what was seen."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from common.lake import freshness
from common.lake.pointers import never_committed, standing
from common.lake.progress import checkpoint_of
from common.lake.specifications import open_table
from common.runtime.errors import LeanOpsError
from common.runtime.settings import LookUpSettings
from common.runtime.topics import Registry
from observation.remembered import LAYERS, Seen

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient

SOURCES: Final = {"curated": "raw", "semantic": "curated"}
_LAGS: Final = {"curated": freshness.raw_lag, "semantic": freshness.curated_lag}
_AT_ONCE: Final = 8
_Seen = TypeVar("_Seen")


class Failures:
    """What could not be looked at, and why."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def attempt(self, what: str, look: Callable[[], _Seen]) -> _Seen | None:
        """What ``look`` gives; None where it fails, for whatever reason: one table must not hide others."""
        try:
            return look()
        except Exception as error:
            # Of errors that are not this project's only the class is kept: their messages may quote a value.
            said = f": {error}" if isinstance(error, LeanOpsError) else ""
            self.found[what] = f"{type(error).__name__}{said}"
            return None


@dataclass
class Look:
    """One look at an environment: what there is of it, and what was found.

    ``contracts``: when the contracts of topics were changed, in seconds since 1970; ``promised_s`` reads what
    one promises.
    """

    settings: LookUpSettings
    registry: Registry
    catalog: Catalog
    dynamodb: "DynamoDBClient"
    now: datetime
    pointers: Mapping[str, str]
    items: Mapping[str, Mapping[str, Any]]
    contracts: Mapping[str, int]
    promised_s: Callable[[str], float | None]
    failures: Failures = field(default_factory=Failures)
    seen: dict[str, Seen] = field(default_factory=dict)
    looked_at: list[str] = field(default_factory=list)


def look_at_what_changed(one: Look, go_on: Callable[[], bool]) -> int:
    """Open the tables of topics that are not as they were; gives for how many there was no time.

    Those that were looked at longest ago come first: what is left now is not left next time.
    """
    changed = {}
    for topic in one.registry.topics:
        one.seen[topic] = Seen.of(one.items.get(f"{topic}#observed", {}))
        # A contract that is another may promise something else.
        fresh = f"{standing(topic, one.pointers, one.items)}/{one.contracts.get(topic, 0)}"
        if fresh != one.seen[topic].digest and not _untouched(topic, one):
            changed[topic] = fresh

    def look(topic: str) -> bool:
        if not go_on():
            return False
        seen, complete = _observe(topic, one, changed[topic])
        one.seen[topic] = seen
        one.looked_at.append(topic)
        if complete:  # what could not be seen is looked at again, whether it changes or not
            one.dynamodb.put_item(
                TableName=one.settings.checkpoints_table,
                Item={"checkpoint_id": {"S": f"{topic}#observed"}, **seen.as_item()},
            )
        return True

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="observe") as pool:
        waiting = sorted(changed, key=lambda topic: (one.seen[topic].at, topic))
        return sum(not looked for looked in pool.map(look, waiting))


def _untouched(topic: str, one: Look) -> bool:
    """Whether all tables of a topic are there and nobody has ever committed to them: nothing is to see."""
    places = [one.pointers.get(f"{layer}_{topic}") for layer in _layers(topic, one)]
    return all(place is not None and never_committed(place) for place in places)


def _layers(topic: str, one: Look) -> tuple[str, ...]:
    return LAYERS if one.registry.topics[topic].contract else LAYERS[:2]


def _observe(topic: str, one: Look, fresh: str) -> tuple[Seen, bool]:
    """What there is to see of a topic's layers, and whether all of it was seen."""
    settings, failures = one.settings, Failures()
    tables: dict[str, Table] = {}
    for layer in _layers(topic, one):
        name = settings.table(layer, topic)
        table = failures.attempt(name, partial(open_table, one.catalog, name))
        if table is not None:
            tables[layer] = table
    newest: dict[str, float] = {}
    unread: dict[str, float | None] = {}
    for layer, table in tables.items():
        name = settings.table(layer, topic)
        event = failures.attempt(f"freshness of {name}", partial(freshness.newest_event, table))
        if event is not None:
            newest[layer] = event.timestamp()
        source = tables.get(SOURCES.get(layer, ""))
        if source is not None:
            lag = failures.attempt(f"lag of {name}", partial(_lag, table, source, layer, topic, one))
            if lag is not None:
                unread[layer] = (one.now - lag).timestamp() if lag else None
    promised = None
    if topic in one.contracts:
        promised = failures.attempt(f"contract of {topic}", partial(one.promised_s, topic))
    one.failures.found |= failures.found
    return Seen(fresh, one.now.timestamp(), newest, unread, promised), not failures.found


def _lag(table: Table, source: Table, layer: str, topic: str, one: Look) -> timedelta:
    checkpoint = checkpoint_of(table, layer, topic, one.settings, one.dynamodb)
    return _LAGS[layer](source, checkpoint, one.now)
