"""Where Spark is, and running it: an interpreter with pyspark, Java, and Iceberg's runtime.

``make bench-spark`` puts pyspark into ``.venv-spark`` and lets Spark fetch the two packages below by their Maven
coordinates. ``BENCH_SPARK_PYTHON`` names another interpreter, ``BENCH_SPARK_JARS`` files to take instead of
the coordinates (comma between them), ``BENCH_SPARK_IVY`` an ``ivysettings.xml`` where Maven Central is mirrored.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog

HERE = Path(__file__).parent
INSTALLED = HERE.parents[2] / ".venv-spark" / "bin" / "python"
PACKAGES = "org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.10.0,org.xerial:sqlite-jdbc:3.47.1.0"


def interpreter() -> Path:
    """The Python that has pyspark."""
    return Path(os.environ.get("BENCH_SPARK_PYTHON", INSTALLED))


def missing() -> str:
    """What is missing here and how to get it; empty where Spark can run."""
    if not interpreter().exists():
        return "needs pyspark and Iceberg's runtime: make bench-spark"
    if shutil.which("java") is None:
        return "needs Java 17 on the PATH"
    return ""


def run(script: str, lake: SqlCatalog, root: Path, work: dict[str, Any]) -> dict[str, Any]:
    """Run a script of this folder on Spark against the tables of ``lake``; gives its last line, which is JSON."""
    with lake.engine.begin() as connection:  # what Iceberg's JDBC catalog of schema V1 expects
        connection.exec_driver_sql("update iceberg_tables set iceberg_type = 'TABLE', catalog_name = 'bench'")
    where = {
        "database": str(lake.engine.url.database),
        "warehouse": f"file://{root}/warehouse",
        "settings": _settings(),
    }
    done = subprocess.run(
        [interpreter(), HERE / script, json.dumps({**where, **work})],
        check=True,
        capture_output=True,
        text=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _settings() -> dict[str, str]:
    settings = {"spark.driver.memory": "6g"}
    if jars := os.environ.get("BENCH_SPARK_JARS"):
        settings["spark.jars"] = jars
    else:
        settings["spark.jars.packages"] = PACKAGES
    if ivy := os.environ.get("BENCH_SPARK_IVY"):
        settings["spark.jars.ivySettings"] = ivy
    return settings
