"""One commit: manifests, manifest list, and a single conditional update of the catalog.

pyiceberg's ``Transaction`` retries a lost commit by itself and rebuilds it on the new snapshot, which for
position deletes is wrong: the file a delete points at may be gone. So the commit is made here, with
pyiceberg's manifest writers and catalog call: it succeeds on the snapshot it was planned on or not at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pyiceberg.avro.codecs import AvroCompressionCodec
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io import OutputFile
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import (
    Operation,
    Snapshot,
    SnapshotSummaryCollector,
    Summary,
    update_snapshot_summaries,
)
from pyiceberg.table.update import (
    AddSchemaUpdate,
    AddSnapshotUpdate,
    AssertCurrentSchemaId,
    AssertDefaultSpecId,
    AssertLastAssignedFieldId,
    AssertRefSnapshotId,
    AssertTableUUID,
    SetCurrentSchemaUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
)

from common.lake.files import NOTHING, Traffic, traffic_of
from common.lake.merge.livefiles import LiveFiles
from common.lake.merge.streams import remove_files
from common.runtime import outside

_CODEC: AvroCompressionCodec = (
    "deflate"  # what Iceberg's own writers use for manifests unless a table says otherwise
)

MANIFESTS_LEFT_ALONE = 64
SMALL_MANIFEST_ENTRIES = 500


@dataclass(frozen=True)
class Change:
    """What a commit does to the files of a table.

    ``removed``: paths of data and delete files that leave. ``schema``: a new current schema, or None.
    ``properties``: table properties set in the same commit. ``summary``: extra snapshot summary entries.
    ``ages``: data sequence numbers of added files that hold rows of before, by path; others get the commit's
    own. ``traffic``: what other processes asked the store for to make it. ``forgets``: of files that leave,
    manifests say that they left and nothing more, and of those that left earlier nothing: statistics of files
    quote values.
    """

    operation: Operation
    added: Sequence[DataFile]
    removed: frozenset[str] = frozenset()
    schema: Schema | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, str] = field(default_factory=dict)
    ages: Mapping[str, int] = field(default_factory=dict)
    traffic: Traffic = NOTHING
    forgets: bool = False


class SnapshotCommit:
    """A commit in two steps, so that a failure between them leaves only files that nothing points at.

    ``stage`` writes manifests and manifest list; ``commit`` updates the catalog once. ``snapshot_id`` is
    known from the start: finding it in the table later says that the commit happened.
    """

    def __init__(self, table: Table, live: LiveFiles, change: Change) -> None:
        self._table = table
        self._live = live
        self._change = change
        self._schema = change.schema if change.schema is not None else table.schema()
        self._uuid = outside.new_id()
        self.snapshot_id: int = table.metadata.new_snapshot_id()
        self.written: list[str] = []
        """Metadata files written so far, for removal when the commit is known to have failed."""
        self.lost = NOTHING
        """What attempts before this one asked the store for, in vain."""

    @property
    def traffic(self) -> Traffic:
        """What was asked of the store so far, by this attempt and by those before it.

        All but the table's metadata file, which the catalog reads and writes.
        """
        return self.lost + self._change.traffic + traffic_of(self._table.io)

    def stage(self) -> Snapshot:
        """Write manifests and manifest list."""
        manifests = [*self._added_manifests(), *self._kept_manifests()]
        path = self._metadata_path(f"snap-{self.snapshot_id}-0-{self._uuid}.avro")
        parent = self._table.current_snapshot()
        sequence = self._table.metadata.next_sequence_number()
        with write_manifest_list(
            format_version=2,
            output_file=self._table.io.new_output(path),
            snapshot_id=self.snapshot_id,
            parent_snapshot_id=parent.snapshot_id if parent else None,
            sequence_number=sequence,
            avro_compression=_CODEC,
        ) as writer:
            writer.add_manifests(manifests)
        return Snapshot(
            snapshot_id=self.snapshot_id,
            parent_snapshot_id=parent.snapshot_id if parent else None,
            manifest_list=path,
            sequence_number=sequence,
            summary=self._summary(parent),
            schema_id=self._schema.schema_id,
        )

    def commit(self, catalog: Catalog, snapshot: Snapshot) -> None:
        """Make ``snapshot`` the table's current one.

        Raises CommitFailedException where the table is no longer as planned; any other exception leaves the
        outcome unknown.
        """
        updates: tuple[TableUpdate, ...] = ()
        if self._change.schema is not None:
            updates += (AddSchemaUpdate(schema_=self._change.schema), SetCurrentSchemaUpdate(schema_id=-1))
        updates += (
            AddSnapshotUpdate(snapshot=snapshot),
            SetSnapshotRefUpdate(
                ref_name=MAIN_BRANCH,
                type=SnapshotRefType.BRANCH,
                snapshot_id=snapshot.snapshot_id,
                max_ref_age_ms=None,
                max_snapshot_age_ms=None,
                min_snapshots_to_keep=None,
            ),
        )
        if self._change.properties:
            updates += (SetPropertiesUpdate(updates=dict(self._change.properties)),)
        try:
            response = catalog.commit_table(self._table, self._requirements(), updates)
        except ValueError as error:
            # Another writer committed and was rolled back: the snapshot is the planned one again, the number
            # that this one was to have is taken. pyiceberg says so with a bare error.
            following = catalog.load_table(self._table.name()).metadata.next_sequence_number()
            if following <= (snapshot.sequence_number or 0):
                raise
            raise CommitFailedException(
                f"expected sequence number {snapshot.sequence_number} to be free, found {following} to be "
                "the next: another writer's commit was undone"
            ) from error
        self._remove_old_metadata(response.metadata)

    def _remove_old_metadata(self, after: TableMetadata) -> None:
        """Remove the metadata files that left the table's log, where the table asks for it."""
        if after.properties.get("write.metadata.delete-after-commit.enabled", "false").lower() != "true":
            return
        kept = {entry.metadata_file for entry in after.metadata_log}
        dropped = (entry.metadata_file for entry in self._table.metadata.metadata_log)
        remove_files(self._table.io, (path for path in dropped if path not in kept))

    def _requirements(self) -> tuple[TableRequirement, ...]:
        metadata = self._table.metadata
        planned = metadata.snapshot_by_name(MAIN_BRANCH)
        requirements: tuple[TableRequirement, ...] = (
            AssertTableUUID(uuid=metadata.table_uuid),
            AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=planned.snapshot_id if planned else None),
            AssertCurrentSchemaId(current_schema_id=metadata.current_schema_id),
            AssertDefaultSpecId(default_spec_id=metadata.default_spec_id),
        )
        if self._change.schema is not None:
            requirements += (AssertLastAssignedFieldId(last_assigned_field_id=metadata.last_column_id),)
        return requirements

    def _added_manifests(self) -> Iterable[ManifestFile]:
        for content in (ManifestContent.DATA, ManifestContent.DELETES):
            files = [f for f in self._change.added if (f.content == DataFileContent.DATA) == (content == 0)]
            entries = [
                ManifestEntry.from_args(
                    status=ManifestEntryStatus.ADDED,
                    snapshot_id=self.snapshot_id,
                    sequence_number=self._change.ages.get(f.file_path),
                    file_sequence_number=None,
                    data_file=f,
                )
                for f in files
            ]
            if entries:
                yield self._write_manifest(content, entries)

    def _kept_manifests(self) -> Iterable[ManifestFile]:
        """Manifests of the planned snapshot; those that list a removed file are written again.

        Small ones are put together when there are many, so that planning reads few files.
        """
        small: dict[ManifestContent, list[ManifestFile]] = {c: [] for c in ManifestContent}
        for manifest in self._live.manifests:
            entries = self._live.entries[manifest.manifest_path]
            if not entries:
                continue
            touched = any(e.data_file.file_path in self._change.removed for e in entries)
            if touched or (self._change.forgets and manifest.deleted_files_count != 0):
                yield self._write_manifest(manifest.content, [self._carried(e) for e in entries])
            elif len(entries) < SMALL_MANIFEST_ENTRIES:
                small[manifest.content].append(manifest)
            else:
                yield manifest
        for content, manifests in small.items():
            if len(manifests) < MANIFESTS_LEFT_ALONE:
                yield from manifests
            else:
                merged = (e for m in manifests for e in self._live.entries[m.manifest_path])
                yield self._write_manifest(content, [self._carried(e) for e in merged])

    def _carried(self, entry: ManifestEntry) -> ManifestEntry:
        """The entry for a manifest written again: existing, or deleted by this snapshot."""
        left = entry.data_file.file_path in self._change.removed
        return ManifestEntry.from_args(
            status=ManifestEntryStatus.DELETED if left else ManifestEntryStatus.EXISTING,
            snapshot_id=self.snapshot_id if left else entry.snapshot_id,
            sequence_number=entry.sequence_number,
            file_sequence_number=entry.file_sequence_number,
            data_file=_without_statistics(entry.data_file)
            if left and self._change.forgets
            else entry.data_file,
        )

    def _write_manifest(self, content: ManifestContent, entries: Iterable[ManifestEntry]) -> ManifestFile:
        path = self._metadata_path(f"{self._uuid}-m{len(self.written)}.avro")
        with _ManifestWriter(
            self._table.spec(), self._schema, self._table.io.new_output(path), self.snapshot_id, content
        ) as writer:
            for entry in entries:
                writer.add_entry(entry)
        return writer.to_manifest_file()

    def _summary(self, parent: Snapshot | None) -> Summary:
        collector = SnapshotSummaryCollector()
        spec = self._table.spec()
        for file in self._change.added:
            collector.add_file(data_file=file, partition_spec=spec, schema=self._schema)
        for file in self._live.listed:
            if file.file_path in self._change.removed:
                collector.remove_file(data_file=file, partition_spec=spec, schema=self._schema)
        said = self.traffic.summary()
        # pyiceberg computes totals for append, overwrite and delete only; a replace counts the same way.
        counted = update_snapshot_summaries(
            Summary(operation=Operation.OVERWRITE, **collector.build(), **self._change.summary, **said),
            parent.summary if parent is not None else None,
        )
        return Summary(operation=self._change.operation, **counted.additional_properties)

    def _metadata_path(self, name: str) -> str:
        path = self._table.location_provider().new_metadata_location(name)
        self.written.append(path)
        return path


def _without_statistics(file: DataFile) -> DataFile:
    """What has to be said of a file: where it lies, in which partition, and how large it is."""
    return DataFile.from_args(
        content=file.content,
        file_path=file.file_path,
        file_format=file.file_format,
        partition=file.partition,
        record_count=file.record_count,
        file_size_in_bytes=file.file_size_in_bytes,
        sort_order_id=file.sort_order_id,
        spec_id=file.spec_id,
        equality_ids=None,
        key_metadata=None,
    )


class _ManifestWriter(ManifestWriterV2):
    """pyiceberg's manifest writer, for delete files as well as for data files."""

    def __init__(
        self,
        spec: PartitionSpec,
        schema: Schema,
        output: OutputFile,
        snapshot_id: int,
        content: ManifestContent,
    ) -> None:
        super().__init__(spec, schema, output, snapshot_id, _CODEC)
        self._content = content

    def content(self) -> ManifestContent:
        """Whether the manifest lists data files or delete files."""
        return self._content

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes" if self._content == ManifestContent.DELETES else "data"}
