"""The demonstration: simulated devices and a real weather series through the whole pipeline, reconciled.

Everything happens on the local stack, with the functions and the state machine that go to production. The
simulated events are sent in two halves with a run after each, so that the second half corrects, repeats and
extends what the tables already hold.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from common.runtime.errors import TransientError
from lean_ops.accounts import observation
from lean_ops.accounts.ledger import Ledger, LedgerRun
from lean_ops.accounts.messages import Message
from lean_ops.accounts.reconciliation import Reconciliation, Sent
from lean_ops.environment import lake
from lean_ops.environment.lake import TableState
from lean_ops.environment.target import Target
from lean_ops.operate import pipeline
from lean_ops.operate.pipeline import Outcome, StateVisit
from lean_ops.simulate import sender
from lean_ops.simulate.history import History, Scenario
from lean_ops.simulate.readings import weather_station_readings

SETTLE_TIMEOUT_S: Final = 120.0
# 500 devices that report every fifteen minutes send 100,000 events in two days.
_DAYS: Final = 2.0

QUERIES: Final = {
    "The newest readings, typed and governed (Semantic, as an analyst sees them in Snowflake)": """
        SELECT device_type, count(*) AS readings, round(avg(reading_value), 2) AS mean_value,
               max(publish_time) AS newest
        FROM semantic_events GROUP BY ALL ORDER BY device_type""",
    "What devices sent, exactly as written (Curated, as a data scientist sees it in Athena)": """
        SELECT device__type, reading__value, counter, period_reference
        FROM curated_events WHERE counter IS NOT NULL ORDER BY length(counter) DESC, counter LIMIT 3""",
    "How much warmer was San Francisco than Seattle in 2010, month by month? (a real series)": """
        SELECT strftime(publish_time, '%m') AS month,
               round(avg(temperature_f) FILTER (station_id LIKE 'seattle%'), 1) AS seattle_f,
               round(avg(temperature_f) FILTER (station_id LIKE 'san%'), 1) AS san_francisco_f,
               round(san_francisco_f - seattle_f, 1) AS difference_f
        FROM semantic_weather GROUP BY ALL ORDER BY month""",
}


@dataclass(frozen=True)
class Run:
    """One run of the state machine for a topic. ``new_columns`` are those that it added to Curated."""

    topic: str
    visits: list[StateVisit]
    outcome: Outcome
    new_columns: list[str]

    def total(self, state: str, name: str) -> int:
        """Sum of a number that the visits of ``state`` returned under ``name``."""
        results = (v.output[_RESULT[state]][name] for v in self.visits if v.name == state and v.output)
        return sum(int(value) for value in results)


_RESULT: Final = {"RunCurationJob": "curation", "RunSemanticJob": "semantic"}


@dataclass
class Report:
    """What the demonstration did and found."""

    seconds: dict[str, float] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    sent: Sent = field(default_factory=Sent)
    dead_letters: dict[str, int] = field(default_factory=dict)
    tables: list[TableState] = field(default_factory=list)
    quarantined: list[tuple[object, ...]] = field(default_factory=list)
    freshness_s: dict[str, float] = field(default_factory=dict)
    answers: dict[str, tuple[list[str], list[tuple[object, ...]]]] = field(default_factory=dict)
    reconciliation: Reconciliation | None = None


@dataclass(frozen=True)
class Watcher:
    """Who is told how far the demonstration is: a step's name; messages done of all; a state left."""

    step: Callable[[str], None]
    moved: Callable[[int, int], None]
    state: Callable[[StateVisit], None]


def perform(target: Target, ledger: Ledger, *, events: int, seed: int, watcher: Watcher) -> Report:
    """Send, run, send the rest, run again, look at the result, reconcile."""
    report = Report()
    scenario = Scenario(events=events, seed=seed, end=datetime.now(UTC), days=_DAYS)
    history = History(scenario).messages()
    halves = [events - events // 2, events // 2]
    for name, size in zip(("first half", "second half"), halves, strict=True):
        watcher.step(f"Sending {size:,} simulated events ({name})")
        with _timed(report, "sending"):
            part = {**scenario.description(), "part": name}
            _send(target, ledger.begin(part), islice(history, size), size, watcher)
        if name == "second half":
            watcher.step("Sending a year of hourly readings of two real weather stations")
            with _timed(report, "sending"):
                readings = list(weather_station_readings())
                _send(target, ledger.begin({"series": "weather"}), readings, len(readings), watcher)
        watcher.step("Waiting for sqs_processor and Firehose to deliver to RAW")
        with _timed(report, "delivering"):
            _settle(target, watcher)
        for topic in ("events",) if name == "first half" else ("events", "weather"):
            watcher.step(f"Running the state machine for {topic}")
            with _timed(report, "running"):
                report.runs.append(_run(target, topic, watcher))
    watcher.step("Reading the tables back with DuckDB and reconciling them with what was sent")
    with _timed(report, "reading"):
        _look(target, ledger, report)
    return report


def _send(target: Target, run: LedgerRun, messages: Iterable[Message], count: int, watcher: Watcher) -> None:
    with closing(target.queue_client()) as client:
        sender.send(
            messages,
            client,
            target.queue_url(target.source_queue),
            run,
            on_progress=lambda progress: watcher.moved(progress.sent, count),
        )


def _settle(target: Target, watcher: Watcher) -> None:
    most = 0

    def on_wait(left: int) -> None:
        nonlocal most
        most = max(most, left)
        watcher.moved(most - left, most)

    left = observation.settle(target, timeout_s=SETTLE_TIMEOUT_S, on_wait=on_wait)
    if left:
        raise TransientError(
            f"source queue of {target.description}: expected it to be empty within {SETTLE_TIMEOUT_S:.0f} s, "
            f"found {left} messages left; see the log of sqs_processor, and run `lean-ops demo` again"
        )


def _run(target: Target, topic: str, watcher: Watcher) -> Run:
    before = _curated_columns(target, topic)
    arn = pipeline.start(target, topic)
    visits = []
    for visit in pipeline.follow(target, arn):
        visits.append(visit)
        watcher.state(visit)
    ended = pipeline.ended(target, arn)
    if not ended.succeeded:
        raise TransientError(
            f"execution {arn}: expected it to succeed, found {ended.status}: {ended.error}: {ended.cause}; "
            "nothing is lost, `lean-ops run` takes it up again"
        )
    return Run(topic, visits, ended, sorted(_curated_columns(target, topic) - before))


def _curated_columns(target: Target, topic: str) -> set[str]:
    table = target.catalog().load_table(target.settings.table("curated", topic))
    return set(table.schema().column_names)


def _look(target: Target, ledger: Ledger, report: Report) -> None:
    report.sent = ledger.sent()
    observed = observation.observe(target)
    report.dead_letters = dict(observed.dead_letters)
    report.reconciliation = ledger.reconcile(observed)
    tables = lake.tables(target)
    report.tables = [lake.state(table) for table in tables]
    with lake.connect(target) as connection:
        _, report.quarantined = lake.run(connection, _QUARANTINED)
        for title, sql in QUERIES.items():
            report.answers[title] = lake.run(connection, sql)
        for table in tables:
            name = table.name()[-1]
            layer, topic = name.split("_", 1)
            snapshot = table.current_snapshot()
            if topic != "events" or layer == "quarantine" or snapshot is None:
                continue
            newest = f"SELECT epoch_us(max(ingestion_ts)) FROM {name}"  # noqa: S608 - a table of the catalog
            ((ingested_us,),) = lake.run(connection, newest)[1]
            report.freshness_s[layer] = snapshot.timestamp_ms / 1e3 - int(str(ingested_us)) / 1e6


@contextmanager
def _timed(report: Report, phase: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    report.seconds[phase] = report.seconds.get(phase, 0.0) + time.perf_counter() - started


_QUARANTINED: Final = """
    SELECT reason->>'column' AS "column", reason->>'rule' AS rule, count(*) AS rows
    FROM (SELECT unnest(from_json(reasons, '["JSON"]')) AS reason FROM quarantine_events)
    GROUP BY ALL ORDER BY ALL"""
