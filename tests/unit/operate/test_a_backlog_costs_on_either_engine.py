"""What clearing a backlog takes, with functions and on Spark: counted by hand, and where the two cross."""

import json

import pytest
from typer.testing import CliRunner

from common.runtime.errors import InvalidInput
from lean_ops.cli import app
from lean_ops.environment.repository import spark_entry
from lean_ops.operate.cost import PriceTable, Workers, clearing, faster_from, load_prices, settings_of

SETTINGS = {
    "spark.driver.cores": "4", "spark.driver.memory": "4g", "spark.driver.memoryOverhead": "10g",
    "spark.executor.cores": "4", "spark.executor.memory": "4g", "spark.executor.memoryOverhead": "16g",
    "spark.dynamicAllocation.maxExecutors": "8",
}  # fmt: skip


@pytest.fixture(scope="module")
def table() -> PriceTable:
    return load_prices()


def test_workers_are_as_many_and_as_large_as_the_settings_allow() -> None:
    assert Workers.of(SETTINGS) == Workers(32, 36, 14 + 8 * 20)


def test_both_ways_are_counted_by_hand(table: PriceTable) -> None:
    settings, spark = settings_of(), spark_entry()
    rows = 3_000_000
    function, job = clearing(rows, settings, spark, table)
    seconds = rows * table.assumed("processor-seconds-a-row-function") * 1769 / 3008
    assert function.seconds == pytest.approx(seconds)
    lambda_usd = seconds * 3008 / 1024 * 13.3334 / 1e6
    assert function.usd == pytest.approx(lambda_usd + 3 * settings.busy_states * 0.025 / 1000)
    assert (function.commits, job.commits) == (6, 2)
    workers = Workers.of(spark.settings)
    seconds = 180 + rows * table.assumed("processor-seconds-a-row-job") / workers.vcpus
    assert job.seconds == pytest.approx(seconds)
    hour = workers.paid_vcpus * 0.0421 + workers.paid_gb * 0.0046
    assert job.usd == pytest.approx(seconds / 3600 * hour)


def test_at_the_crossing_both_take_as_long(table: PriceTable) -> None:
    settings, spark = settings_of(), spark_entry()
    crossing = faster_from(settings, spark, table)
    function, job = clearing(crossing, settings, spark, table)
    assert function.seconds == pytest.approx(job.seconds)
    function, job = clearing(10 * crossing, settings, spark, table)
    assert job.seconds < function.seconds
    assert job.usd > function.usd


def test_the_command_says_both_and_what_the_account_lacks() -> None:
    done = CliRunner().invoke(app, ["cost", "--backlog", "100000000"])
    assert done.exit_code == 0, done.output
    assert "lambda" in done.output
    assert "36 vcpus are needed, an account has 16" in " ".join(done.output.split())
    found = json.loads(CliRunner().invoke(app, ["cost", "--backlog", "100000000", "--json"]).stdout)
    assert [way["engine"] for way in found["ways"]] == ["lambda", "spark"]


def test_a_backlog_is_asked_for_alone() -> None:
    done = CliRunner().invoke(app, ["cost", "--backlog", "1", "--topics", "2"])
    assert isinstance(done.exception, InvalidInput)
