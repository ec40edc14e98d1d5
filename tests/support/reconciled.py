"""Holding all layers of a topic against RAW, as ``lean-ops reconcile`` does."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

from common.layers.erased import NOTHING_ERASED
from common.layers.reconciling import Reconciled, reconcile

from .topic import TopicLake


def letters_of(lake: TopicLake) -> Iterable[str]:
    """Message ids of the rows that runs set aside."""
    return [str(aside.row["message_id"][0].as_py()) for aside in lake.letters]


def reconciled(lake: TopicLake, **options: Any) -> Reconciled:
    """What is found; ``options`` of ``reconcile`` in place of the usual ones."""
    since: datetime | None = options.pop("since", None)
    until: datetime | None = options.pop("until", None)
    options = {
        "contract": True,
        "set_aside": lambda _since: letters_of(lake),
        "erased": getattr(lake, "erased", NOTHING_ERASED),
    } | options
    return reconcile(
        lake.topic,
        since,
        until,
        settings=lake.settings,
        catalog=lake.catalog,
        dynamodb=cast("Any", lake),  # which answers for it
        **options,
    )
