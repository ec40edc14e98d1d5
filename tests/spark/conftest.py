"""One Spark context for all tests here, on two cores and with the tries that a cluster has."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lean_ops.local import spark

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """pyspark leaves the sockets by which results come to the garbage collector, which Python warns of."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("ignore:.*unclosed.*socket:ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A SparkContext; tasks may import from the repository's root what a test sends them."""
    if lacks := spark.missing() or spark.install():
        pytest.skip(lacks)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in spark.environment(ROOT).items():
            patch.setenv(name, value)
        # Tasks import what they are sent by name, and so must the process that sends it.
        patch.setattr(sys, "path", [*sys.path, str(spark.HOME), str(ROOT)])
        from pyspark import SparkConf, SparkContext

        settings = spark.settings(tmp_path_factory.mktemp("spark"))
        settings["spark.ui.showConsoleProgress"] = "false"
        conf = SparkConf().setMaster("local[2,4]").setAppName("tests").setAll(list(settings.items()))
        running = SparkContext(conf=conf)
        running.setLogLevel("ERROR")
        try:
            yield running
        finally:
            running.stop()
            os.environ.pop("PYSPARK_GATEWAY_PORT", None)


@pytest.fixture(scope="session")
def cluster(context: Any) -> Any:
    """Spark as a place where the layers' work is done."""
    from spark.cluster import Cluster

    return Cluster(context)
