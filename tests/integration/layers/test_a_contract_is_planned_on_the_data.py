"""What a plan says of a contract is what the run of Semantic under it does, and nothing is changed by it."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.contract.contracts import Contract, load_contract
from common.layers.planning import Planned, plan
from common.layers.semantic import align_columns

from ...support.generated import cases
from ...support.lake import LocalLake, merge_rows

START = datetime(2026, 5, 1, tzinfo=UTC)
HASHED = {"classification": "PII", "customProperties": [{"property": "piiTreatment", "value": "hash"}]}


def contract(version: str = "1.0.0", **properties: dict[str, Any]) -> Contract:
    listed = [{"name": name, "description": "A field"} | said for name, said in properties.items()]
    document = {
        "apiVersion": "v3.2.0", "kind": "DataContract", "id": "x", "version": version,
        "schema": [{"name": "t", "properties": listed}],
    }  # fmt: skip
    return load_contract(yaml.safe_dump(document), "t")


class Lake(LocalLake):
    """Layers of one topic, and rows by their fields."""

    def curate(self, *rows: Mapping[str, str | None], deleted: int = 0) -> None:
        """Rows of these fields, and deletes; every field is text."""
        count = len(rows) + deleted
        moments = pa.array([START + timedelta(minutes=n) for n in range(count)], pa.timestamp("us", "UTC"))
        names = sorted({name for row in rows for name in row})
        columns = {
            "message_id": [f"m{n}" for n in range(count)], "idempotency_key": [f"k{n}" for n in range(count)],
            "topic_name": ["t"] * count, "period_reference": ["2026-05"] * count, "publish_time": moments,
            "ingestion_ts": moments, "_tombstone": [n >= len(rows) for n in range(count)],
        } | {
            name: pa.array([row.get(name) for row in rows] + [None] * deleted, pa.string()) for name in names
        }  # fmt: skip
        merge_rows(self.catalog, self.identifier("curated"), pa.table(columns).to_batches())

    def plan(self, of: Contract, published: Contract | None = None, **options: Any) -> Planned:
        return plan(of, published, settings=self.settings, catalog=self.catalog, **options)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with closing(Lake(tmp_path, contract=contract(at={"logicalType": "string"}))) as lake:
        yield lake


def test_a_wrong_date_format_is_said_before_any_row_is_refused(lake: Lake) -> None:
    lake.curate(*({"at": f"{day:02}.12.2026"} for day in range(1, 29)), deleted=3)
    found = lake.plan(contract(at={"logicalType": "date", "criticalDataElement": True}))
    assert (found.rows, found.refused, found.newly_refused) == (28, 28, 28)
    (broken,) = found.broken
    assert (broken.column, broken.rule, broken.rows, broken.critical) == ("at", "type", 28, True)
    assert broken.samples == ["99.99.9999"]
    assert found.losses() == {"*": 1.0}
    right = {
        "logicalType": "date",
        "criticalDataElement": True,
        "logicalTypeOptions": {"format": "dd.MM.yyyy"},
    }
    assert lake.plan(contract(at=right)).losses() == {}
    assert lake.rows("quarantine") == []


def test_a_value_that_becomes_null_is_a_loss_as_well(lake: Lake) -> None:
    lake.curate({"at": "x", "n": "1"}, {"at": "y", "n": "one"}, {"at": None, "n": None})
    found = lake.plan(contract(n={"logicalType": "integer", "required": True}))
    assert [(b.rule, b.rows, b.critical) for b in found.broken] == [("missing", 1, False), ("type", 1, False)]
    assert found.losses() == {"n": 0.5}


def test_samples_are_values_only_where_that_is_asked_for_and_never_of_personal_data(lake: Lake) -> None:
    lake.curate({"at": "secret one", "n": "secret two"})
    strict = contract(at={"logicalType": "integer"}, n={"logicalType": "integer"} | HASHED)
    masked, clear = lake.plan(strict), lake.plan(strict, in_clear=True)
    assert "secret" not in repr(masked)
    assert {b.column: b.samples for b in clear.broken} == {"at": ["secret one"], "n": []}


def test_what_becomes_of_columns_is_what_the_run_does_to_them(lake: Lake) -> None:
    old = contract(
        a={"logicalType": "integer", "physicalType": "int"},
        b={"logicalType": "string"},
        c={"logicalType": "string"},
    )
    align_columns(lake.table("semantic"), old, lambda _names: None)
    new = contract(
        "2.0.0", a={"logicalType": "integer"}, b={"logicalType": "boolean"}, d={"logicalType": "date"}
    )
    found = lake.plan(new, old)
    assert [(c.kind, c.column.name) for c in found.changes] == [
        ("widen", "a"),
        ("replace", "b"),
        ("add", "d"),
    ]
    assert found.left == ["c"]
    told: list[str] = []
    align_columns(lake.table("semantic"), new, told.extend)
    assert told == ["b"]
    assert lake.plan(new, old).changes == []


def test_it_says_where_what_becomes_personal_stands_in_clear(lake: Lake) -> None:
    clear = contract(
        mail={"logicalType": "string", "classification": "public"},
        n={"logicalType": "integer", "criticalDataElement": True},
    )
    lake.curate({"mail": "a@x.org", "n": "1"}, {"mail": "b@x.org", "n": "one"})
    lake.run_publication(clear)
    new = contract("2.0.0", mail={"logicalType": "string"} | HASHED, n={"logicalType": "integer"})
    found = lake.plan(new, clear)
    places = {place.where.partition(",")[0]: place.rows for place in found.in_clear}
    assert places == {
        "raw and curated": None,
        "semantic": 1,
        "1 snapshots of semantic": None,
        "quarantine": 1,
    }
    assert found.values["mail"].changed == 1
    again = lake.plan(new, new)
    assert [place.where for place in again.in_clear] == ["raw and curated"]


def test_what_looks_personal_is_said_and_nothing_is_classified(lake: Lake) -> None:
    lake.curate({"at": "a@x.org", "n": "1"}, {"at": "b@x.org", "n": "2"})
    plain = {"logicalType": "string"}
    assert lake.plan(contract(at=plain, n=plain)).suspected == {"at": "e-mail addresses"}
    settled = contract(at=plain | {"classification": "public"})
    assert lake.plan(settled).suspected == {}


def test_a_topic_without_tables_or_rows_is_planned_as_well(tmp_path: Path) -> None:
    with closing(Lake(tmp_path, layers=())) as lake:
        found = lake.plan(contract(at={"logicalType": "date"}))
    assert (found.rows, found.snapshot_id, found.losses()) == (0, None, {})


KINDS = [
    {"logicalType": "string"},
    {"logicalType": "string", "enum": [{"value": "1"}, {"value": "x"}]},
    {"logicalType": "integer"},
    {"logicalType": "integer", "logicalTypeOptions": {"maximum": 5}},
    {"logicalType": "number", "physicalType": "decimal(9,2)"},
    {"logicalType": "boolean"},
    {"logicalType": "integer"} | HASHED,
]
PROPERTY = st.builds(
    lambda kind, critical, required: kind | {"criticalDataElement": critical, "required": required},
    st.sampled_from(KINDS),
    st.booleans(),
    st.booleans(),
)
SAID = st.dictionaries(st.sampled_from(["p", "q"]), PROPERTY, min_size=1)
TEXT = st.sampled_from(["1", "2.50", "x", "-0", "true", "7", None])
ROWS = st.lists(st.fixed_dictionaries({"p": TEXT, "q": TEXT}), min_size=1, max_size=8)


@settings(
    max_examples=cases(6),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(SAID, SAID, ROWS)
def test_the_plan_of_any_two_versions_is_what_their_runs_do(
    tmp_path_factory: pytest.TempPathFactory, old: Any, new: Any, rows: Any
) -> None:
    with closing(Lake(tmp_path_factory.mktemp("lake"))) as lake:
        before, after = contract(**old), contract("2.0.0", **new)
        lake.curate(*rows)
        done_before = lake.run_publication(before)
        first = lake.by_key("semantic")
        found = lake.plan(after, before)
        lake.create("semantic", "lake.other")
        done = lake.run_publication(after, into="lake.other")
        second = {
            row["idempotency_key"]: row
            for row in lake.catalog.load_table("lake.other").scan().to_arrow().to_pylist()
        }
    assert (found.refused_before, found.refused) == (done_before.quarantined, done.quarantined)
    assert found.newly_refused == len(first.keys() - second.keys())
    nulled = {(b.column, b.rule): b.rows for b in found.broken if not b.critical}
    assert nulled == dict(done.nulled)
    for name in old.keys() & new.keys():
        pairs = [(first[key][name], second[key][name]) for key in first.keys() & second.keys()]
        said = found.values[name]
        assert said.lost == sum(a is not None and b is None for a, b in pairs)
        assert said.gained == sum(a is None and b is not None for a, b in pairs)
