"""All tables of one topic, and the runs, the upkeep and the mishaps that fill and change them.

The jobs are the real ones on real tables; what the state machine and DynamoDB remember between them is kept
in memory.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.update import AssertRefSnapshotId, SetSnapshotRefUpdate

from common.contract.contracts import Contract
from common.contract.retention import FOR_GOOD, Retention
from common.lake.checkpoints import NOTHING, SourceCheckpoint
from common.lake.closing import CLOSED_BEFORE
from common.lake.history import from_lineage, lineage
from common.lake.reading import read_rows
from common.lake.rule import EVENT_RULE
from common.lake.setting_aside import SetAside
from common.lake.specifications import LAYERS
from common.lake.upkeep import CompactionPolicy, Upkeep, UpkeepPolicy
from common.lake.upkeep.compaction import compact
from common.layers.rejudging import Appeal, judge_again
from common.layers.upkeep import maintain

from .contracts import up_to
from .lake import LocalLake
from .oracle import Event

START: Final = datetime(2026, 5, 31, 22, tzinfo=UTC)
DELETE: Final = "delete"
STRICT: Final = up_to(99)
"""The contract under which 500 is refused."""


def event(key: str, message: str, minute: int, value: object, second: int = 0) -> Event:
    """An event of ``value``, or a delete, published so many minutes after START."""
    published = START + timedelta(minutes=minute)
    return {
        "message_id": message,
        "idempotency_key": key,
        "topic_name": "t",
        "period_reference": published.strftime("%Y-%m"),
        "correlation_id": None,
        "publish_time": published,
        "ingestion_ts": START + timedelta(days=1, seconds=second),
        "json_payload": None if value is DELETE else json.dumps({"value": value}),
        "operation": "delete" if value is DELETE else None,
    }


class TopicLake(LocalLake):
    """All tables of one topic. ``retention``: what its contract says of rows."""

    def __init__(self, folder: Path, contract: Contract = STRICT) -> None:
        super().__init__(folder, contract=contract)
        self.raw_read: SourceCheckpoint | None = None
        self.published: SourceCheckpoint | None = None
        self.retention: Retention = FOR_GOOD
        self.letters: list[SetAside] = []
        self.made = 0

    def curate(self, rows: int = 10**9) -> None:
        """One run of Curated."""
        refused = self.retention.days["curated"] if self.retention.refuses_late else None
        done = self.run_curation(self.raw_read, rows, set_aside=self.letters.extend, refused_after=refused)
        self.raw_read = done.checkpoint

    def publish(self, rows: int = 10**9, *, lost: bool = False) -> None:
        """One run of Semantic; where it is ``lost``, nobody recorded how far it got."""
        assert self.contract is not None
        done = self.run_publication(self.contract, self.published, rows, raw_read=self.raw_read)
        if not lost:
            self.published = done.checkpoint

    def run(self, *events: Event) -> None:
        """Deliver, and run the pipeline until nothing is left."""
        if events:
            self.append(events)
        self.settle()

    def settle(self, rows: int = 10**9) -> None:
        """Run until nothing is left."""
        before = (self.raw_read, self.published)
        while before != (before := self._round(rows)):
            pass

    def _round(self, rows: int) -> tuple[SourceCheckpoint | None, SourceCheckpoint | None]:
        self.curate(rows)
        self.publish(rows)
        return self.raw_read, self.published

    def judge_again(self) -> None:
        """Judge everything that was refused again."""
        assert self.contract is not None
        for period in sorted({row["period_reference"] for row in self.rows("quarantine")}):
            judge_again(
                self.contract,
                Appeal(period),
                "op",
                settings=self.settings,
                catalog=self.catalog,
                pii_key=b"key",
                record_replaced=lambda _columns: None,
            )

    def compact_raw(self) -> None:
        """Put RAW's files together."""
        policy = CompactionPolicy(files=1)
        compact(self.catalog, self.identifier("raw"), EVENT_RULE, run_id="upkeep", policy=policy)

    def keep_up(
        self, now: datetime, layers: Sequence[str] = LAYERS, *, dry_run: bool = False, **policy: Any
    ) -> dict[str, Upkeep]:
        """What upkeep does to the layers, were it ``now``."""
        done = maintain(
            self.settings,
            self.catalog,
            cast("Any", self),  # which answers for DynamoDB
            places=[(self.topic, layer) for layer in layers],
            policy=replace(UpkeepPolicy(), **policy),
            now=now,
            run_id="upkeep",
            retention_of=lambda _topic: self.retention,
            dry_run=dry_run,
            fullest_first=False,
        )
        found = {}
        for one in done:
            assert isinstance(one, Upkeep), one
            found[one.table.removeprefix("lake.").removesuffix(f"_{self.topic}")] = one
        return found

    def beside(self, first: Callable[[], object], second: Callable[[], object]) -> None:
        """Two things at once: ``second`` happens between what ``first`` planned and its commit."""
        catalog: Any = self.catalog
        commit = catalog.commit_table

        def overtaken(*arguments: Any) -> Any:
            catalog.commit_table = commit
            second()
            return commit(*arguments)

        catalog.commit_table = overtaken
        try:
            first()
        finally:
            catalog.commit_table = commit

    def rebuilt(self, layer: str) -> dict[str, Any]:
        """Rows by key of Curated, made anew from RAW, or of Semantic, from Curated, beside the live one."""
        assert self.contract is not None
        self.made += 1
        name = f"lake.rebuild_{layer}_{self.made}"
        self.create(layer, name)
        if CLOSED_BEFORE in (properties := self.table(layer).properties):
            with self.catalog.load_table(name).transaction() as change:
                change.set_properties({CLOSED_BEFORE: properties[CLOSED_BEFORE]})
        if layer == "curated":
            self.run_curation(set_aside=self.letters.extend, into=name)
        else:
            self.run_publication(self.contract, raw_read=self.raw_read, into=name)
        found = read_rows(self.catalog.load_table(name)).read_all().to_pylist()
        return {row["idempotency_key"]: row for row in found}

    def get_item(self, **request: Any) -> Mapping[str, Any]:
        """The recorded checkpoint of a layer, as DynamoDB has it."""
        layer = request["Key"]["checkpoint_id"]["S"].rpartition("#")[2]
        checkpoint = {"curated": self.raw_read, "semantic": self.published}.get(layer)
        if checkpoint is None:
            return {}
        current = self.table(layer).current_snapshot()
        target = str(current.snapshot_id) if current else NOTHING
        said = {
            "source_token": checkpoint.token,
            "source_position": checkpoint.position,
            "target_snapshot_id": target,
        }
        return {"Item": {name: {"S": text} for name, text in said.items()}}

    def roll_back(self, layer: str, steps: int) -> None:
        """Make an earlier snapshot of a merged layer the current one; its checkpoint comes with it."""
        table = self.table(layer)
        ancestors = list(lineage(table))
        if not ancestors:
            return
        then = ancestors[min(steps, len(ancestors) - 1)]
        self.catalog.commit_table(
            table,
            (AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=ancestors[0].snapshot_id),),
            (
                SetSnapshotRefUpdate(
                    ref_name=MAIN_BRANCH,
                    type=SnapshotRefType.BRANCH,
                    snapshot_id=then.snapshot_id,
                    max_ref_age_ms=None,
                    max_snapshot_age_ms=None,
                    min_snapshots_to_keep=None,
                ),
            ),
        )
        entry = from_lineage(ancestors[ancestors.index(then) :])
        checkpoint = entry.checkpoint if entry else None
        if layer == "curated":
            self.raw_read = checkpoint
        else:
            self.published = checkpoint

    def versions(self, layer: str) -> dict[str, tuple[str, datetime]]:
        """Message and time, by key; deleted keys are not among them."""
        return alive(self.by_key(layer))

    def semantic(self) -> dict[str, tuple[str, datetime, int]]:
        """Message, time and value, by key."""
        found = self.by_key("semantic")
        return {key: (row["message_id"], row["publish_time"], row["value"]) for key, row in found.items()}


def alive(rows: Mapping[str, Any]) -> dict[str, tuple[str, datetime]]:
    """Message and time of rows by key, without those that are tombstones."""
    return {
        key: (row["message_id"], row["publish_time"])
        for key, row in rows.items()
        if not row.get("_tombstone")
    }


def first_versions(events: Iterable[Event]) -> dict[str, tuple[str, datetime]]:
    """Message and time, by key, of rows that an oracle gave."""
    return {e["idempotency_key"]: (e["message_id"], e["publish_time"]) for e in events}
