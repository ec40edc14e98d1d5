"""Generated sequences of contract versions on one table: whatever lints is published, forwards and back."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.table import Table

from common.contract.casting import cast_rows
from common.contract.changes import review
from common.contract.contracts import load_contract
from common.lake.rule import SOURCE_RULE
from common.lake.specifications import TableSpec
from common.layers.semantic import align_columns

from ...support.catalog import LocalCatalog
from ...support.generated import cases
from ...support.lake import merge_rows

ROOT = Path(__file__).parents[3]
EXAMPLES = cases(4)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TYPES = [
    {"logicalType": "string"},
    {"logicalType": "integer"},
    {"logicalType": "integer", "physicalType": "int"},
    {"logicalType": "number"},
    {"logicalType": "number", "physicalType": "decimal(9,2)"},
    {"logicalType": "number", "physicalType": "decimal(18,2)"},
    {"logicalType": "boolean"},
    {"logicalType": "date", "transformSourceObjects": ["publish_time"]},
    {"logicalType": "timestamp", "transformSourceObjects": ["ingestion_ts"]},
    {"logicalType": "array"},
    {
        "logicalType": "integer",
        "classification": "PII",
        "customProperties": [{"property": "piiTreatment", "value": "hash"}],
    },
]
PROPERTY = st.fixed_dictionaries(
    {"of": st.sampled_from(TYPES), "description": st.sampled_from(["a", "b\nc\n", "d" * 400, None])}
)
VERSIONS = st.lists(
    st.dictionaries(st.sampled_from(["p", "q"]), PROPERTY, min_size=1), min_size=2, max_size=4
)
TEXTS = st.lists(
    st.sampled_from(["1", "2.50", "x", "-0", "true", "[1]", "9999999999", None]), min_size=5, max_size=5
)


def text_of(version: dict[str, Any], number: int) -> str:
    """A contract text; every version is a major one, so that the linter passes any change."""
    listed = [
        {"name": name, "description": drawn["description"]} | drawn["of"] for name, drawn in version.items()
    ]
    return yaml.safe_dump(
        {
            "apiVersion": "v3.2.0", "kind": "DataContract", "id": "x", "version": f"{number}.0.0",
            "schema": [{"name": "t", "properties": listed}],
        }
    )  # fmt: skip


@pytest.fixture
def semantic(tmp_path: Path) -> Iterator[Table]:
    catalog = LocalCatalog(tmp_path)
    catalog.create_namespace("lake")
    spec = TableSpec.load(ROOT / "modules/storage/tables", "semantic", low_volume=True)
    yield spec.create(catalog, "lake.semantic_t")
    catalog.close()


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(VERSIONS, TEXTS)
def test_every_version_that_lints_is_published_on_what_the_versions_before_left(
    semantic: Table, versions: list[dict[str, Any]], texts: list[str | None]
) -> None:
    before = None
    for number, version in enumerate(versions, start=1):
        text = text_of(version, number)
        assert not [finding for finding in review(text, "t", before) if finding.severity == "error"]
        before, contract = text, load_contract(text, "t")
        semantic.refresh()
        told: list[str] = []
        align_columns(semantic, contract, told.extend)
        rows = curated(texts, _next_sequence(semantic))
        cast = cast_rows(rows, contract, b"key")
        outcome = merge_rows(
            semantic.catalog, "lake.semantic_t", cast.good.to_batches(), rule=SOURCE_RULE, evolve=False
        )
        assert outcome.inserted + outcome.updated == rows.num_rows
        semantic.refresh()
        fields = {field.name: field for field in semantic.schema().fields}
        stored = semantic.scan().to_arrow().sort_by("message_id")
        for column in contract.semantic_columns():
            assert column.name not in told or fields[column.name].field_type == column.field_type
            assert fields[column.name].doc == column.doc or column.doc is None
            expected = cast.good.sort_by("message_id")[column.name].to_pylist()
            assert stored[column.name].to_pylist() == expected


def curated(texts: list[str | None], sequence: int) -> pa.Table:
    """Rows of one set of keys; with a greater sequence they count instead of those before."""
    count = len(texts)
    names = pa.array([f"k{number}" for number in range(count)])
    moments = pa.array([NOON] * count, pa.timestamp("us", tz="UTC"))
    columns: dict[str, Any] = {
        "message_id": names, "idempotency_key": names, "topic_name": names,
        "period_reference": pa.array(["2026-01"] * count), "correlation_id": pa.nulls(count, pa.string()),
        "publish_time": moments, "ingestion_ts": moments,
        "_merge_seq": pa.array([sequence] * count, pa.int64()),
    }  # fmt: skip
    return pa.table(columns | {name: pa.array(texts, pa.string()) for name in ("p", "q")})


def _next_sequence(semantic: Table) -> int:
    return 1 + len(semantic.snapshots())
