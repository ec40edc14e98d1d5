"""What commits ask of a table, made to hold always."""

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import AssertRefSnapshotId


class Anything(AssertRefSnapshotId):
    """A requirement that holds whatever the table's snapshot is."""

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override] # as pyiceberg does
        """Find nothing wrong."""
