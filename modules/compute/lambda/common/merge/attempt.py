"""One attempt: plan, locate, decide and write a merge on one snapshot of the table, without the commit."""

import uuid
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile, DataFileContent
from pyiceberg.table.snapshots import Operation
from pyiceberg.typedef import Record

from common.checkpoints import MERGE_SEQ, RUN_ID, SourceCheckpoint
from common.deduplication import MergeRule, choose_winners
from common.merge.datafiles import DataFileWriter
from common.merge.decide import Decision, History, decide
from common.merge.livefiles import LiveFile, LiveFiles, live_files
from common.merge.locate import StoredRows, locate
from common.merge.outcome import MergeOutcome
from common.merge.partitions import PartitionRows, partition_rows, source_columns
from common.merge.positions import Positions, write_deletes
from common.merge.snapshot import Change
from common.merge.source import conform, unknown_columns
from common.merge.staging import StagedSource
from common.merge.target import Target


@dataclass(frozen=True)
class Request:
    """What every attempt of one merge has in common."""

    source: StagedSource
    rule: MergeRule
    run_id: str
    evolve: bool
    history: History | None
    checkpoint: SourceCheckpoint | None
    extra_summary: Mapping[str, str]


class Attempt:
    """A merge planned on one snapshot of the target; ``written`` lists the files it made."""

    def __init__(self, target: Target, request: Request, pool: Executor) -> None:
        self._request = request
        self._pool = pool
        self._target = target.with_columns(
            unknown_columns(request.source.columns, target, evolve=request.evolve)
        )
        self._live = live_files(target.table, pool)
        self._added: list[DataFile] = []
        self._delete: dict[str, list[Positions]] = defaultdict(list)
        self._merge_seq = target.previous_merge_seq + 1
        self.written: list[str] = []
        self.outcome = MergeOutcome(
            committed=False,
            snapshot_id=target.snapshot_id,
            merge_seq=target.previous_merge_seq,
            rows_read=request.source.rows,
        )

    @property
    def live(self) -> LiveFiles:
        """The files of the snapshot this attempt is planned on."""
        return self._live

    def run(self) -> Change | None:
        """Write the files of the merge; gives the change to commit, or None where nothing changes."""
        for shard in self._request.source.shards():
            self._merge_shard(shard)
        self._write_deletes()
        if not self._added:
            return None
        deletes = [f for f in self._added if f.content == DataFileContent.POSITION_DELETES]
        self.outcome = replace(
            self.outcome,
            committed=True,
            merge_seq=self._merge_seq,
            new_columns=self._target.added,
            data_files=len(self._added) - len(deletes),
            delete_files=len(deletes),
            bytes_written=sum(f.file_size_in_bytes for f in self._added),
        )
        carried = {MERGE_SEQ: str(self._merge_seq)}
        if self._request.checkpoint is not None:
            carried |= self._request.checkpoint.summary()
        return Change(
            operation=Operation.OVERWRITE if deletes else Operation.APPEND,
            added=self._added,
            schema=self._target.schema if self._target.added else None,
            properties=carried,
            summary={
                **self._request.extra_summary,
                **carried,
                RUN_ID: self._request.run_id,
                **self._counts(),
            },
        )

    def _merge_shard(self, shard: pa.Table) -> None:
        rule = self._request.rule
        winners = choose_winners(shard.select(list(rule.columns)), rule)
        keys = shard[rule.key].take(winners.rows).combine_chunks().cast(pa.string())
        stored = locate(self._target, rule, self._live.files, keys, self._pool)
        decision = decide(shard, winners, stored, rule, self._request.history)
        self._write_rows(shard, decision.write)
        if decision.recovered is not None:
            recovered = decision.recovered
            new = unknown_columns(recovered.schema, self._target, evolve=self._request.evolve)
            self._target = self._target.with_columns(
                (*self._target.added, *(c for c in new if c not in self._target.added))
            )
            self._write_rows(recovered, np.arange(recovered.num_rows, dtype=np.int64))
        self._collect_deletes(stored, decision)
        self.outcome = replace(
            self.outcome,
            duplicate_messages=self.outcome.duplicate_messages + winners.duplicate_messages,
            superseded=self.outcome.superseded + winners.superseded,
            inserted=self.outcome.inserted + decision.inserted,
            updated=self.outcome.updated + decision.updated,
            unchanged=self.outcome.unchanged + decision.unchanged,
        )

    def _write_rows(self, shard: pa.Table, rows: np.ndarray) -> None:
        """Write the given rows of ``shard``: one file a partition, sorted by key."""
        names = [
            c for c in (self._request.rule.key, *source_columns(self._target)) if c in shard.schema.names
        ]
        layout = conform(shard.select(list(dict.fromkeys(names))).take(rows), self._target, self._merge_seq)
        writer = DataFileWriter(self._target)
        keys = layout[self._request.rule.key]

        def write(part: PartitionRows) -> DataFile:
            order = pc.sort_indices(keys.take(part.rows)).to_numpy()
            chosen = shard.take(rows[part.rows[order]])
            path = self._data_path(part.directory, "parquet")
            return writer.write(path, part.partition, [conform(chosen, self._target, self._merge_seq)])

        self._added += self._pool.map(write, partition_rows(self._target, layout))

    def _collect_deletes(self, stored: StoredRows, decision: Decision) -> None:
        for number in np.unique(stored.file_of[decision.delete]):
            rows = decision.delete[stored.file_of[decision.delete] == number]
            self._delete[stored.files[number].path].append(stored.positions[rows])

    def _write_deletes(self) -> None:
        """One position-delete file a partition."""
        partitions: dict[Record, dict[str, Positions]] = defaultdict(dict)
        files: dict[str, LiveFile] = {f.path: f for f in self._live.files}
        for path, parts in self._delete.items():
            partitions[files[path].file.partition][path] = np.unique(np.concatenate(parts))
        spec, schema = self._target.table.spec(), self._target.schema

        def write(item: tuple[Record, dict[str, Positions]]) -> DataFile:
            directory = spec.partition_to_path(item[0], schema) if spec.fields else ""
            return write_deletes(self._target, self._data_path(directory, "deletes.parquet"), *item)

        self._added += self._pool.map(write, partitions.items())

    def _data_path(self, directory: str, ending: str) -> str:
        name = f"{uuid.uuid4()}.{ending}"
        path = self._target.table.location_provider().new_data_location(
            f"{directory}/{name}" if directory else name
        )
        self.written.append(path)
        return path

    def _counts(self) -> dict[str, str]:
        """The row counts, for the snapshot summary."""
        outcome = self.outcome
        return {
            "lean-ops.rows-read": str(outcome.rows_read),
            "lean-ops.duplicate-messages": str(outcome.duplicate_messages),
            "lean-ops.superseded": str(outcome.superseded),
            "lean-ops.inserted": str(outcome.inserted),
            "lean-ops.updated": str(outcome.updated),
            "lean-ops.unchanged": str(outcome.unchanged),
        }
