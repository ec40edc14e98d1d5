"""``lean-ops cost`` needs no stack and no account; with ``--env`` CloudWatch counts."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog
from typer.testing import CliRunner, Result

from common.lake.merge import StagedSource, merge
from common.lake.rule import OPERATIONS_RULE
from common.lake.specifications import TableSpec
from common.runtime.errors import InvalidInput, LeanOpsError
from lean_ops.cli import app
from lean_ops.environment.repository import TABLE_SPECIFICATIONS
from lean_ops.environment.target import Target
from lean_ops.operate.cost import LOOKED_BACK, MissingPrice

from ...support.catalog import LocalCatalog

WEEK = {
    ("NumberOfMessagesSent", "lean-ops-dev-source"): 7_000_000.0,
    ("IncomingRecords", "lean-ops-dev-events"): 6_900_000.0,
    ("IncomingBytes", "lean-ops-dev-events"): 6_900_000.0 * 500,
    ("Invocations", "lean-ops-dev-curation"): 672.0,
    ("Duration", "lean-ops-dev-curation"): 672.0 * 4_000,
    (
        "ExecutionsStarted",
        "arn:aws:states:eu-west-1:000000000000:stateMachine:lean-ops-dev-pipeline",
    ): 1_344.0,
}


class CloudWatch:
    """Sums by metric and dimension, a day a value, in pages of ten metrics."""

    def __init__(self, sums: dict[tuple[str, str], float]) -> None:
        self.sums, self.asked = sums, 0

    def get_paginator(self, operation: str) -> "CloudWatch":
        assert operation == "get_metric_data"
        return self

    def paginate(
        self,
        *,
        MetricDataQueries: list[dict[str, Any]],
        StartTime: datetime,
        EndTime: datetime,
    ) -> Iterator[dict[str, Any]]:
        assert EndTime - StartTime == LOOKED_BACK == timedelta(days=7)
        assert len(MetricDataQueries) <= 500
        assert len({query["Id"] for query in MetricDataQueries}) == len(MetricDataQueries)
        self.asked += len(MetricDataQueries)
        for start in range(0, len(MetricDataQueries), 10):
            results = []
            for query in MetricDataQueries[start : start + 10]:
                metric = query["MetricStat"]["Metric"]
                total = self.sums.get((metric["MetricName"], metric["Dimensions"][0]["Value"]))
                results.append({"Id": query["Id"], "Values": [] if total is None else [total / 7] * 7})
            yield {"MetricDataResults": results}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["cost", *arguments])


def document(*arguments: str) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a client was asked for")

    monkeypatch.setattr(Target, "client", refused)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = LocalCatalog(tmp_path)
    catalog.create_namespace("lean_ops_dev")
    return catalog


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, catalog: Catalog) -> CloudWatch:
    cloudwatch = CloudWatch(WEEK)
    monkeypatch.setattr(Target, "catalog", lambda _target: catalog)
    monkeypatch.setattr(Target, "client", lambda _target, _service: cloudwatch)
    monkeypatch.setattr(Target, "account", "000000000000")
    return cloudwatch


def test_people_get_figures_goals_and_lines() -> None:
    done = run("--events-per-day", "1000", "--topics", "700", "--idle-topics", "600")
    assert done.exit_code == 0, done.output
    for words in (
        "an idle topic, a month",
        "The dearest lines",
        "What a setting would change",
        "List prices of",
    ):
        assert words in done.stdout
    assert "Quota: 700 delivery-streams are needed, an account has 500" in done.stdout


def test_programs_get_one_document_that_adds_up() -> None:
    found = document("--events-per-day", "2e6", "--event-bytes", "300", "--topics", "3", "--idle-topics", "1")
    assert found["usage"] == {
        "events_per_day": 2e6, "event_bytes": 300, "topics": 3, "idle_topics": 1, "messages_per_send": None,
    }  # fmt: skip
    assert found["usd"] == pytest.approx(sum(line["usd"] for line in found["lines"]))
    assert {line["scope"] for line in found["lines"]} == {"fixed", "topics", "events"}
    assert all(line["source"] and line["date"] for line in found["lines"])
    assert [figure["goal"] for figure in found["figures"]][:3] == [15.0, 0.3, 0.6]
    assert found["counted_days"] is None
    assert all(one["why"] for one in found["assumptions"].values())


def test_no_events_are_a_month_of_idle_topics() -> None:
    found = document("--events-per-day", "0", "--topics", "5")
    assert "events" not in {line["scope"] for line in found["lines"]}
    assert len(found["figures"]) == 4


def test_numbers_as_large_as_are_taken_stay_numbers() -> None:
    found = document("--events-per-day", "1e12", "--event-bytes", "1048576", "--topics", "100000")
    assert found["usd"] > 1e9


@pytest.mark.parametrize(
    "arguments",
    [("--events-per-day", "-1"), ("--events-per-day", "nan"), ("--event-bytes", "0"), ("--topics", "0")],
)
def test_numbers_that_cannot_be_are_wrong_usage(arguments: tuple[str, str]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("--topics", "1", "--idle-topics", "2"), InvalidInput, "expected at most all 1, found 2"),
        (("--region", "us-west-2"), MissingPrice, "expected those of us-west-2"),
        (("--env", "dev", "--region", "us-west-2"), MissingPrice, "expected those of us-west-2"),
        (("--env", "local"), InvalidInput, "the local stack costs nothing"),
        (("--env", "dev", "--topics", "3"), InvalidInput, "CloudWatch counts those of an environment"),
    ],
)
def test_what_contradicts_itself_ends_in_a_sentence(
    arguments: tuple[str, ...], error: type[LeanOpsError], said: str
) -> None:
    done = run(*arguments)
    assert isinstance(done.exception, error)
    assert said in str(done.exception)


def test_an_environment_is_billed_by_what_it_did(counted: CloudWatch) -> None:
    found = document("--env", "dev")
    assert found["counted_days"] == 7
    assert found["usage"]["events_per_day"] == pytest.approx(1e6)
    assert found["usage"]["event_bytes"] == pytest.approx(500)
    assert found["usage"]["idle_topics"] == found["usage"]["topics"] - 1
    lines = {line["item"]: line for line in found["lines"]}
    month = 30 / 7
    assert lines["starts of curation"]["count"] == pytest.approx(672 * month)
    assert lines["time of curation"]["count"] == pytest.approx(672 * 4 * month * 3_008 / 1_024)
    assert lines["starts of curation"]["measured"] is True
    states = lines["states of every run"]
    assert states["count"] == pytest.approx(1_344 * month * found["settings"]["idle_states"])
    assert counted.asked == 2 + 2 * found["usage"]["topics"] + 2 * len(found["settings"]["functions"])


def test_requests_are_those_that_merges_counted(counted: CloudWatch, catalog: Catalog) -> None:
    """In the last week; of merges that did not count, as many as of the others."""
    assert counted.sums
    spec = TableSpec.load(TABLE_SPECIFICATIONS, "ops_runs")
    table = spec.create(catalog, "lean_ops_dev.ops_runs")
    lines = {line["item"]: line for line in document("--env", "dev")["lines"]}
    assert not lines["files of merges"]["measured"]
    now = datetime.now(UTC)
    runs = [(now, 900, 300), (now - timedelta(days=6), 100, 100), (now, None, None), (now, 500, 200)]
    past = [(now - timedelta(days=9), 10**6, 10**6)]
    rows = [
        {"entry": str(n), "publish_time": at, "gets": gets, "puts": puts}
        for n, (at, gets, puts) in enumerate((*runs, *past))
    ]
    batches = pa.Table.from_pylist(rows, schema=table.schema().as_arrow()).to_batches()
    with StagedSource.of(batches, OPERATIONS_RULE, 64) as source:
        merge(catalog, "lean_ops_dev.ops_runs", source, checkpoint=None, run_id="upkeep", evolve=False)
    lines = {line["item"]: line for line in document("--env", "dev")["lines"]}
    assert lines["files of merges"]["count"] == pytest.approx(600 / 3 * 4 * 30 / 7)
    assert lines["reads of merges"]["count"] == pytest.approx(1_500 / 3 * 4 * 30 / 7)
    assert lines["files of merges"]["measured"] is True


def test_an_environment_that_did_nothing_has_no_events(counted: CloudWatch) -> None:
    counted.sums = {}
    found = document("--env", "dev")
    assert found["usage"]["events_per_day"] == 0
    assert found["usage"]["idle_topics"] == found["usage"]["topics"]
    assert {line["count"] for line in found["lines"] if line["price"] == "lambda-request"} == set()
    assert "counted over the last 7 days" in run("--env", "dev").stdout
