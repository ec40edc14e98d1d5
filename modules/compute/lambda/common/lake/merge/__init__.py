"""The merge engine: an Arrow stream into an Iceberg table, in one atomic commit.

    with StagedSource(EVENT_RULE, memory_budget_mb=2048) as rows:
        rows.write_all(batches)
        outcome = merge(catalog, "lake.curated_events", rows, checkpoint=..., run_id=..., evolve=True)

The way of a merge (docs/adr/0002-merge-on-read-engine.md):

    staging     the rows, in memory or on disk           target     the table, checked
    source      the rows' columns, fitted to the table's
    livefiles   what the planned snapshot is made of     locate     where the stored rows of the keys are
    decide      what to write and delete                 partitions which partition a row belongs to
    datafiles   writing data files                       positions  reading and writing position deletes
    layout      in which order files have their columns
    planning    all of these as one value a shard        writing    its files, as a value to put together
    elsewhere   shards that other processes write
    snapshot    the commit of what was written           engine     all of it until one commit is in
    outcome     what was done
"""

from common.lake.merge.bounds import correct_pyiceberg
from common.lake.merge.committing import Planned, commit_until_done
from common.lake.merge.decide import History
from common.lake.merge.elsewhere import RemoteSource, SentTable, ShardDone, ShardWork
from common.lake.merge.engine import Beside, merge
from common.lake.merge.livefiles import LiveFiles, live_files
from common.lake.merge.outcome import MergeOutcome
from common.lake.merge.reading import TEXT_BYTES, rows_at_once
from common.lake.merge.snapshot import Change, SnapshotCommit
from common.lake.merge.staging import KEY_LENGTH_LIMIT, StagedSource, by_shard, with_columns_of, wrong_key
from common.lake.merge.streams import MemoryGate, concurrency, remove_files

__all__ = [
    "KEY_LENGTH_LIMIT",
    "TEXT_BYTES",
    "Beside",
    "Change",
    "History",
    "LiveFiles",
    "MemoryGate",
    "MergeOutcome",
    "Planned",
    "RemoteSource",
    "SentTable",
    "ShardDone",
    "ShardWork",
    "SnapshotCommit",
    "StagedSource",
    "by_shard",
    "commit_until_done",
    "concurrency",
    "correct_pyiceberg",
    "live_files",
    "merge",
    "remove_files",
    "rows_at_once",
    "with_columns_of",
    "wrong_key",
]
