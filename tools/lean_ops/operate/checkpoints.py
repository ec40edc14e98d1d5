"""The checkpoints of a topic for operators: where each layer stands, and moving one back.

A checkpoint lives in two places (``common.lake.checkpoints``): in the table's newest merge commit and in
DynamoDB. Moving one back writes the DynamoDB item, marked as rewound, so that it counts although the commit
has read further; the next commit of the table makes both agree again. A checkpoint never moves forward by
hand: what lies between would be read by nobody.

What reading again does: a merge repeats nothing, so rows that are right stay as they are, and rows that are
missing come back. To write right rows anew (under another contract or another flattening), rebuild the table.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import takewhile
from typing import Any

from botocore.exceptions import ClientError
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from common.lake.checkpoints import (
    MERGE_SEQ,
    NOTHING,
    START,
    Entry,
    SourceCheckpoint,
    damage,
    forget_damaged,
    is_noted,
    load,
)
from common.lake.history import from_lineage, last_merge, lineage, said_by, since_last_merge, stands_for
from common.lake.progress import checkpoint_of
from common.lake.specifications import open_table
from common.runtime import outside
from common.runtime.errors import InvalidInput, TransientError
from lean_ops.environment.target import Target


class CheckpointMoved(TransientError):  # noqa: N818 - the checkpoint moved; "error" would say less
    """Somebody changed the checkpoint between reading and writing it."""


class MergedLayer(StrEnum):
    """A layer that is merged into, and so has a checkpoint in its source."""

    CURATED = "curated"
    SEMANTIC = "semantic"

    @property
    def source(self) -> str:
        """The layer that it reads."""
        return "raw" if self is MergedLayer.CURATED else "curated"


@dataclass(frozen=True)
class LayerCheckpoint:
    """Where one layer stands in its source.

    ``counts``: the checkpoint that the next run starts from; ``committed`` and ``recorded`` are what table
    and DynamoDB say. ``snapshots_behind`` and ``rows_behind`` count what the source has committed that is not
    read, or in part only (rows: as added, before de-duplication); None where its snapshot is no longer in the
    source's history, so that the source will be read in full. ``damage``: one sentence about a record that
    cannot be read, or empty.
    """

    topic: str
    layer: MergedLayer
    counts: Entry | None
    committed: Entry | None
    recorded: Entry | None
    source_snapshot: str
    snapshots_behind: int | None
    rows_behind: int | None
    damage: str = ""


def read(target: Target, topic: str, layer: MergedLayer) -> LayerCheckpoint:
    """Where ``layer`` of ``topic`` stands; raises TableMissing."""
    table, source = _tables(target, topic, layer)
    dynamodb = target.client("dynamodb")
    counts = checkpoint_of(table, layer, topic, target.settings, dynamodb)
    current = source.current_snapshot()
    newer = _after(source, counts)
    return LayerCheckpoint(
        topic,
        layer,
        counts,
        from_lineage(lineage(table)),
        load(dynamodb, target.checkpoints_table, topic, layer),
        str(current.snapshot_id) if current else NOTHING,
        None if newer is None else len(newer),
        None if newer is None else sum(_added_rows(snapshot) for snapshot in newer),
        damage(dynamodb, target.checkpoints_table, topic, layer),
    )


def move_back(target: Target, topic: str, layer: MergedLayer, snapshot_id: int | None) -> Entry:
    """Let ``layer`` read its source again from after ``snapshot_id`` (None: from the start).

    To be called while no run of the topic is in progress (``leases.exclusively``): a run that started from
    the old checkpoint would overwrite this one. Raises InvalidInput where the source has no such snapshot, or
    where it was not passed by the checkpoint that counts; CheckpointMoved where somebody else was faster.
    """
    _, source = _tables(target, topic, layer)
    now = read(target, topic, layer)
    checkpoint = None
    if snapshot_id is not None:
        checkpoint = _checkpoint_at(source, layer, snapshot_id)
        refuse_reading_anew(now.counts, f"checkpoint {topic}#{layer}: expected a snapshot that it has passed")
        if now.counts is None or now.counts.position < checkpoint.position:
            raise InvalidInput(
                f"checkpoint {topic}#{layer}: expected a snapshot that it has passed, found {snapshot_id} "
                f"ahead of {now.counts.token if now.counts else NOTHING}; what lies between would never be "
                "read: let the pipeline move it forward (`lean-ops run`)"
            )
    return _rewind(target, now, checkpoint)


def refuse_reading_anew(counts: Entry | None, expected: str) -> None:
    """Raise InvalidInput where Curated reads RAW from the start again, and has not come to the end.

    It does so in portions of the files that are live, in no order of snapshots: of none is it known that it
    was passed. (Semantic reads by merges, in their order, also from the start.)
    """
    read = counts.checkpoint if counts else None
    if read is not None and read.full_scan:
        raise InvalidInput(
            f"{expected}, found that it reads its source from the start again and is at {read.plain_token}, "
            "by which none is passed; let the pipeline read to the end first (`lean-ops run`)"
        )


def follow_table(target: Target, topic: str, layer: MergedLayer) -> None:
    """Let the recorded checkpoints follow a table of ``layer`` that was rolled back; changes nothing twice.

    Its own record, where it speaks of a snapshot that was undone, says what the table says. A layer that has
    read further than the table goes now reads on from where it goes: what is merged again is new to it.
    """
    dynamodb = target.client("dynamodb")
    table = open_table(target.catalog(), target.settings.table(layer, topic))
    history = list(lineage(table))
    seen = load(dynamodb, target.checkpoints_table, topic, layer)
    if seen is not None and seen.target_snapshot_id not in since_last_merge(history):
        committed = from_lineage(history)
        if committed is not None:
            _write(target, topic, layer, committed, seen)
        else:
            dynamodb.delete_item(TableName=target.checkpoints_table, Key=_key(topic, layer))
    reader = MergedLayer.SEMANTIC
    if layer is reader or not target.catalog().table_exists(target.settings.table(reader, topic)):
        return
    found, merged = read(target, topic, reader), last_merge(table)
    counts = found.counts
    read_up_to = counts.checkpoint if counts else None
    if read_up_to is not None and read_up_to.sequence > (merged[1] if merged else 0):
        _rewind(target, found, SourceCheckpoint(merged[0].snapshot_id, merged[1]) if merged else None)


def describe_snapshots(snapshots: Sequence[Snapshot], wanted: int) -> str:
    """For a message: the snapshots that resemble ``wanted`` most, or the oldest and the newest."""
    by_id = {str(s.snapshot_id): s for s in snapshots}
    close = difflib.get_close_matches(str(wanted), by_id, n=3, cutoff=0.6)
    chosen = [by_id[name] for name in close] or [*snapshots[:1], *snapshots[-1:]]
    if not chosen:
        return "it has no snapshot yet"
    distinct = {s.snapshot_id: s for s in chosen}.values()
    listed = ", ".join(f"{s.snapshot_id} ({time_of(s):%Y-%m-%d %H:%M:%S})" for s in distinct)
    return f"nearest are {listed}"


def time_of(snapshot: Snapshot) -> datetime:
    """When a snapshot was committed."""
    return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)


def _tables(target: Target, topic: str, layer: MergedLayer) -> tuple[Table, Table]:
    catalog = target.catalog()
    return (
        open_table(catalog, target.settings.table(layer, topic)),
        open_table(catalog, target.settings.table(layer.source, topic)),
    )


def _checkpoint_at(source: Table, layer: MergedLayer, snapshot_id: int) -> SourceCheckpoint:
    """The checkpoint of a layer that has read its source up to and including ``snapshot_id``."""
    known = sorted(lineage(source), key=lambda s: s.timestamp_ms)
    if layer is MergedLayer.SEMANTIC:
        known = [s for s in known if MERGE_SEQ in said_by(s)]
    for snapshot in known:
        if snapshot.snapshot_id != snapshot_id:
            continue
        if layer is MergedLayer.SEMANTIC:
            return SourceCheckpoint(snapshot_id, int(said_by(snapshot)[MERGE_SEQ]))
        return SourceCheckpoint(snapshot_id, snapshot.sequence_number or 0)
    raise InvalidInput(
        f"table {'.'.join(source.name())}: expected snapshot {snapshot_id} in its history, found none (it "
        f"never was, or has expired); {describe_snapshots(known, snapshot_id)}; `lean-ops checkpoints reset` "
        "reads from the start"
    )


def _after(source: Table, checkpoint: Entry | None) -> list[Snapshot] | None:
    """Snapshots of the source after the checkpoint's, newest first; None where it is not in the history.

    One that an erasure made the source forget has left word there. One of which a part is read counts with
    those after it; where all of the source is read again, none was passed.
    """
    wanted, history = checkpoint.checkpoint if checkpoint else None, list(lineage(source))
    if wanted is None:
        return history
    if is_noted(wanted, source.properties):
        newer = list(takewhile(lambda s: (s.sequence_number or 0) > wanted.sequence, history))
    else:
        own = str(wanted.snapshot_id)
        newer = list(takewhile(lambda s: own not in (str(s.snapshot_id), *stands_for(s)), history))
        if len(newer) == len(history):
            return None
    if wanted.files is None:
        return newer
    return history if wanted.full_scan else history[: len(newer) + 1]


def _rewind(target: Target, found: LayerCheckpoint, checkpoint: SourceCheckpoint | None) -> Entry:
    """Record ``checkpoint`` (None: the start) so that it counts although the table has read further."""
    table = open_table(target.catalog(), target.settings.table(found.layer, found.topic))
    current = table.current_snapshot()
    entry = Entry(
        checkpoint.token if checkpoint else NOTHING,
        checkpoint.position if checkpoint else START,
        str(current.snapshot_id) if current else NOTHING,
        rewound=True,
    )
    _write(target, found.topic, found.layer, entry, found.recorded)
    return entry


def _added_rows(snapshot: Snapshot) -> int:
    return int(said_by(snapshot).get("added-records", 0))


def _write(target: Target, topic: str, layer: MergedLayer, entry: Entry, seen: Entry | None) -> None:
    """Write the item, if it still is as it was seen."""
    forget_damaged(target.client("dynamodb"), target.checkpoints_table, topic, layer)
    values: dict[str, dict[str, Any]] = {
        ":token": {"S": entry.token},
        ":position": {"S": entry.position},
        ":target": {"S": entry.target_snapshot_id},
        ":rewound": {"BOOL": entry.rewound},
        ":who": {"S": target.caller},
        ":now": {"S": outside.now().isoformat(timespec="milliseconds")},
    }
    condition = "attribute_not_exists(source_token)"
    if seen is not None:
        condition = "source_token = :seen_token AND source_position = :seen_position"
        values |= {":seen_token": {"S": seen.token}, ":seen_position": {"S": seen.position}}
    try:
        target.client("dynamodb").update_item(
            TableName=target.checkpoints_table,
            Key=_key(topic, layer),
            UpdateExpression="SET source_token = :token, source_position = :position, target_snapshot_id = "
            ":target, rewound = :rewound, run_id = :who, updated_at = :now",
            ConditionExpression=condition,
            ExpressionAttributeValues=values,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        if load(target.client("dynamodb"), target.checkpoints_table, topic, layer) == entry:
            return  # by this very request, which the SDK made again when it had no answer
        raise CheckpointMoved(
            f"checkpoint {topic}#{layer}: expected it as it was a moment ago, found it changed by a run; "
            "look at it (`lean-ops checkpoints`) and try again"
        ) from error


def _key(topic: str, layer: MergedLayer) -> dict[str, dict[str, str]]:
    return {"checkpoint_id": {"S": f"{topic}#{layer}"}}
