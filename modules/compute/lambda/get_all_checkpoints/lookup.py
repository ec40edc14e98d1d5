"""One look-up of everything that the state machine decides by."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pyiceberg.catalog import Catalog

from common.contract.contracted import spark_from_rows
from common.contract.store import contract_exists
from common.lake.checkpoints import NOTHING, Entry, forget_void
from common.lake.history import last_merge
from common.lake.progress import entries_of
from common.lake.specifications import open_table
from common.runtime.errors import InvalidInput
from common.runtime.settings import CheckpointsSettings
from common.runtime.topics import Registry, named
from get_all_checkpoints.engines import Engine, choose, may_be_spark, unpublished, unread

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient
    from types_boto3_s3.client import S3Client


@dataclass(frozen=True)
class Checkpoints:
    """Snapshots and checkpoints of one topic, as texts; NOTHING where there is none yet.

    RAW is ahead of Curated when ``raw_snapshot`` differs from ``curated_checkpoint`` (both speak of RAW);
    Curated is ahead of Semantic when ``curated_snapshot`` differs from ``semantic_checkpoint`` (both speak
    of Curated), or when ``curated_checkpoint`` differs from ``semantic_versions``: how far RAW has been
    searched for older versions of refused keys (both speak of RAW). ``*_position`` say the same as the
    checkpoints in a form that sorts, ``semantic_token`` both of Semantic's for its job.
    ``semantic_snapshot``: what Semantic holds now. ``*_engine``: where the layer's job is to run.
    """

    raw_snapshot: str
    curated_checkpoint: str
    curated_position: str
    curated_snapshot: str
    semantic_checkpoint: str
    semantic_position: str
    semantic_versions: str
    semantic_token: str
    semantic_snapshot: str
    schema_exists: bool
    curation_engine: Engine
    semantic_engine: Engine

    def as_json(self) -> dict[str, str | bool]:
        """The values for the state machine's data."""
        return asdict(self)


def check_topic(topic: str, registry: Registry) -> None:
    """Raises InvalidInput for a topic that the environment does not have, before it gets a lease."""
    if topic not in registry.topics:
        raise InvalidInput(
            f"topic: expected one of {named(registry.topics)}, found {topic!r}; "
            "topics come from contracts/ and the environment's configuration"
        )


def look_up(
    topic: str,
    *,
    settings: CheckpointsSettings,
    catalog: Catalog,
    dynamodb: "DynamoDBClient",
    s3: "S3Client",
    engine: str = "auto",
    held: bool = False,
) -> Checkpoints:
    """Read the snapshots and checkpoints of ``topic``; raises TableMissing, and InvalidInput for the engine.

    ``engine``: which one is asked for (``engines.choose``). ``held``: the caller has the topic's lease; what
    this says is true until that is given up, and what no run could write over is taken out of the records.
    """
    raw = open_table(catalog, settings.table("raw", topic))
    curated = open_table(catalog, settings.table("curated", topic))
    has_contract = contract_exists(s3, settings.lake_bucket, topic)
    semantic = open_table(catalog, settings.table("semantic", topic)) if has_contract else None

    counts: dict[str, Entry | None] = {}
    for layer, table in (("curated", curated), ("semantic", semantic)):
        if table is not None:
            counts[layer], recorded = entries_of(table, layer, topic, settings, dynamodb)
            if held:
                forget_void(
                    dynamodb,
                    settings.checkpoints_table,
                    topic,
                    layer,
                    recorded=recorded,
                    counts=counts[layer],
                )
    curated_entry, semantic_entry = counts["curated"], counts.get("semantic")
    current = raw.current_snapshot()
    merged = last_merge(curated)
    published = semantic_entry.checkpoint if semantic_entry else None
    known = semantic.current_snapshot() if semantic else None
    unread_rows = unread(raw, curated_entry.checkpoint if curated_entry else None)
    unpublished_rows = unpublished(curated, published)
    from_rows = spark_from_rows(s3, settings.lake_bucket, topic) if may_be_spark(engine, settings) else None
    return Checkpoints(
        raw_snapshot=str(current.snapshot_id) if current else NOTHING,
        curated_checkpoint=curated_entry.token if curated_entry else NOTHING,
        curated_position=curated_entry.position if curated_entry else NOTHING,
        curated_snapshot=str(merged[0].snapshot_id) if merged else NOTHING,
        semantic_checkpoint=published.plain_token if published else NOTHING,
        semantic_position=published.position if published else NOTHING,
        semantic_versions=published.versions.token if published and published.versions else NOTHING,
        semantic_token=published.token if published else NOTHING,
        semantic_snapshot=str(known.snapshot_id) if known else NOTHING,
        schema_exists=has_contract,
        curation_engine=choose(engine, unread_rows, settings, from_rows),
        semantic_engine=choose(engine, unpublished_rows, settings, from_rows),
    )
