"""Athena's views of tables whose columns an operation may have taken away, or given another type."""

from common.lake import views
from common.lake.specifications import open_table
from lean_ops.environment.target import Target
from lean_ops.operate.checkpoints import MergedLayer


def follow_table(target: Target, topic: str, layer: MergedLayer) -> None:
    """Write the view of a merged table again for the columns that it has now, where the view is there.

    For the end of an operation, when the topic is free again: what fails here, upkeep does within the hour,
    and nobody need wait for it.
    """
    table = open_table(target.catalog(), target.settings.table(layer, topic))
    views.follow(target.client("glue"), target.database, layer, topic, table.schema())
