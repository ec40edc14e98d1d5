"""However a table was compacted, expired and rolled back, and by whom: its checkpoint is that of its rows."""

import datetime as dt
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.types import StringType

from common.lake.checkpoints import MERGE_SEQ, SOURCE_TOKEN, SourceCheckpoint
from common.lake.history import committed, lineage
from common.lake.rule import EVENT_RULE
from common.lake.upkeep import CompactionPolicy, compact, compaction

from ....support.generated import cases
from .conftest import Lake


def merged(lake: Lake, number: int, *, checkpoint: int = True) -> None:
    """A merge of some rows, in files beside those of others; its checkpoint has its number."""
    lake.merge(
        [lake.event(f"{number}-{n}", f"m{number}", publish=number / 10) for n in range(8)],
        checkpoint=SourceCheckpoint(number, number) if checkpoint else None,
    )


def compacted(lake: Lake, monkeypatch: pytest.MonkeyPatch | None = None) -> None:
    """A compaction; with ``monkeypatch`` as another writer makes it, which carries nothing on."""
    if monkeypatch is not None:
        monkeypatch.setattr(compaction, "carried_on", lambda _table: {})
    compact(lake.catalog, lake.identifier, EVENT_RULE, run_id="tidy", policy=CompactionPolicy(files=1))
    if monkeypatch is not None:
        monkeypatch.undo()


def expired(lake: Lake) -> None:
    """Only what the table is now is left of its history."""
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    lake.table.maintenance.expire_snapshots().older_than(later).commit()


def token(lake: Lake) -> Any:
    entry = committed(lake.table)
    return None if entry is None else int(entry.token)


def fill(lake: Lake, merges: int = 3) -> None:
    for number in range(1, merges + 1):
        merged(lake, number)


def test_a_compaction_by_another_writer_and_the_expiry_of_the_merge_leave_the_checkpoint(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake)
    compacted(lake, monkeypatch)
    expired(lake)
    assert len(lake.table.snapshots()) == 1
    assert SOURCE_TOKEN not in lake.summary.additional_properties
    assert token(lake) == 3


def test_our_compaction_after_another_writer_s_carries_the_checkpoint_on_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake, 2)
    compacted(lake, monkeypatch)
    expired(lake)
    with lake.table.update_schema() as change:  # a commit of its own
        change.add_column("later", StringType())
    merged(lake, 3, checkpoint=False)
    compacted(lake)
    expired(lake)
    assert lake.summary[SOURCE_TOKEN] == "2"
    assert lake.summary[MERGE_SEQ] == "3"


def test_a_rollback_takes_the_kept_checkpoint_out_of_force(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake, 1)
    first = lake.snapshot.snapshot_id
    merged(lake, 2)
    lake.table.manage_snapshots().rollback_to_snapshot(first).commit()
    compacted(lake, monkeypatch)
    expired(lake)
    assert token(lake) in (None, 1)


STEPS = st.lists(
    st.sampled_from(["merge", "merge", "rejudge", "compact", "foreign", "expire", "rollback"]),
    min_size=3,
    max_size=10,
)


@settings(
    max_examples=cases(8),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS, data=st.data())
def test_whatever_happens_a_checkpoint_is_never_ahead_of_the_rows(
    lake_factory: Callable[[], Lake], steps: list[str], data: Any
) -> None:
    lake = lake_factory()
    reached, rolled_back = dict[int, Any](), False  # by snapshot: how far its rows reach
    for number, step in enumerate(steps, 1):
        before = lake.table.current_snapshot()
        held = reached[before.snapshot_id] if before else 0
        with pytest.MonkeyPatch.context() as patch:
            if step in ("merge", "rejudge"):
                merged(lake, number, checkpoint=step == "merge")
                held = number if step == "merge" else held
            elif before is None:
                continue
            elif step == "expire":
                expired(lake)
            elif step == "rollback":
                known = [s.snapshot_id for s in lake.table.snapshots()]
                chosen = data.draw(st.sampled_from(known), label="back to")
                ancestors = {s.snapshot_id for s in lineage(lake.table)}
                if chosen not in ancestors:
                    continue
                lake.table.manage_snapshots().rollback_to_snapshot(chosen).commit()
                held, rolled_back = reached[chosen], True
            else:
                compacted(lake, patch if step == "foreign" else None)
        current = lake.snapshot
        reached.setdefault(current.snapshot_id, held)
        found = token(lake) or 0
        assert found <= reached[current.snapshot_id]
        if not rolled_back:
            assert found == reached[current.snapshot_id]
    shutil.rmtree(lake.root)
