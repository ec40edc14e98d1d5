"""What Iceberg's Java library refuses of a table's metadata, and pyiceberg writes without a word.

Athena, Spark, Glue and Snowflake read tables by that library. The rules are those of
``PartitionSpec.Builder``, which ``TableMetadataParser.fromJson`` calls for every partition spec with the
current schema, of ``Schema``, which indexes the names of its columns, and of ``TableMetadata``, which wants
the entries of its logs in their order.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

# ``MetadataColumns`` of Iceberg 1.10; Spark refuses to read them (``SparkSchemaUtil``, column references).
METADATA_COLUMNS: Final = frozenset(
    {"_file", "_pos", "_deleted", "_spec_id", "_partition", "_row_id", "_last_updated_sequence_number"}
)

_MINUTE_MS: Final = 60_000

if TYPE_CHECKING:
    from lean_ops.environment.target import Target


def refusals(metadata: str | bytes) -> list[str]:
    """Why Java would not read this metadata file; empty where it would."""
    table: dict[str, Any] = json.loads(metadata)
    schema = next(s for s in table["schemas"] if s["schema-id"] == table["current-schema-id"])
    logs = [[one["timestamp-ms"] for one in table.get(name, ())] for name in ("snapshot-log", "metadata-log")]
    specs = (r for s in table["partition-specs"] for r in _of_spec(s, schema))
    return [*_of_names(schema["fields"]), *specs, *of_times(logs, table["last-updated-ms"])]


def of_times(logs: Sequence[Sequence[int]], last_updated_ms: float) -> Iterator[str]:
    """Of the times of both logs and of the last change, in milliseconds since 1970; a minute is tolerated."""
    for times in logs:
        if any(later - earlier < -_MINUTE_MS for earlier, later in pairwise(times)):
            yield "the entries of a log are not in the order of their times"
        if times and last_updated_ms - times[-1] < -_MINUTE_MS:
            yield "the last change was before the newest entry of a log"


def check_stack(target: "Target") -> None:
    """Hold every metadata file of a local stack to it: its functions write in processes of their own."""
    s3 = target.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=target.lake_bucket)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    for key in keys:
        if key.endswith(".metadata.json"):
            body = s3.get_object(Bucket=target.lake_bucket, Key=key)["Body"].read()
            assert refusals(body) == [], key


def _of_names(fields: list[dict[str, Any]]) -> Iterator[str]:
    for name, times in Counter(field["name"] for field in fields).items():
        if times > 1:
            yield f"column {name}: there are {times} of them"
        if name in METADATA_COLUMNS:
            yield f"column {name}: is named like a metadata column of Iceberg, and Spark reads none such"


def _of_spec(spec: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    ids = {field["name"]: field["id"] for field in schema["fields"]}
    for field in spec["fields"]:
        name = field["name"]
        if not name:
            yield f"spec {spec['spec-id']}: a partition field has no name"
        if ids.get(name, field["source-id"]) != field["source-id"]:
            yield f"spec {spec['spec-id']}: partition field {name} is named like a column of other values"
    for name, times in Counter(field["name"] for field in spec["fields"]).items():
        if times > 1:
            yield f"spec {spec['spec-id']}: partition field {name} is there {times} times"
    for (source, kind), times in Counter((f["source-id"], f["transform"]) for f in spec["fields"]).items():
        if times > 1:
            yield f"spec {spec['spec-id']}: column {source} is partitioned {times} times by {kind}"
