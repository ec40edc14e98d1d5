"""Waiting for what was sent: from the queue through Firehose into RAW, message by message.

A run of the pipeline reads what is in RAW when it starts. What is still in the queue or in Firehose's buffer
is read by the next one: run too early, it finds nothing, and nothing is lost.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table

from common.lake.specifications import open_table
from common.runtime import outside
from lean_ops.accounts import observation
from lean_ops.accounts.ledger import Ledger, LedgerRun
from lean_ops.environment import lake
from lean_ops.environment.target import Target


@dataclass(frozen=True)
class Arrival:
    """Of ``sent`` different good messages, ``missing`` were not in RAW at the last look.

    ``in_queue``: messages, of anybody, that the source queue still had then.
    """

    sent: int
    missing: int
    in_queue: int

    def sentences(self) -> list[str]:
        """What a person has to know, and do next."""
        if not self.missing:
            return [f"All {self.sent:,} different good messages are in RAW. Next: `lean-ops run`."]
        where = f"the queue has {self.in_queue:,} messages" if self.in_queue else "the queue is empty"
        return [
            f"{self.missing:,} of {self.sent:,} different messages are not in RAW, nothing moves, {where}.",
            "`lean-ops doctor` says what holds them; `lean-ops dlq show` what was refused. Nothing is lost.",
        ]


def wait_for_arrival(
    target: Target,
    ledger: Ledger,
    run: LedgerRun,
    *,
    on_wait: Callable[[Arrival], None] = lambda _arrival: None,
    clock: Callable[[], float] = outside.monotonic,
    sleep: Callable[[float], None] = outside.sleep,
) -> Arrival:
    """Wait until every good message that ``run`` has sent is in RAW; gives up once nothing moves any more.

    ``on_wait`` is told after every look. The local stand-in is asked to deliver at once; on AWS its buffering
    interval passes by itself. Raises LocalStackError where the stand-in cannot deliver.
    """
    return wait_for_ids(target, ledger.sent_ids(run), on_wait=on_wait, clock=clock, sleep=sleep)


def wait_for_ids(
    target: Target,
    ids: Mapping[str, set[str]],
    *,
    on_wait: Callable[[Arrival], None] = lambda _arrival: None,
    clock: Callable[[], float] = outside.monotonic,
    sleep: Callable[[float], None] = outside.sleep,
) -> Arrival:
    """The same for messages whose ids are known, by topic."""
    waiting = dict(ids)
    sent = sum(map(len, waiting.values()))
    seen, moved_at = (sent, -1), clock()
    while True:
        in_queue = observation.in_flight(target)
        if not in_queue:
            target.deliver_now()
        waiting = {topic: ids - in_raw(target, topic, ids) for topic, ids in waiting.items()}
        arrival = Arrival(sent, sum(map(len, waiting.values())), in_queue)
        on_wait(arrival)
        if (arrival.missing, in_queue) != seen:
            seen, moved_at = (arrival.missing, in_queue), clock()
        if not arrival.missing or clock() - moved_at > target.delivery_patience_s:
            return arrival
        sleep(target.delivery_look_s)


def in_raw(target: Target, topic: str, ids: set[str]) -> set[str]:
    """Those of ``ids`` that RAW of ``topic`` has; the id column alone is read. Raises TableUnreadable."""
    if not ids:
        return set()
    identifier = target.settings.table("raw", topic)
    return lake.read(identifier, "its rows", lambda: _found(open_table(target.catalog(), identifier), ids))


def _found(table: Table, ids: set[str]) -> set[str]:
    wanted: pa.Array[pa.StringScalar] = pa.array(sorted(ids), pa.string())
    found: set[str] = set()
    for batch in table.scan(selected_fields=("message_id",)).to_arrow_batch_reader():
        column = batch["message_id"].cast(pa.string())
        found.update(column.filter(pc.is_in(column, value_set=wanted)).to_pylist())  # type: ignore[arg-type]  # filled texts
    return found
