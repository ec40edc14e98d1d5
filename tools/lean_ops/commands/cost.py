"""``cost``: what a month costs, what dominates it, and what each setting would change."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from common.runtime import outside
from common.runtime.errors import InvalidInput
from lean_ops.commands.options import Environment, JsonOption, RegionOption, a_number, resolve
from lean_ops.console.printing import say, show_json, show_table
from lean_ops.environment.repository import known_topics, spark_entry
from lean_ops.operate.cost import (
    GOAL_EVENT_BYTES,
    GOAL_EVENTS_PER_DAY,
    LOOKED_BACK,
    Line,
    Measured,
    PriceTable,
    Report,
    Settings,
    Usage,
    Workers,
    clearing,
    faster_from,
    load_prices,
    measure,
    region_of,
    report,
    settings_of,
)

_SHOWN = 12
_WHOLE = 100
# Above every account that there is; where sums still are exact to the cent.
_MOST_EVENTS = 1e12
# The largest message of SQS.
_LARGEST = 1_048_576


def cost(
    events_per_day: Annotated[
        float | None,
        typer.Option(min=0, max=_MOST_EVENTS, callback=a_number, help="Events a day; default: ten million."),
    ] = None,
    event_bytes: Annotated[
        float | None,
        typer.Option(min=1, max=_LARGEST, callback=a_number, help="Bytes of an event; default: 1,024."),
    ] = None,
    topics: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, help="Topics, idle ones included; default: this repository's."),
    ] = None,
    idle_topics: Annotated[
        int | None, typer.Option(min=0, max=100_000, help="Topics of these without events; default: none.")
    ] = None,
    backlog: Annotated[
        float | None,
        typer.Option(
            min=1, max=_MOST_EVENTS, callback=a_number, help="Say instead what clearing so many rows takes."
        ),
    ] = None,
    env: Annotated[
        Environment | None,
        typer.Option("--env", help="An environment on AWS: its settings, and what CloudWatch counted there."),
    ] = None,
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Say what a month costs at list prices. Without --env it needs neither a stack nor an account."""
    table, measured = load_prices(), None
    if backlog is not None:
        _check_alone(events_per_day, event_bytes, topics, idle_topics, env)
        if region is not None:
            table.check_region(region)
        _clear(backlog, table, json=json)
        return
    if env is None:
        if region is not None:
            table.check_region(region)
        settings, usage = settings_of(), _usage(events_per_day, event_bytes, topics, idle_topics)
    else:
        _check_counted(events_per_day, event_bytes, topics, idle_topics)
        settings, usage, measured = _counted(env, region, table)
    found = report(usage, settings, table, measured)
    if json:
        show_json(_document(found, usage, settings, table, counted=measured is not None))
    else:
        _show(found, usage, table, counted=measured is not None)


def _usage(
    events_per_day: float | None, event_bytes: float | None, topics: int | None, idle_topics: int | None
) -> Usage:
    return Usage(
        GOAL_EVENTS_PER_DAY if events_per_day is None else events_per_day,
        event_bytes or GOAL_EVENT_BYTES,
        topics or len(known_topics()),
        idle_topics or 0,
    )


def _check_alone(*given: object) -> None:
    if any(value is not None for value in given):
        raise InvalidInput(
            "--backlog: expected no environment, events, bytes or topics beside it, found some; rows of a "
            "backlog cost the same in each, leave the others out"
        )


def _clear(rows: float, table: PriceTable, *, json: bool) -> None:
    """Both engines beside each other."""
    settings, spark = settings_of(), spark_entry()
    ways, faster = clearing(rows, settings, spark, table), faster_from(settings, spark, table)
    if json:
        show_json({"rows": rows, "ways": [asdict(way) for way in ways], "spark_is_faster_from_rows": faster})
        return
    show_table(
        f"Clearing {rows:,.0f} rows into Curated and Semantic, in {table.region}",
        ["engine", "seconds", "USD", "commits"],
        [[way.engine, round(way.seconds), way.usd, way.commits] for way in ways],
    )
    workers, quota = Workers.of(spark.settings), table.quota("spark-vcpus")
    say(f"Spark is done sooner from about {faster:,.0f} rows on, with {workers.vcpus} vcpus for its tasks.")
    if workers.paid_vcpus > quota.value:
        needed = f"{workers.paid_vcpus} vcpus are needed"
        say(f"Quota: {needed}, an account has {quota.value} ({quota.source}).", style="yellow")
    say("Worked out of what was measured on one machine (docs/scale.md), not of runs on AWS; list prices.")


def _check_counted(*given: float | None) -> None:
    if any(value is not None for value in given):
        raise InvalidInput(
            "--env: expected no events, bytes or topics beside it, found some; CloudWatch counts those of an "
            "environment, leave --env out to choose them"
        )


def _counted(env: Environment, region: str | None, table: PriceTable) -> tuple[Settings, Usage, Measured]:
    """Settings of an environment, and what it did in the last week."""
    if env is Environment.LOCAL:
        raise InvalidInput("--env: expected dev, staging or prod, found local; the local stack costs nothing")
    region = region or region_of(env.value)
    table.check_region(region)
    settings = settings_of(env.value)
    target = resolve(env, "", region)
    with target.reached():
        usage, measured = measure(target, settings, outside.now())
    return settings, usage, measured


def _show(found: Report, usage: Usage, table: PriceTable, *, counted: bool) -> None:
    days = f"; counted over the last {LOOKED_BACK.days} days" if counted else ""
    show_table(
        f"A month in {table.region}: {usage.events_per_day:,.0f} events of {usage.event_bytes:,.0f} bytes "
        f"a day, {usage.topics:,} topics, {usage.idle_topics:,} of them idle{days}",
        ["figure", "USD", "goal", "met", "what dominates"],
        [
            [f.figure, f.usd, f.goal, f.met, ", ".join(f"{item} {usd:,.2f}" for item, usd in f.dominated_by)]
            for f in found.figures
        ],
    )
    lines = found.bill.dominant()
    show_table(
        "The dearest lines",
        ["line", "of", "count", "unit", "USD a unit", "USD", "measured"],
        [
            [
                line.item, line.scope.value, _readable(line.count), line.unit,
                f"{line.usd_per_unit:.10f}".rstrip("0"), line.usd, line.measured,
            ]
            for line in lines[:_SHOWN]
        ],
    )  # fmt: skip
    show_table(
        "What a setting would change, all else as it is",
        ["setting", "now", "then", "USD a month"],
        [[change.setting, change.now, change.then, change.usd] for change in found.changes],
    )
    for demand in found.demands:
        if demand.needed > demand.value:
            needed = f"{demand.needed:,} {demand.quota} are needed"
            say(f"Quota: {needed}, an account has {demand.value:,} ({demand.source}).", style="yellow")
    say(
        f"List prices of {_dates(lines)}, free allowances not taken off, sums rounded; where no price of "
        f"{table.region} was found, that of another region. All {len(lines)} lines with price, source and "
        "date, and what was assumed and why: --json."
    )


def _readable(count: float) -> float:
    """A count with as much behind the point as anybody reads."""
    return round(count) if count >= _WHOLE else count


def _dates(lines: Sequence[Line]) -> str:
    dates = sorted(line.date for line in lines)
    return f"{dates[0]} to {dates[-1]}"


def _document(
    found: Report, usage: Usage, settings: Settings, table: PriceTable, *, counted: bool
) -> dict[str, Any]:
    return {
        "region": table.region,
        "currency": "USD",
        "usage": asdict(usage),
        "counted_days": LOOKED_BACK.days if counted else None,
        "settings": asdict(settings),
        "usd": found.bill.usd,
        "figures": [{**asdict(figure), "met": figure.met} for figure in found.figures],
        "lines": [asdict(line) for line in found.bill.dominant()],
        "changes": [asdict(change) for change in found.changes],
        "quotas": [asdict(demand) for demand in found.demands],
        "assumptions": {
            name: {"value": one.value, "unit": one.unit, "why": one.why}
            for name, one in table.assumptions.items()
        },
    }
