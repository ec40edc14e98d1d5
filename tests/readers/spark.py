"""Spark with Iceberg's runtime on the tables of a running stack, to be asked by SQL.

To the pyspark of jobs (``lean_ops.local.spark``) come Iceberg's runtime and its AWS bundle, by their Maven
coordinates, once for all checkouts. A session is one process that reads statements, a line of JSON each, and
answers with a line each; ``spark_session.py`` is what it runs.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from lean_ops.local import spark
from lean_ops.local.fetching import CACHE, fetch, from_maven
from lean_ops.local.stack import CREDENTIAL
from lean_ops.local.target import LocalTarget

ICEBERG: Final = "1.10.1"
_JARS: Final = CACHE / f"iceberg-spark-{ICEBERG}"
_ARTIFACTS: Final = (
    f"org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:{ICEBERG}",
    f"org.apache.iceberg:iceberg-aws-bundle:{ICEBERG}",
)
_SCRIPT: Final = Path(__file__).with_name("spark_session.py")


def missing() -> str:
    """What this machine lacks to run it, and how to get it; empty for nothing."""
    if lacks := spark.missing():
        return lacks
    if not _JARS.exists() and shutil.which("mvn") is None:
        return "Iceberg's runtime for Spark is fetched by Maven: install mvn"
    return ""


def install() -> str:
    """Fetch it, unless it is there; what pip or Maven said where that failed, else nothing."""
    return spark.install() or fetch(_JARS, lambda fetched: [from_maven(one, fetched) for one in _ARTIFACTS])


class Spark:
    """A session; ``query`` gives column names and rows as Python values."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process = process
        self._log = log

    def query(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run one statement; raises AssertionError with what Spark says."""
        answer = self._ask({"sql": sql})
        assert "error" not in answer, f"{answer['error']} in {sql}"
        rows = [tuple(_value(cell) for cell in row) for row in answer["rows"]]
        return answer["columns"], rows

    def _ask(self, question: dict[str, str]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self._log.read_text(errors="replace")[-2_000:]
        answer: dict[str, Any] = json.loads(line)
        return answer


def _value(cell: Any) -> Any:
    """What a cell stands for: JSON's own values as they are, others by the name of their type."""
    if not isinstance(cell, dict):
        return cell
    ((kind, text),) = cell.items()
    readers: dict[str, Any] = {
        "decimal": Decimal, "timestamp": datetime.fromisoformat, "date": date.fromisoformat, "float": float,
    }  # fmt: skip
    return readers[kind](text)


@contextmanager
def running(target: LocalTarget, folder: Path) -> Iterator[Spark]:
    """A session on the tables of the stack, gone at the end; ``folder`` is where it writes."""
    endpoint = target.client("s3").meta.endpoint_url
    catalog = "spark.sql.catalog.lake"
    settings = {
        "spark.jars": ",".join(str(jar) for jar in sorted(_JARS.glob("*.jar"))),
        "spark.driver.memory": "2g",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.local.dir": str(folder),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.defaultCatalog": "lake",
        catalog: "org.apache.iceberg.spark.SparkCatalog",
        f"{catalog}.catalog-impl": "org.apache.iceberg.aws.glue.GlueCatalog",
        f"{catalog}.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        f"{catalog}.warehouse": f"s3://{target.lake_bucket}/",
        f"{catalog}.glue.endpoint": endpoint,
        f"{catalog}.s3.endpoint": endpoint,
        f"{catalog}.s3.path-style-access": "true",
        f"{catalog}.s3.access-key-id": CREDENTIAL,
        f"{catalog}.s3.secret-access-key": CREDENTIAL,
        f"{catalog}.client.region": str(target.region),
        f"{catalog}.cache-enabled": "false",
    }
    environment = (
        os.environ
        | spark.environment()
        | {
            "AWS_ACCESS_KEY_ID": CREDENTIAL,
            "AWS_SECRET_ACCESS_KEY": CREDENTIAL,
            "AWS_REGION": str(target.region),
        }
    )
    log = folder / "spark.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, _SCRIPT, json.dumps(settings), target.database],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            env=environment,
            cwd=folder,
        )
    try:
        yield Spark(process, log)
    finally:
        assert process.stdin is not None
        process.stdin.close()  # which ends it
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()
