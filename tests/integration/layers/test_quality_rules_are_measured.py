"""Rules about all rows are measured on Semantic as it is, once a snapshot, and critical ones hold back."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from common.contract.contracts import Contract, load_contract
from common.contract.quality import QualityRule
from common.layers import quality
from common.layers.quality import Measurement, item_of, measure
from common.runtime.items import read_items
from lean_ops.environment.target import Target
from lean_ops.operate.holds import Place, holds_of
from semantic import handler as semantic

from ...support.generated import cases
from ...support.topic import STRICT, TopicLake, event

NOW = datetime(2026, 3, 1, tzinfo=UTC)
# Nothing is refused, so that what is missing is in Semantic.
LENIENT = replace(STRICT, properties=(replace(STRICT.properties[0], critical=False),))


def rules(*of_value: dict[str, Any], of_table: tuple[dict[str, Any], ...] = ()) -> tuple[QualityRule, ...]:
    """Rules of the column ``value``, and of the table."""
    value = {"name": "value", "logicalType": "integer", "quality": list(of_value)}
    key = {"name": "own", "logicalType": "string", "transformSourceObjects": ["idempotency_key"]}
    table = {"name": "t", "properties": [value, key], "quality": list(of_table)}
    head = {"apiVersion": "v3.1.0", "kind": "DataContract", "id": "x", "version": "1.0.0", "schema": [table]}
    return load_contract(yaml.safe_dump(head), "t").quality


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[TopicLake]:
    lake = TopicLake(tmp_path, LENIENT)
    yield lake
    lake.close()


def found(lake: TopicLake, stated: tuple[QualityRule, ...], **options: Any) -> dict[str, str]:
    done = measure(lake.table("semantic"), stated, version="1.0.0", now=NOW, **options)
    return {one.name: one.found or one.why for one in done.rules}


def test_every_metric_counts_the_rows_that_are_there(lake: TopicLake) -> None:
    lake.run(*(event(f"k{n}", f"m{n}", n, value) for n, value in enumerate([1, 2, 2, 7, 2, 50])))
    lake.run(event("k5", "m9", 99, 3))  # a correction takes its older row away
    stated = rules(
        {"metric": "nullValues", "mustBe": 0},
        {"metric": "missingValues", "mustBe": 0, "arguments": {"missingValues": [7, None]}},
        {"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": [1, 2]}},
        {"metric": "duplicateValues", "mustBe": 0},
        {"name": "share", "metric": "duplicateValues", "mustBeLessThan": 50, "unit": "percent"},
        of_table=({"metric": "rowCount", "mustBe": 6},),
    )
    assert found(lake, stated) == {
        "rowCount": "6", "value: nullValues": "0", "value: missingValues": "1", "value: invalidValues": "2",
        "value: duplicateValues": "2", "share": "33.3333",
    }  # fmt: skip


@settings(max_examples=cases(10))
@given(values=st.lists(st.integers(0, 3) | st.none(), min_size=1, max_size=12), data=st.data())
def test_counts_are_those_of_a_plain_count(
    tmp_path_factory: pytest.TempPathFactory, values: list[int | None], data: st.DataObject
) -> None:
    valid = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    lake = TopicLake(tmp_path_factory.mktemp("lake"), LENIENT)
    half = len(values) // 2
    for some in (range(half), range(half, len(values))):
        if some:
            lake.run(*(event(f"k{n}", f"m{n}", n, values[n]) for n in some))
    stated = rules(
        {"metric": "nullValues", "mustBe": 0},
        {"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": valid}},
        {"metric": "duplicateValues", "mustBe": 0},
    )
    there = [value for value in values if value is not None]
    assert found(lake, stated) == {
        "value: nullValues": str(values.count(None)),
        "value: invalidValues": str(sum(value not in valid for value in there)),
        "value: duplicateValues": str(len(there) - len(set(there))),
    }
    lake.close()


def test_what_is_too_much_or_has_no_time_is_not_measured_and_says_so(lake: TopicLake) -> None:
    lake.run(*(event(f"k{n}", f"m{n}", n, n) for n in range(5)))
    stated = rules({"metric": "nullValues", "mustBe": 0}, of_table=({"metric": "rowCount", "mustBe": 5},))
    said = found(lake, stated, most_rows=4)
    assert said["rowCount"] == "5"  # known without reading
    assert "at most 4 rows, found 5" in said["value: nullValues"]
    assert "expected time to read" in found(lake, stated, go_on=lambda: False)["value: nullValues"]
    done = measure(lake.table("semantic"), stated, version="1", now=NOW, most_rows=4)
    assert (done.rows, done.broken("error")) == (0, [])


def test_a_table_without_the_column_and_one_without_rows_are_said(lake: TopicLake) -> None:
    stated = rules({"metric": "nullValues", "mustBe": 0}, of_table=({"metric": "rowCount", "mustBe": 0},))
    assert found(lake, stated)["rowCount"] == "0"
    lake.run(event("a", "1", 0, 1))
    other = tuple(replace(one, columns=("nosuch",)) if one.columns else one for one in stated)
    assert "expected column nosuch" in found(lake, other)["value: nullValues"]


@pytest.mark.parametrize(
    "item", [{}, {"measured": {"S": "{"}}, {"measured": {"N": "1"}}, {"measured": {"S": "{}"}}]
)
def test_a_damaged_note_is_measured_again(item: dict[str, Any]) -> None:
    assert Measurement.of(item) is None


class Run:
    """The function's part after a commit, on a real lake and DynamoDB."""

    def __init__(self, lake: TopicLake, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lake, self.dynamodb, self.table = lake, target.client("dynamodb"), f"c-{uuid.uuid4().hex[:12]}"
        kinds: Any = [{"AttributeName": "checkpoint_id", "KeyType": "HASH"}]
        names: Any = [{"AttributeName": "checkpoint_id", "AttributeType": "S"}]
        self.dynamodb.create_table(
            TableName=self.table, KeySchema=kinds, AttributeDefinitions=names, BillingMode="PAY_PER_REQUEST"
        )
        stated = SimpleNamespace(
            checkpoints_table=self.table, project="p", env="e", lake_bucket="b", table=lake.settings.table
        )
        monkeypatch.setattr(semantic, "_settings", lambda: stated)
        monkeypatch.setattr(semantic, "_client", lambda _: self.dynamodb)
        monkeypatch.setattr(semantic, "lake_catalog", lambda: lake.catalog)
        monkeypatch.setattr(semantic, "is_watched", lambda *_: False)
        self.measured: list[str] = []
        real = quality.measure

        def counted(table: Any, *arguments: Any, **options: Any) -> Measurement:
            self.measured.append(str(table.current_snapshot().snapshot_id))
            return real(table, *arguments, **options)

        monkeypatch.setattr(quality, "measure", counted)

    def __call__(self, stated: tuple[QualityRule, ...], version: str = "1.0.0") -> Measurement:
        contract: Contract = replace(STRICT, topic=self.lake.topic, quality=stated, version=version)
        semantic._measure(contract, lambda: True)
        known = Measurement.of(self.item(item_of(self.lake.topic)))
        assert known is not None
        return known

    def item(self, key: str) -> dict[str, Any]:
        return dict(read_items(self.dynamodb, self.table, [key]).get(key, {}))


@pytest.fixture
def run(lake: TopicLake, target: Target, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(lake, target, monkeypatch)


def test_rows_are_measured_once_and_again_when_they_or_the_contract_change(lake: TopicLake, run: Run) -> None:
    lake.run(event("a", "1", 0, 1))
    stated = rules({"metric": "nullValues", "mustBe": 0})
    run(stated)
    run(stated)
    assert len(run.measured) == 1
    run(stated, "1.0.1")
    lake.run(event("b", "2", 0, None))
    assert run(stated, "1.0.1").broken("error")[0].found == "1"
    assert len(run.measured) == 3


def test_rules_that_a_contract_no_longer_has_are_forgotten(lake: TopicLake, run: Run) -> None:
    lake.run(event("a", "1", 0, None))
    assert run(rules({"metric": "nullValues", "mustBe": 0})).broken("error")
    assert run((), "1.0.1").rules == ()


def test_what_is_broken_rings_by_its_severity_and_critical_ones_hold_the_topic_back(
    lake: TopicLake, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    lake.run(event("a", "1", 0, None))
    warned = {"metric": "nullValues", "mustBe": 0, "severity": "warning"}
    run(rules(warned))
    assert '"QualityRulesBroken":[0' in capsys.readouterr().out.replace(" ", "")
    run(rules({**warned, "severity": "error"}), "1.0.1")
    assert '"QualityRulesBroken":[1' in capsys.readouterr().out.replace(" ", "")
    assert run.item(f"{lake.topic}#lease") == {}
    run(rules({**warned, "severity": "critical"}), "1.0.2")
    (hold,) = holds_of(run.item(f"{lake.topic}#lease"))
    assert (hold.by, hold.damage) == (quality.HOLDER, "")
    assert hold.reason == (
        "critical rules are broken: value: nullValues: expected that nullValues of value is 0, found 1"
    )


def test_a_hold_that_is_lifted_comes_back_with_the_next_commit_that_breaks_the_rule(
    lake: TopicLake, run: Run
) -> None:
    """With --everybody a run goes on, and what it commits is measured; `resume` lifts one's own alone."""
    lake.run(event("a", "1", 0, None))
    stated = rules({"metric": "nullValues", "mustBe": 0, "severity": "critical"})
    run(stated)
    target: Any = SimpleNamespace(client=lambda _: run.dynamodb, checkpoints_table=run.table, caller="me")
    place = Place(target, lake.topic)
    place.pause("mine")
    lifted, left = place.resume()
    assert ([hold.by for hold in lifted], [hold.by for hold in left]) == (["me"], [quality.HOLDER])
    assert [hold.by for hold in place.resume(everybody=True)[0]] == [quality.HOLDER]
    run(stated)  # of rows that somebody has looked at
    assert place.holds() == ()
    lake.run(event("b", "2", 0, 1))
    run(stated)
    assert [hold.by for hold in place.holds()] == [quality.HOLDER]
    place.resume(everybody=True)
    lake.run(event("a", "3", 1, 1))  # mended
    assert run(stated).rules[0].holds
    assert place.holds() == ()
