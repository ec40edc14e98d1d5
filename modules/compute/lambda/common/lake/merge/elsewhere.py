"""Shards that other processes plan and write: what is sent to them, and what they answer.

On one snapshot a shard has one plan, whoever makes it (``common.lake.merge.planning``). So a distributed
engine may hold the rows of a merge, and does with each shard what this process would: ``ShardWork``, sent
with the table as it was loaded. The answers name the files that count, and whoever merges makes the one
commit.

    RemoteSource    rows that lie elsewhere, cut into shards
    ShardWork       what is sent, and done with the rows of one shard
    ShardDone       what comes back

All files of an attempt are below one folder of their own. What lies there and no answer names was left by a
task that failed or died: it is removed when the tasks have ended, since the one commit that could have named
it is made here, later, and does not.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Protocol, Self

import pyarrow as pa
import pyarrow.fs
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata

from common.lake.avro import read_whole_files_only
from common.lake.files import traffic_of
from common.lake.merge.livefiles import LiveFile, LiveFiles
from common.lake.merge.planning import Basis, Part
from common.lake.merge.positions import ExistingDeletes
from common.lake.merge.staging import refuse_wrong_key
from common.lake.merge.streams import concurrency, remove_files
from common.lake.merge.target import Target
from common.lake.merge.writing import Written, write_shard
from common.lake.rule import MergeRule
from common.runtime import outside
from common.runtime.arrowtypes import Array
from common.runtime.errors import CommitConflict, InternalFault

FOLDER: Final = "merges"
"""Folder below a table's data location for files of merges whose shards were written elsewhere."""

_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class SentTable:
    """A table as it was loaded, for processes without a catalog: they read it and give it files."""

    name: tuple[str, ...]
    metadata: TableMetadata
    location: str
    io: FileIO

    @classmethod
    def of(cls, table: Table) -> Self:
        """A table that is sent."""
        return cls(table.name(), table.metadata, table.metadata_location, table.io)

    def table(self) -> Table:
        """The table, as it was."""
        read_whole_files_only()
        return Table(self.name, self.metadata, self.location, self.io, NoopCatalog("sent"))


class SentHistory(Protocol):
    """A history (``common.lake.merge.decide.History``) that is sent with the work, and may learn there.

    ``news``: what it has learnt since it was sent, None for nothing; ``learn`` is told of it here.
    """

    def __call__(self, keys: Array, values: Array, /) -> pa.Table | None:
        """All events of these keys at these values."""

    def news(self) -> object | None:
        """What it has learnt."""

    def learn(self, news: Sequence[object], /) -> None:
        """Take in what copies of it have learnt."""


@dataclass(frozen=True)
class ShardDone:
    """What was written of a shard, and the columns (``Target``) and ``news`` that came in addition."""

    written: Written
    added: tuple[str, ...]
    notes: Mapping[str, str]
    news: object | None = None


@dataclass(frozen=True)
class ShardWork:
    """What is done with each shard of a merge. ``folder``: where all files of this attempt go.

    ``added``, ``notes``: columns of the target (``Target``). ``limit``: bytes that writing may hold.
    """

    table: SentTable
    added: tuple[str, ...]
    notes: Mapping[str, str]
    rule: MergeRule
    history: SentHistory | None
    evolve: bool
    limit: int
    folder: str

    def near(self, live: LiveFiles, shards: int) -> list[LiveFiles]:
        """The live files that shards may find their keys in, where ``staging.by_shard`` cut them.

        Those of shard n are at place n modulo the length: shards that share buckets of the table share files.
        """
        target = Target.check(self.table.table(), self.rule)
        bucket = target.key_bucket(self.rule)
        if bucket is None or shards % bucket[1].num_buckets:
            return [LiveFiles((), {}, live.files)]
        position, transform = bucket
        files: list[list[LiveFile]] = [[] for _ in range(transform.num_buckets)]
        for file in live.files:
            files[file.file.partition[position]].append(file)
        return [LiveFiles((), {}, tuple(of)) for of in files]

    def __call__(self, rows: pa.Table, live: LiveFiles, attempt: str) -> ShardDone:
        """Plan and write the rows of one shard; ``live``: the files that may hold its keys.

        ``attempt``: a name of this try, so that no two write to one place.
        """
        table = self.table.table()
        before = traffic_of(table.io)
        target = Target.check(table, self.rule).with_columns(self.added, self.notes)
        target = replace(target, folder=f"{self.folder}/{attempt}")
        with ThreadPoolExecutor(concurrency(table.location()), thread_name_prefix="shard") as pool:
            basis = Basis(
                live, ExistingDeletes(table.io, pool), pool, self.evolve, whole=False, limit=self.limit
            )
            target, written = write_shard(basis, target, [Part(rows, self.rule, self.history)])
        news = self.history.news() if self.history is not None else None
        written = replace(written, traffic=traffic_of(table.io) - before)
        return ShardDone(written, target.added, target.notes, news)


class RemoteSource(ABC):
    """Rows to merge by a rule that other processes hold, every key in one shard only.

    Stands where a ``StagedSource`` may: ``rows`` and ``schema`` of all, ``limit`` as there. A context, too.
    ``wrong``: see ``staging.wrong_key``.
    """

    spilled: Final = True

    def __init__(self, rule: MergeRule, limit: int, rows: int, schema: pa.Schema, wrong: str | None) -> None:
        self.rule, self.limit, self.rows, self.schema = rule, limit, rows, schema
        self._wrong = wrong

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check_keys(self, table: str) -> None:
        """As ``StagedSource.check_keys``."""
        refuse_wrong_key(table, self.rule, self._wrong)

    @abstractmethod
    def write(self, work: ShardWork, live: LiveFiles) -> list[ShardDone]:
        """Do the work with every shard. Raises what the work raises, and ServiceFailure where tasks died."""

    @abstractmethod
    def shards(self) -> Iterator[pa.Table]:
        """The rows' keys and order, a shard at a time; what else they have stays where it is."""

    @abstractmethod
    def close(self) -> None:
        """Give up the rows."""


def write_elsewhere(
    basis: Basis, target: Target, source: RemoteSource, history: SentHistory | None, run_id: str
) -> tuple[Target, list[Written]]:
    """Have all shards of a source planned and written; gives also the target with the columns they added.

    Shards are planned side by side, so that columns which one adds are unknown to the others (a tie that is
    decided anew brings rows from before): all is planned once more then, on a target that has them.
    """
    for _ in range(_ATTEMPTS):
        folder = f"{FOLDER}/{run_id}/{outside.new_id()}"
        work = ShardWork(
            SentTable.of(target.table),
            target.added,
            target.notes,
            source.rule,
            history,
            basis.evolve,
            source.limit,
            folder,
        )
        try:
            done = source.write(work, basis.live)
        except BaseException:
            remove_unnamed(target.table, folder, ())
            raise
        wider = target
        for one in done:
            names = tuple(dict.fromkeys((*wider.added, *one.added)))
            wider = wider.with_columns(names, {**one.notes, **wider.notes})
        settled = (wider.added, wider.notes) == (target.added, target.notes)
        named = [path for one in done for path in one.written.paths] if settled else []
        remove_unnamed(target.table, folder, named)
        if settled:
            return target, [one.written for one in done]
        target = wider
        if history is not None:
            history.learn([one.news for one in done if one.news is not None])
    raise CommitConflict(
        f"merge into {target.name}: expected its shards to agree on new columns, found "
        f"{', '.join(target.added)} and still more after {_ATTEMPTS} tries; run it again"
    )


def remove_unnamed(table: Table, folder: str, named: Sequence[str]) -> list[str]:
    """Remove the files below a folder of an attempt that are not ``named``; gives their paths.

    Raises InternalFault, with nothing removed, where a file that is named does not lie there: then the two
    are spelled differently, and what would be removed may be what counts.
    """
    location = table.location_provider().new_data_location(folder)
    if not isinstance(table.io, PyArrowFileIO):
        return []  # upkeep finds them by their age
    scheme, host, root = PyArrowFileIO.parse_location(location, table.io.properties)
    found = table.io.fs_by_scheme(scheme, host).get_file_info(
        pyarrow.fs.FileSelector(root, allow_not_found=True, recursive=True)
    )
    prefix = location.removesuffix(root)
    there = {prefix + info.path for info in found if info.type == pyarrow.fs.FileType.File}
    if absent := sorted(set(named) - there):
        raise InternalFault(
            f"merge into {'.'.join(table.name())}: expected the files that its tasks wrote below {location}, "
            f"found {len(absent)} of {len(named)} not there ({absent[0]}); nothing was committed"
        )
    gone = sorted(there - set(named))
    remove_files(table.io, gone)
    return gone
