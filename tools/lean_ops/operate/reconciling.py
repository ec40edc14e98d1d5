"""Reconciling the tables of a topic where they are (``common.layers.reconciling``)."""

from collections.abc import Callable
from datetime import UTC, datetime

from common.layers.reconciling import Fault, Hour, Reconciled, reconcile
from common.layers.uncurable import set_aside_since
from lean_ops.environment.target import Target
from lean_ops.operate.rebuild.filling import erased_of

ADVICE = {
    Fault.MISSING: "`lean-ops trace ID` shows how far one came; `lean-ops rebuild` brings all of them back",
    Fault.OUTDATED: "`lean-ops history KEY` shows which version counts; `lean-ops rebuild` puts it in place",
    Fault.DOUBLED: "another writer was at the table: `lean-ops rebuild` leaves one row a key",
    Fault.UNSENT: "another writer was at the table, or RAW lost rows: `lean-ops tables`, and its snapshots",
    Fault.UNDELETED: "`lean-ops rebuild --layer semantic` takes it out",
}


def reconcile_tables(
    target: Target,
    topic: str,
    since: datetime | None,
    until: datetime | None,
    told: Callable[[int, int], None] = lambda _done, _all: None,
) -> Reconciled:
    """Reconcile a topic's events that were received within that time (None: no bound)."""
    catalog = target.catalog()
    sqs, s3 = target.client("sqs"), target.client("s3")
    url = target.queue_url(target.dead_letter_queue)
    return reconcile(
        topic,
        since,
        until,
        settings=target.settings,
        catalog=catalog,
        dynamodb=target.client("dynamodb"),
        contract=catalog.table_exists(target.settings.table("semantic", topic)),
        set_aside=lambda then: set_aside_since(
            then, sqs=sqs, queue_url=url, s3=s3, bucket=target.lake_bucket
        ),
        erased=erased_of(target, topic),
        told=told,
    )


def by_day(hours: dict[datetime, Hour]) -> dict[datetime, Hour]:
    """The hours of each day added up."""
    days: dict[datetime, Hour] = {}
    for begin, hour in sorted(hours.items()):
        day = days.setdefault(datetime(begin.year, begin.month, begin.day, tzinfo=UTC), Hour())
        day.add(hour)
    return days
