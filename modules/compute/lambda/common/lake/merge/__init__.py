"""The merge engine: an Arrow stream into an Iceberg table, in one atomic commit.

    outcome = merge(catalog, "lake.curated_events", rows, rule=EVENT_RULE, checkpoint=..., run_id=...,
                    evolve=True, memory_budget_mb=2048)

The way of a merge (docs/adr/0002-merge-on-read-engine.md):

    target      the table, checked                       source     the stream, checked and staged
    staging     its rows, in memory or on disk
    livefiles   what the planned snapshot is made of     locate     where the stored rows of the keys are
    decide      what to write and delete                 partitions which partition a row belongs to
    datafiles   writing data files                       positions  reading and writing position deletes
    planning    all of these as one value a shard        writing    its files, as a value to put together
    snapshot    the commit of what was written           engine     all of it until one commit is in
    outcome     what was done
"""

from common.lake.merge.bounds import correct_pyiceberg
from common.lake.merge.committing import Planned, commit_until_done
from common.lake.merge.decide import History
from common.lake.merge.engine import merge
from common.lake.merge.livefiles import live_files
from common.lake.merge.outcome import MergeOutcome
from common.lake.merge.reading import TEXT_BYTES
from common.lake.merge.snapshot import Change, SnapshotCommit
from common.lake.merge.source import KEY_LENGTH_LIMIT
from common.lake.merge.streams import concurrency, remove_files

__all__ = [
    "KEY_LENGTH_LIMIT",
    "TEXT_BYTES",
    "Change",
    "History",
    "MergeOutcome",
    "Planned",
    "SnapshotCommit",
    "commit_until_done",
    "concurrency",
    "correct_pyiceberg",
    "live_files",
    "merge",
    "remove_files",
]
