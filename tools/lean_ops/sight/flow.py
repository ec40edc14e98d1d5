"""The flow: what the queue holds, what each layer of each topic has, and how far it is behind.

Layers are read from metadata alone, and anew only where the pointer of a table or a checkpoint has changed:
an environment of many idle topics costs a few calls a look.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pyiceberg.table import Table

from common.contract.contracts import load_contract
from common.contract.promises import Promise
from common.contract.store import contract_times, read_contract
from common.lake import freshness
from common.lake.history import lineage, said_by
from common.lake.pointers import never_committed, pointers
from common.lake.progress import checkpoint_of
from common.lake.specifications import LAYERS
from common.runtime import outside
from common.runtime.errors import ContractError
from common.runtime.items import read_items
from common.runtime.topics import Topic, read_registry
from lean_ops.accounts import observation
from lean_ops.environment.lake import open_whole
from lean_ops.environment.target import Backlog, Target
from lean_ops.operate.breaker import status
from lean_ops.operate.holds import holds_of
from lean_ops.operate.replay import dead_letters
from lean_ops.sight.parts import Publish, sentence

SOURCES: Final = {"curated": "raw", "semantic": "curated"}
_LAGS: Final = {"curated": freshness.raw_lag, "semantic": freshness.curated_lag}
_AT_ONCE: Final = 4
# A layer is looked at by the last manifests that were written: what a commit brought.
_MANIFESTS: Final = 3
_HOURS: Final = 24


@dataclass(frozen=True)
class Layer:
    """One table of a topic, from its metadata. ``damage``: why it cannot be read; then all else is nothing.

    ``newest``: when the newest event was ingested that it shows. ``unread_since``: since when its source has
    had something that it has not read; None where it has read all. ``arrived``: rows that commits added, by
    the hour since 1970.
    """

    name: str
    rows: int = 0
    data_files: int = 0
    delete_files: int = 0
    size_bytes: int = 0
    snapshots: int = 0
    committed: datetime | None = None
    newest: datetime | None = None
    unread_since: datetime | None = None
    arrived: Mapping[int, int] = field(default_factory=dict)
    damage: str = ""

    def lag(self, now: datetime) -> timedelta:
        """How long its source has had something for it."""
        return max(now - self.unread_since, timedelta(0)) if self.unread_since else timedelta(0)


@dataclass(frozen=True)
class TopicFlow:
    """One topic. ``layers`` by name, those that it has; empty ones are there. ``hold``: who keeps runs away.

    ``promise``: how late the contract says that events may be.
    """

    topic: str
    contract: bool
    paused: bool
    hold: str
    layers: Mapping[str, Layer]
    buffered: Backlog | None = None
    promise: Promise | None = None

    @property
    def last(self) -> Layer | None:
        """The layer that readers look at."""
        return self.layers.get("semantic") or self.layers.get("curated")

    def worst_lag(self, now: datetime) -> timedelta:
        """Of the layer that is behind most."""
        return max((layer.lag(now) for layer in self.layers.values()), default=timedelta(0))

    def late(self, now: datetime) -> bool:
        """Whether something waits for longer than the contract promises."""
        return self.promise is not None and self.worst_lag(now) > self.promise.within

    @property
    def damaged(self) -> bool:
        """Whether a table cannot be read."""
        return any(layer.damage for layer in self.layers.values())

    @property
    def rows(self) -> int:
        """Rows of RAW."""
        return self.layers["raw"].rows if "raw" in self.layers else 0


@dataclass(frozen=True)
class Flow:
    """Everything. ``waiting``: messages in the source queue; ``unread``: topics not looked at yet."""

    waiting: int
    dead_letters: int
    breaker: str
    topics: tuple[TopicFlow, ...]
    unread: int
    at: datetime

    @property
    def worst_first(self) -> list[TopicFlow]:
        """Damaged ones, then those that are late, then by lag and by rows."""
        return sorted(
            self.topics,
            key=lambda one: (
                not one.damaged,
                not one.late(self.at),
                -one.worst_lag(self.at),
                -one.rows,
                one.topic,
            ),
        )

    def rows(self, layer: str) -> int:
        """Rows of a layer of all topics."""
        return sum(one.layers[layer].rows for one in self.topics if layer in one.layers)

    def lag(self, layer: str) -> timedelta:
        """Of the topic that is behind most."""
        lags = (one.layers[layer].lag(self.at) for one in self.topics if layer in one.layers)
        return max(lags, default=timedelta(0))

    @property
    def buffered_bytes(self) -> int | None:
        """What delivery streams hold; None on AWS, where nobody tells."""
        held = [one.buffered.bytes for one in self.topics if one.buffered is not None]
        return sum(held) if held else None

    def arrived(self, layer: str) -> list[tuple[datetime, int]]:
        """Rows added in each of the last hours, the oldest first."""
        this = int(self.at.timestamp()) // 3600
        hours = range(this - _HOURS + 1, this + 1)
        found = [one.layers[layer].arrived for one in self.topics if layer in one.layers]
        return [
            (datetime.fromtimestamp(hour * 3600, UTC), sum(a.get(hour, 0) for a in found)) for hour in hours
        ]


@dataclass(frozen=True)
class _Look:
    """One look: where tables are, the items of the checkpoints table, and when contracts were changed."""

    target: Target
    places: Mapping[str, str]
    items: Mapping[str, Mapping[str, Any]]
    contracts: Mapping[str, int]


class FlowReader:
    """Reads the flow, and remembers what it saw of tables that have not changed since."""

    def __init__(self) -> None:
        self._layers: Final[dict[str, tuple[tuple[str, ...], Layer]]] = {}
        self._promises: Final[dict[str, tuple[int, Promise | None]]] = {}

    def __call__(self, target: Target, publish: Publish) -> Flow:
        """The flow; raises what its first calls raise. A table that cannot be read is damaged in place."""
        registry = read_registry(target.client("s3"), target.lake_bucket)
        places = pointers(target.client("glue"), target.database)
        kinds = ("curated", "semantic", "lease")
        items = read_items(
            target.client("dynamodb"),
            target.checkpoints_table,
            (f"{topic}#{kind}" for topic in registry.topics for kind in kinds),
        )
        contracts = contract_times(target.client("s3"), target.lake_bucket)
        backlogs = target.delivery_backlogs() or {}
        counts = _counts(target)
        flows: dict[str, TopicFlow] = {}

        def so_far(done: int) -> Flow:
            return Flow(*counts, tuple(flows.values()), len(registry.topics) - done, outside.now())

        def look(topic: str) -> tuple[str, TopicFlow]:
            return topic, self._topic(
                _Look(target, places, items, contracts), topic, registry.topics[topic], backlogs
            )

        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="flow") as pool:
            for done, (topic, found) in enumerate(pool.map(look, _busiest_first(registry.topics, places)), 1):
                flows[topic] = found
                if done % 20 == 0:
                    publish(so_far(done))
        return so_far(len(registry.topics))

    def _topic(self, one: "_Look", topic: str, known: Topic, backlogs: Mapping[str, Backlog]) -> TopicFlow:
        layers = {
            layer: self._layer(one, topic, layer) for layer in (LAYERS if known.contract else LAYERS[:2])
        }
        holds = holds_of(one.items.get(f"{topic}#lease", {}))
        return TopicFlow(
            topic,
            known.contract,
            known.paused,
            "; ".join(hold.describe() for hold in holds),
            layers,
            backlogs.get(one.target.settings.delivery_stream(topic)),
            self._promise(one, topic) if known.contract else None,
        )

    def _layer(self, one: "_Look", topic: str, layer: str) -> Layer:
        name, source = f"{layer}_{topic}", one.places.get(f"{SOURCES.get(layer, '')}_{topic}", "")
        place = one.places.get(name, "")
        if not place:
            return Layer(name, damage=f"expected the table, found none; {one.target.deploy_advice}")
        if never_committed(place) and (not source or never_committed(source)):
            return Layer(name)
        stands = (place, source, str(one.items.get(f"{topic}#{layer}", "")))
        known, found = self._layers.get(name, ((), Layer(name)))
        if known != stands:
            found = self._read(one.target, topic, layer)
            if not found.damage:  # which is looked at again
                self._layers[name] = stands, found
        return found

    def _read(self, target: Target, topic: str, layer: str) -> Layer:
        name = f"{layer}_{topic}"
        catalog, settings = target.catalog(), target.settings
        try:
            table = open_whole(catalog, settings.table(layer, topic), newest=_MANIFESTS)
            unread = None
            if layer in SOURCES:
                source = open_whole(catalog, settings.table(SOURCES[layer], topic), newest=_MANIFESTS)
                checkpoint = checkpoint_of(table, layer, topic, settings, target.client("dynamodb"))
                now = outside.now()
                lag = _LAGS[layer](source, checkpoint, now)
                unread = now - lag if lag else None
            return _layer_of(table, unread)
        except Exception as error:  # one table hides no other
            return Layer(name, damage=sentence(target, error))

    def _promise(self, one: _Look, topic: str) -> Promise | None:
        """What the contract promises; one that cannot be read promises nothing, and the doctor says so."""
        changed = one.contracts.get(topic)
        if changed is None:
            return None
        known, promise = self._promises.get(topic, (-1, None))
        if known != changed:
            try:
                text = read_contract(one.target.client("s3"), one.target.lake_bucket, topic)
                promise = load_contract(text, topic).promise
            except ContractError:
                promise = None
            self._promises[topic] = changed, promise
        return promise


def _busiest_first(topics: Mapping[str, Topic], places: Mapping[str, str]) -> list[str]:
    def idle(topic: str) -> bool:
        return never_committed(places.get(f"raw_{topic}", "00000-"))

    return sorted(topics, key=lambda topic: (idle(topic), topic))


def _counts(target: Target) -> tuple[int, int, str]:
    """Messages in the source queue, dead letters, and how the breaker is."""
    breaker = status(target).record.breaker.phase.value
    return observation.in_flight(target), dead_letters.open_queue(target).messages, breaker


def _layer_of(table: Table, unread_since: datetime | None) -> Layer:
    current = table.current_snapshot()
    totals = said_by(current)
    return Layer(
        table.name()[-1],
        rows=max(0, int(totals.get("total-records", 0)) - int(totals.get("total-position-deletes", 0))),
        data_files=int(totals.get("total-data-files", 0)),
        delete_files=int(totals.get("total-delete-files", 0)),
        size_bytes=int(totals.get("total-files-size", 0)),
        snapshots=len(table.metadata.snapshots),
        committed=datetime.fromtimestamp(current.timestamp_ms / 1e3, UTC) if current else None,
        newest=freshness.newest_event(table) if current else None,
        unread_since=unread_since,
        arrived=dict(_arrived(table)),
    )


def _arrived(table: Table) -> Iterator[tuple[int, int]]:
    hours: dict[int, int] = {}
    for snapshot in lineage(table):
        if snapshot.summary is None or snapshot.summary.operation.value == "replace":
            continue  # compaction brings nothing new
        hour = snapshot.timestamp_ms // 3_600_000
        hours[hour] = hours.get(hour, 0) + int(said_by(snapshot).get("added-records", 0))
    yield from hours.items()
