"""A run that merges nothing records how far it has read, by a snapshot of its table that later expires."""

from datetime import UTC, datetime, timedelta

from common.lake.rule import EVENT_RULE
from common.lake.upkeep import CompactionPolicy, compact, expire_snapshots
from lean_ops.operate import checkpoints
from lean_ops.operate.checkpoints import MergedLayer

from .conftest import done
from .services import TOPIC
from .world import World


def test_a_topic_whose_last_run_merged_nothing_is_not_read_again(world: World) -> None:
    curated = world.target.settings.table("curated", TOPIC)
    for _ in range(3):
        world.send(6)
        done(world.command("run"))
    merged = world.snapshots("curated")[0]
    world.deliver([{**world.sent[0], "ingestion_ts": world.sent[-1]["ingestion_ts"]}])  # a copy, late
    done(world.command("run"))
    assert world.snapshots("curated")[0] == merged
    found = checkpoints.read(world.target, TOPIC, MergedLayer.CURATED).counts
    compact(world.catalog, curated, EVENT_RULE, run_id="tidy", policy=CompactionPolicy(files=1))
    then = datetime.now(UTC) + timedelta(days=365)
    expire_snapshots(world.catalog, curated, older_than=then, keep_last=1)
    assert merged not in world.snapshots("curated")
    now = checkpoints.read(world.target, TOPIC, MergedLayer.CURATED)
    assert found is not None and now.counts == found
    assert now.snapshots_behind == 0
    for _ in range(2):  # the first looks at the compaction
        done(world.command("run"))
    assert world.idle
