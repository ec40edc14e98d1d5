"""Athena's views of tables whose columns an operation may have taken away, or given another type."""

from common.lake import views
from common.lake.specifications import open_table
from lean_ops.environment.target import Target, TargetRefused, TargetUnreachable
from lean_ops.operate.checkpoints import MergedLayer


def follow_table(target: Target, topic: str, layer: MergedLayer) -> list[str]:
    """Write the view of a merged table again for the columns that it has now, where the view is there.

    For the end of an operation, when the topic is free again: what fails here, upkeep does within the hour,
    and nobody need wait for it. The operation itself is done then, and so that is not an error: gives the
    sentence that says what is left to do, or none.
    """
    try:
        with target.reached():
            views.until_true(lambda: _follow(target, topic, layer))
    except (TargetRefused, TargetUnreachable) as error:
        view = f"{target.database}.{layer}_{topic}{views.CURRENT}"
        sentence = (
            f"view {view}: expected to write it for the columns that {layer} has now, found: {error}. What "
            "was asked for is done; upkeep writes the view within the hour (`lean-ops maintain` does now), "
            "and Athena may refuse it until then"
        )
        return [sentence]
    return []


def _follow(target: Target, topic: str, layer: MergedLayer) -> bool:
    table = open_table(target.catalog(), target.settings.table(layer, topic))
    return views.follow(target.client("glue"), target.database, layer, topic, table.schema())
