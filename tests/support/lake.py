"""The tables of a topic on local files, and short ways to fill and read them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from common.contract.contracts import Contract
from common.lake.checkpoints import SourceCheckpoint
from common.lake.merge import MergeOutcome, StagedSource, merge
from common.lake.reading import read_rows
from common.lake.rule import EVENT_RULE, MergeRule
from common.lake.setting_aside import SetAside
from common.lake.specifications import LAYERS, TableSpec
from common.layers.curated import Curated, curate
from common.layers.semantic import Published, publish
from common.payload.columns import Columns
from common.runtime.settings import JobSettings
from lean_ops.environment.repository import TABLE_SPECIFICATIONS

from .catalog import LocalCatalog

Row = dict[str, Any]
SETTINGS: Final = JobSettings("p", "e", "lake", "checkpoints", 10**9, 10**12, 512)


def no_row(rows: Sequence[SetAside]) -> None:
    """What a run is told of rows that it sets aside, where there must be none."""
    assert not rows


class LocalLake:
    """Layers of one topic behind a catalog."""

    def __init__(
        self, root: Path, layers: Iterable[str] = LAYERS, contract: Contract | None = None, topic: str = "t"
    ) -> None:
        self.root, self.contract, self.topic = root, contract, topic
        self.settings = SETTINGS
        self.catalog: Catalog = self.connect()
        self.catalog.create_namespace("lake")
        for layer in layers:
            self.create(layer)

    def connect(self) -> Catalog:
        """A catalog of its own, as another process would have."""
        return LocalCatalog(self.root)

    def close(self) -> None:
        """Give up the catalog's connection."""
        self.catalog.close()

    def create(self, layer: str, identifier: str = "") -> None:
        """Create a layer's table (Semantic with the contract's columns), or one that is made like it."""
        spec = TableSpec.load(TABLE_SPECIFICATIONS, layer)
        if layer == "semantic" and self.contract is not None:
            spec = spec.with_columns(self.contract.semantic_columns())
        spec.create(self.catalog, identifier or self.identifier(layer))

    def identifier(self, layer: str) -> str:
        """A layer's table, as the catalog calls it."""
        return f"lake.{layer}_{self.topic}"

    def table(self, layer: str) -> Table:
        """A layer's table as it is now."""
        return self.catalog.load_table(self.identifier(layer))

    def append(self, rows: Sequence[Row], layer: str = "raw") -> None:
        """Add rows in one commit of pyiceberg's own."""
        table = self.table(layer)
        table.append(pa.Table.from_pylist(list(rows), schema=table.schema().as_arrow()))

    def merge(self, rows: Sequence[Row], layer: str = "curated", **options: Any) -> MergeOutcome:
        """Merge rows, with the types that Arrow sees in them."""
        return merge_rows(
            self.catalog, self.identifier(layer), pa.Table.from_pylist(list(rows)).to_batches(), **options
        )

    def rows(self, layer: str) -> list[Row]:
        """All rows of a layer, by key."""
        found = read_rows(self.table(layer)).read_all().to_pylist()
        return sorted(found, key=lambda row: str(row["idempotency_key"]))

    def by_key(self, layer: str) -> dict[str, Row]:
        """The one row of each key."""
        rows = self.rows(layer)
        found = {row["idempotency_key"]: row for row in rows}
        assert len(found) == len(rows), "a key has more than one row"
        return found

    def run_curation(
        self,
        since: SourceCheckpoint | None = None,
        rows: int = 10**9,
        record_columns: Callable[[Columns], None] = lambda _columns: None,
        set_aside: Callable[[Sequence[SetAside]], None] = no_row,
        **options: Any,
    ) -> Curated:
        """One run from RAW to Curated, of so many rows at most."""
        return curate(
            self.topic,
            since,
            "run",
            settings=replace(self.settings, batch_rows=rows),
            catalog=self.catalog,
            record_columns=record_columns,
            set_aside=set_aside,
            **options,
        )

    def run_publication(
        self,
        contract: Contract,
        since: SourceCheckpoint | None = None,
        rows: int = 10**9,
        record_uncontracted: Callable[[Sequence[str]], None] = lambda _names: None,
        record_replaced: Callable[[Sequence[str]], None] = lambda _names: None,
        **options: Any,
    ) -> Published:
        """One run from Curated to Semantic and Quarantine, of so many rows at most."""
        return publish(
            contract,
            since,
            "run",
            settings=replace(self.settings, batch_rows=rows),
            catalog=self.catalog,
            pii_key=b"key",
            record_uncontracted=record_uncontracted,
            record_replaced=record_replaced,
            **options,
        )


def merge_rows(
    catalog: Catalog,
    identifier: str,
    batches: Iterable[pa.RecordBatch],
    *,
    rule: MergeRule = EVENT_RULE,
    checkpoint: SourceCheckpoint | None = None,
    run_id: str = "r",
    evolve: bool = True,
    memory_budget_mb: int = 256,
    **options: Any,
) -> MergeOutcome:
    """Merge batches as they are."""
    with StagedSource.of(batches, rule, memory_budget_mb) as source:
        return merge(
            catalog, identifier, source, checkpoint=checkpoint, run_id=run_id, evolve=evolve, **options
        )
