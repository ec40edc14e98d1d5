"""How far a layer has read its source: what its table says and what DynamoDB recorded, reconciled.

And how far every state of it that an operator can go back to had.
"""

from typing import TYPE_CHECKING

from pyiceberg.table import Table

from common.lake.checkpoints import Entry, SourceCheckpoint, load, reconcile
from common.lake.history import committed, from_lineage, lineage, since_last_merge
from common.runtime.settings import LakeSettings

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient


def checkpoint_of(
    table: Table, layer: str, topic: str, settings: LakeSettings, dynamodb: "DynamoDBClient"
) -> Entry | None:
    """The checkpoint that counts for ``table``, the table of ``layer``; None before its first run."""
    return entries_of(table, layer, topic, settings, dynamodb)[0]


def entries_of(
    table: Table, layer: str, topic: str, settings: LakeSettings, dynamodb: "DynamoDBClient"
) -> tuple[Entry | None, Entry | None]:
    """The checkpoint that counts for ``table``, and the one that is recorded; None where there is none."""
    recorded = load(dynamodb, settings.checkpoints_table, topic, layer)
    return reconcile(committed(table), recorded, since_last_merge(lineage(table))), recorded


def read_by_every_state(table: Table, entry: Entry | None, *, of_versions: bool = False) -> int:
    """Sequence number up to which every state of ``table`` that it can be put back to has read its source.

    ``entry``: the checkpoint that counts for it as it is. Earlier states are its snapshots that are kept: a
    rollback to one reads on from there. 0 where one has read nothing, or is in the middle of reading all.
    ``of_versions``: how far RAW was searched for older versions, instead.
    """
    ancestors = list(lineage(table))
    current = set(since_last_merge(ancestors))
    earlier = [n for n, snapshot in enumerate(ancestors) if str(snapshot.snapshot_id) not in current]
    entries = [entry, *(from_lineage(ancestors[n:]) for n in earlier)]
    return min(_whole(one.checkpoint if one else None, of_versions=of_versions) for one in entries)


def _whole(checkpoint: SourceCheckpoint | None, *, of_versions: bool) -> int:
    """Sequence number of the last snapshot that was read to its end."""
    read = checkpoint.versions if checkpoint is not None and of_versions else checkpoint
    if read is None or read.full_scan:
        return 0
    return read.sequence if read.files is None else read.sequence - 1
