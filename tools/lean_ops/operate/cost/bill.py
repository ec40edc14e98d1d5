"""What a month costs: usage x settings x prices -> lines, as pure functions.

Every line is ``count`` units at ``usd_per_unit``, and nothing else: who doubts a figure multiplies. A line is
*fixed* (an environment without topics), of *topics* (each pays it, with events or without) or of *events*.
A month has 30 days, a GiB 2^30 bytes, and events come evenly.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import ceil
from typing import Final

from common.runtime.errors import InvalidInput
from lean_ops.operate.cost.emitted import EMITTED, When
from lean_ops.operate.cost.prices import PriceTable
from lean_ops.operate.cost.settings import MONTH_S, Settings, operation_tables

GIB: Final = 2**30
_DAYS: Final = 30
_HOURS: Final = MONTH_S / 3_600
_EVERY_RUN: Final = "states of every run"
MERGE_PUTS: Final = "puts of merges"
MERGE_GETS: Final = "gets of merges"


class Scope(StrEnum):
    """What a line is paid for."""

    FIXED = "fixed"
    TOPICS = "topics"
    EVENTS = "events"


@dataclass(frozen=True)
class Usage:
    """What comes in: ``topics`` of the environment, ``idle_topics`` of them without events."""

    events_per_day: float
    event_bytes: float
    topics: int
    idle_topics: int = 0
    messages_per_send: int | None = None
    """Messages that a sender puts into a request; None for what the table assumes."""

    def __post_init__(self) -> None:
        if min(self.events_per_day, self.event_bytes, self.topics, self.idle_topics) < 0:
            raise InvalidInput(f"usage: expected nothing below zero, found {self}")
        if self.idle_topics > self.topics:
            raise InvalidInput(f"idle topics: expected at most all {self.topics}, found {self.idle_topics}")
        if self.events_per_day and self.idle_topics == self.topics:
            raise InvalidInput(
                "topics: expected one that the events belong to, found none; every one is idle"
            )

    @property
    def events(self) -> float:
        """Events a month."""
        return self.events_per_day * _DAYS

    @property
    def busy(self) -> int:
        """Topics with events."""
        return self.topics - self.idle_topics if self.events_per_day else 0


@dataclass(frozen=True)
class Measured:
    """What CloudWatch counted, scaled to a month, by function: it replaces what the model takes for it.

    ``executions``: runs of the state machine. ``seconds``: their billed time, all invocations together.
    ``requests``: to S3 by merges, as their tables tell (``ops_runs``), by ``Quantity.counted_by``.
    """

    invocations: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    executions: float | None = None
    requests: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Quantity:
    """So much of something that has a price. ``counted_by``: what a measurement of it would count."""

    item: str
    scope: Scope
    price: str
    count: float
    counted_by: str = ""
    measured: bool = False


@dataclass(frozen=True)
class Line:
    """One line of the bill: ``usd`` is ``count`` times ``usd_per_unit``."""

    item: str
    scope: Scope
    count: float
    unit: str
    usd_per_unit: float
    usd: float
    price: str
    region: str
    source: str
    date: str
    measured: bool


@dataclass(frozen=True)
class Bill:
    """The lines of a month."""

    lines: tuple[Line, ...]

    @property
    def usd(self) -> float:
        """The sum."""
        return sum(line.usd for line in self.lines)

    def of(self, scope: Scope) -> float:
        """The sum of one scope."""
        return sum(line.usd for line in self.lines if line.scope is scope)

    def dominant(self, scope: Scope | None = None) -> list[Line]:
        """The lines, the dearest first."""
        lines = [line for line in self.lines if scope is None or line.scope is scope]
        return sorted(lines, key=lambda line: -line.usd)


@dataclass(frozen=True)
class Basis:
    """What the model takes for given: the settings, and what no setting says."""

    settings: Settings
    table: PriceTable

    def assumed(self, name: str) -> float:
        """The value of an assumption; raises MissingPrice."""
        return self.table.assumed(name)


def bill(usage: Usage, settings: Settings, table: PriceTable, measured: Measured | None = None) -> Bill:
    """What a month of ``usage`` costs; raises MissingPrice."""
    basis = Basis(settings, table)
    quantities = [*_fixed(basis), *_topics(usage, basis), *_events(usage, basis)]
    if measured is not None:
        quantities = _as_measured(quantities, measured, settings)
    return Bill(tuple(_lines(quantities, table)))


def _lines(quantities: Iterable[Quantity], table: PriceTable) -> Iterator[Line]:
    """Prices that fall with the count fall for all lines together, in their order."""
    used: dict[str, float] = defaultdict(float)
    for one in quantities:
        price = table.price(one.price)
        for count, usd in price.shares(used[one.price], one.count):
            yield Line(
                one.item, one.scope, count, price.unit, usd, count * usd,
                one.price, price.region, price.source, price.date, one.measured,
            )  # fmt: skip
        used[one.price] += one.count


def _fixed(basis: Basis) -> Iterator[Quantity]:
    fixed = Scope.FIXED
    yield Quantity("encryption key", fixed, "kms-key-month", basis.settings.keys)
    yield Quantity("uses of the key", fixed, "kms-request", basis.assumed("kms-requests"))
    yield Quantity("secrets", fixed, "secret-month", basis.settings.secrets)
    looks = basis.settings.functions["snowflake_latency"].runs
    yield Quantity("looks for Snowflake's secret", fixed, "secret-read", looks)
    yield Quantity("dashboard", fixed, "dashboard-month", basis.settings.dashboards)
    yield Quantity("alarms", fixed, "alarm-metric-month", basis.settings.alarm_metrics)
    watched = basis.settings.watched_topics
    alarms = watched * basis.settings.topic_alarm_metrics
    yield Quantity("alarms of watched topics", fixed, "alarm-metric-month", alarms)
    metrics = watched * _metrics(basis, When.WATCHED, of_topics=True)
    yield Quantity("metrics of watched topics", fixed, "metric-month", metrics)
    yield Quantity(
        "metrics of the functions", fixed, "metric-month", _metrics(basis, When.ALWAYS, of_topics=False)
    )
    polls = basis.assumed("pollers") * MONTH_S / basis.assumed("poll-seconds")
    yield Quantity("polls of the idle queue", fixed, "sqs-request", polls)
    units = basis.settings.functions["circuit_breaker"].runs * basis.assumed("breaker-units") / 2
    yield Quantity("record of the circuit breaker, read", fixed, "dynamodb-read", units)
    yield Quantity("record of the circuit breaker, written", fixed, "dynamodb-write", units)
    listed = sum(basis.settings.functions[name].runs for name in ("observation", "maintenance"))
    yield Quantity("contracts, listed", fixed, "s3-put", listed)  # a LIST costs what a PUT does
    for name, function in basis.settings.functions.items():
        if function.every_s:
            yield Quantity(f"schedule of {name}", fixed, "schedule-invocation", function.runs)
            yield from _invoked(name, fixed, function.runs, basis.assumed("seconds-scheduled"), basis)


def _topics(usage: Usage, basis: Basis) -> Iterator[Quantity]:
    """What every topic costs, whether events come or not."""
    topics, scope = usage.topics, Scope.TOPICS
    dispatches, looks = topics * basis.settings.looks, topics * basis.settings.functions["observation"].runs
    metrics = topics * _metrics(basis, When.ALWAYS, of_topics=True)
    yield Quantity("metrics of topics", scope, "metric-month", metrics)
    read = looks * basis.assumed("looks-at-arrival")
    yield Quantity("counters of what was accepted, read", scope, "metric-read", read)
    # A run is started for a topic with something to read; for others the dispatcher looks, and that is all.
    units = dispatches * basis.assumed("dispatch-read-units")
    yield Quantity("leases and checkpoints, looked at", scope, "dynamodb-read", units)
    pages = 4 * dispatches / basis.assumed("tables-a-page")
    yield Quantity("pointers, looked at", scope, "glue-request", pages)
    yield _seconds("dispatcher", scope, dispatches * basis.assumed("seconds-dispatched-topic"), basis)
    yield Quantity("pointers, observed", scope, "glue-request", 4 * looks / basis.assumed("tables-a-page"))
    units = looks * basis.assumed("observation-read-units")
    yield Quantity("what was seen, read", scope, "dynamodb-read", units)
    yield _seconds("observation", scope, looks * basis.assumed("seconds-observed-at-rest"), basis)
    turns = topics * basis.settings.functions["maintenance"].runs
    yield Quantity("pointers, kept up", scope, "glue-request", 4 * turns / basis.assumed("tables-a-page"))
    units = turns * basis.assumed("upkeep-read-units")
    yield Quantity("what was kept up, read", scope, "dynamodb-read", units)
    yield _seconds("maintenance", scope, turns * basis.assumed("seconds-at-rest-upkeep"), basis)
    turns = topics * basis.settings.functions["reconciliation"].runs
    pages = 4 * turns / basis.assumed("tables-a-page")
    yield Quantity("pointers, reconciled", scope, "glue-request", pages)
    units = turns * basis.assumed("reconciliation-read-units")
    yield Quantity("how far it was reconciled, read", scope, "dynamodb-read", units)


def _events(usage: Usage, basis: Basis) -> Iterator[Quantity]:
    """What events cost beside that: nothing where none come."""
    if not usage.busy:
        return
    scope, events, busy = Scope.EVENTS, usage.events, usage.busy
    size = events * usage.event_bytes
    yield from _intake(usage, basis)

    # A commit to RAW for every interval in which something came, or more where the buffer is full before.
    intervals = busy * MONTH_S / max(1, basis.settings.buffer_interval_s)
    commits = max(min(events, intervals), size / (basis.settings.buffer_mib * 2**20))
    # Each is followed by one that finds nothing, unless something new has come by the next look.
    runs = min(busy * basis.settings.looks, 2 * commits)
    rounds = max(min(runs, commits), events / basis.settings.batch_rows)
    yield from _runs(max(runs, rounds), basis)
    yield Quantity("commits to RAW", scope, "s3-put", commits * basis.assumed("commit-puts"))
    yield Quantity(
        "pointer of RAW", scope, "glue-request", commits * basis.assumed("commit-catalog-requests")
    )

    yield from _after_changes(commits, rounds, basis, busy)
    merges = 2 * rounds  # Curated and Semantic
    more_states = rounds * (basis.settings.busy_states - basis.settings.idle_states)
    yield from _transitions("states of a run that merges", scope, more_states, basis)
    seconds = (rounds * basis.assumed("seconds-merge") + events * basis.assumed("seconds-row")) / rounds
    for name in ("curation", "semantic"):
        yield from _invoked(name, scope, rounds, seconds, basis, traced=False)
    yield from _drift(rounds, busy, basis)
    late, fresh = basis.assumed("late-share"), basis.assumed("days-of-new-events")
    a_day = merges * basis.settings.key_buckets
    partitions = min(2 * events, a_day * fresh)
    partitions += min(2 * events * late, a_day * basis.assumed("days-of-corrections"))
    puts = partitions * basis.assumed("partition-puts") + merges * basis.assumed("commit-puts")
    yield Quantity("files of merges", scope, "s3-put", puts, MERGE_PUTS)
    gets = partitions * basis.assumed("partition-gets") + merges * basis.assumed("requests-a-look")
    yield Quantity("reads of merges", scope, "s3-get", gets, MERGE_GETS)
    yield Quantity(
        "pointers of merged tables", scope, "glue-request", merges * basis.assumed("commit-catalog-requests")
    )
    metadata = sum(_metadata_bytes(count / busy, basis) * busy for count in (commits, rounds, rounds))
    yield Quantity("old metadata of tables", scope, "s3-gib-month", metadata / GIB)
    kept = basis.assumed("layers-kept") * basis.assumed("stored-share") * basis.assumed("stored-versions")
    yield Quantity("a month of events, stored for a month", scope, "s3-gib-month", size * kept / GIB)


def _drift(rounds: float, busy: int, basis: Basis) -> Iterator[Quantity]:
    """The drift log: a run of Semantic asks for its topic's entries, the first of a day writes each again."""
    scope, columns = Scope.EVENTS, basis.assumed("drift-columns")
    blocks = ceil(columns * basis.assumed("drift-entry-bytes") / 4096)
    yield Quantity("drift log, read", scope, "dynamodb-read", rounds * blocks / 2)
    days = min(rounds, busy * _DAYS)
    yield Quantity("drift log, written", scope, "dynamodb-write", days * columns)


def _after_changes(commits: float, rounds: float, basis: Basis, busy: int) -> Iterator[Quantity]:
    """What observation, upkeep and reconciliation do about tables that have changed."""
    scope = Scope.EVENTS
    looks, turns = (busy * basis.settings.functions[name].runs for name in ("observation", "maintenance"))
    looked, kept = min(looks, commits + 2 * rounds), min(4 * turns, commits + 3 * rounds)
    yield _seconds("observation", scope, looked * basis.assumed("seconds-observed-topic"), basis)
    yield _seconds("maintenance", scope, kept * basis.assumed("seconds-kept-table"), basis)
    yield Quantity("what was seen, written", scope, "dynamodb-write", looked + kept)
    yield Quantity("tables that are observed or kept up", scope, "glue-request", 3 * looked + kept)
    gets = (3 * looked + kept) * basis.assumed("requests-a-look")
    yield Quantity("metadata of tables that changed", scope, "s3-get", gets)
    told = min(turns, rounds)
    yield Quantity(
        "runs that are written down, read", scope, "s3-get", 3 * told * basis.assumed("requests-a-look")
    )
    yield _seconds("maintenance", scope, told * basis.assumed("seconds-told-topic"), basis)
    yield Quantity("marks of what is written down", scope, "dynamodb-write", told)
    # Topics that changed are written down together: a commit a table and hour, and a file of each.
    commits_told = operation_tables() * min(basis.settings.functions["maintenance"].runs, rounds)
    puts = basis.assumed("commit-puts") + basis.assumed("partition-puts")
    yield Quantity("tables of what runs did", scope, "s3-put", commits_told * puts)
    held = min(busy * basis.settings.functions["reconciliation"].runs, rounds)
    yield _seconds("reconciliation", scope, held * basis.assumed("seconds-reconciled-topic"), basis)
    yield Quantity("how far it is reconciled, written", scope, "dynamodb-write", held)
    # Each is left by one and taken away by another.
    yield Quantity("reports of upkeep and reconciliation", scope, "dynamodb-write", 2 * (kept + held))
    gets = held * (4 * basis.assumed("requests-a-look") + basis.assumed("reconciliation-gets"))
    yield Quantity("columns that are reconciled", scope, "s3-get", gets)
    read = looks * basis.assumed("looks-at-arrival") * basis.assumed("metrics-read-per-busy-topic")
    yield Quantity("counters of deliveries, read", scope, "metric-read", read)


def _runs(runs: float, basis: Basis) -> Iterator[Quantity]:
    """What every run does, whether it finds something or not."""
    scope = Scope.EVENTS
    yield from _transitions(_EVERY_RUN, scope, runs * basis.settings.idle_states, basis)
    yield from _invoked(
        "get_all_checkpoints", scope, runs, basis.assumed("seconds-look-up"), basis, traced=False
    )
    yield Quantity("traces of runs", scope, "trace", runs)
    writes, reads = (basis.assumed(f"run-{kind}-units") for kind in ("write", "read"))
    yield Quantity("lease of a run, written", scope, "dynamodb-write", runs * writes)
    yield Quantity("lease and checkpoints of a run, read", scope, "dynamodb-read", runs * reads)
    yield Quantity("tables that a run opens", scope, "glue-request", 3 * runs)
    gets = runs * (3 * basis.assumed("requests-a-look") + 2)  # the contract and the registry as well
    yield Quantity("metadata that a run reads", scope, "s3-get", gets)


def _intake(usage: Usage, basis: Basis) -> Iterator[Quantity]:
    """From the sender through queue and function to Firehose."""
    scope, events, together = Scope.EVENTS, usage.events, basis.assumed("messages-per-receive")
    alone = usage.messages_per_send or basis.assumed("messages-per-send")
    yield Quantity("messages sent", scope, "sqs-request", _requests(events, alone, usage.event_bytes, basis))
    received = _requests(events, together, usage.event_bytes, basis)
    yield Quantity("messages received", scope, "sqs-request", received)
    yield Quantity("messages deleted", scope, "sqs-request", events / together)
    # Each poller fills a batch of its own, for as long as the window is open.
    fitting = basis.assumed("invocation-bytes") / max(1, usage.event_bytes)
    largest = min(basis.settings.batch_size, max(1, fitting))
    windows = basis.assumed("pollers") * MONTH_S / basis.settings.batching_window_s
    batches = min(events, max(windows, events / largest))
    seconds = basis.assumed("seconds-batch") + events / batches * basis.assumed("seconds-event")
    yield from _invoked("sqs_processor", scope, batches, seconds, basis)
    yield Quantity("Firehose", scope, "firehose-gib", events * usage.event_bytes / GIB)
    own = _metrics(basis, When.EVENTS, of_topics=False) + basis.assumed("mapping-metrics")
    yield Quantity("metrics of events", scope, "metric-month", own)
    of_topics = usage.busy * _metrics(basis, When.EVENTS, of_topics=True)
    yield Quantity("metrics of topics with events", scope, "metric-month", of_topics)


def _requests(events: float, together: float, event_bytes: float, basis: Basis) -> float:
    """Requests that SQS bills for events in groups: one for each 64 KiB begun."""
    return events / together * max(1, ceil(together * event_bytes / basis.assumed("request-bytes")))


def _metrics(basis: Basis, when: When, *, of_topics: bool) -> float:
    """Custom metrics of an environment, or of one topic; one that is sent in few hours counts for these."""
    count = 0.0
    for one in EMITTED:
        if one.when is when and ("topic" in one.per) is of_topics:
            function = basis.settings.functions[one.function]
            hours = min(1.0, function.runs / _HOURS) if function.every_s else 1.0
            count += len(one.names) * one.times * hours
    return count


def _metadata_bytes(commits: float, basis: Basis) -> float:
    """Bytes of the old metadata files of one table with so many commits a month.

    Each commit writes a file that names all snapshots kept; the one before is kept for the bucket's days.
    """
    a_day = commits / _DAYS
    snapshots = max(1.0, a_day * basis.settings.snapshot_retention_days)
    share = basis.assumed("metadata-compression") if basis.settings.metadata_compressed else 1.0
    size = snapshots * basis.assumed("metadata-bytes-snapshot") * share
    return a_day * basis.settings.noncurrent_days * size


def _transitions(item: str, scope: Scope, count: float, basis: Basis) -> Iterator[Quantity]:
    yield Quantity(item, scope, "transition", count, "executions")
    yield from _logged(f"logs of {item}", scope, count * basis.assumed("log-bytes-transition"), basis)


def _invoked(
    name: str, scope: Scope, count: float, seconds: float, basis: Basis, *, traced: bool = True
) -> Iterator[Quantity]:
    """``count`` invocations of ``seconds`` each. Those that a run makes are part of its trace."""
    yield Quantity(f"starts of {name}", scope, "lambda-request", count, f"invocations {name}")
    yield _seconds(name, scope, count * seconds, basis)
    extra = max(0, basis.settings.functions[name].ephemeral_mb - 512) / 1024
    if extra:
        yield Quantity(
            f"disk of {name}", scope, "lambda-storage-gb-second", count * seconds * extra, f"seconds {name}"
        )
    if traced:
        first = basis.assumed("traces-a-second") * MONTH_S
        sampled = min(count, first + count * basis.assumed("traces-share"))
        yield Quantity(f"traces of {name}", scope, "trace", sampled, f"invocations {name}")
    yield from _logged(f"logs of {name}", scope, count * basis.assumed("log-bytes-invocation"), basis)


def _seconds(name: str, scope: Scope, seconds: float, basis: Basis) -> Quantity:
    gb_seconds = seconds * basis.settings.functions[name].memory_mb / 1024
    return Quantity(f"time of {name}", scope, "lambda-gb-second", gb_seconds, f"seconds {name}")


def _logged(item: str, scope: Scope, size: float, basis: Basis) -> Iterator[Quantity]:
    yield Quantity(item, scope, "log-gib-in", size / GIB)
    kept = size * basis.assumed("log-compression") * basis.settings.log_retention_days / _DAYS
    yield Quantity(f"{item}, kept", scope, "log-gib-month", kept / GIB)


def _as_measured(quantities: list[Quantity], measured: Measured, settings: Settings) -> list[Quantity]:
    """The quantities with what was counted in place of what was taken for it, shared out as it was taken."""
    found = {f"invocations {name}": count for name, count in measured.invocations.items()}
    taken: dict[str, float] = defaultdict(float)
    for name, seconds in measured.seconds.items():
        found[f"seconds {name}"] = seconds
    for one in quantities:
        if one.price in {"lambda-request", "lambda-gb-second"}:
            taken[one.counted_by] += one.count
    memory = {f"seconds {name}": function.memory_mb / 1024 for name, function in settings.functions.items()}
    factors = {
        by: found[by] * memory.get(by, 1.0) / count for by, count in taken.items() if by in found and count
    }
    if measured.executions is not None and (idle := sum(q.count for q in quantities if _is_idle_run(q))):
        factors["executions"] = measured.executions * settings.idle_states / idle
    # A run that merges enters more states for each curation; the idle part is of every run.
    merging = factors.get("invocations curation")
    done = []
    for one in quantities:
        if one.counted_by in measured.requests:
            done.append(replace(one, count=measured.requests[one.counted_by], measured=True))
            continue
        factor = factors.get(one.counted_by)
        if one.counted_by == "executions" and not _is_idle_run(one):
            factor = merging
        done.append(one if factor is None else replace(one, count=one.count * factor, measured=True))
    for by, count in found.items():  # what nobody took into account, such as a function that alarms start
        if count and not taken.get(by):
            kind, _, name = by.partition(" ")
            price = "lambda-request" if kind == "invocations" else "lambda-gb-second"
            item = f"{'starts' if kind == 'invocations' else 'time'} of {name}"
            done.append(Quantity(item, Scope.FIXED, price, count * memory.get(by, 1.0), by, measured=True))
    return done


def _is_idle_run(one: Quantity) -> bool:
    return one.counted_by == "executions" and one.item == _EVERY_RUN
