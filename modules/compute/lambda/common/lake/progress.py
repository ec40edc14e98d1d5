"""How far a layer has read its source: what its table says and what DynamoDB recorded, reconciled."""

from typing import TYPE_CHECKING

from pyiceberg.table import Table

from common.lake.checkpoints import Entry, load, reconcile
from common.lake.history import committed, lineage, since_last_merge
from common.runtime.settings import LakeSettings

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient


def checkpoint_of(
    table: Table, layer: str, topic: str, settings: LakeSettings, dynamodb: "DynamoDBClient"
) -> Entry | None:
    """The checkpoint that counts for ``table``, the table of ``layer``; None before its first run."""
    recorded = load(dynamodb, settings.checkpoints_table, topic, layer)
    return reconcile(committed(table), recorded, since_last_merge(lineage(table)))
