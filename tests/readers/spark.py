"""Spark with Iceberg's runtime on the tables of a running stack, to be asked by SQL.

It is fetched once for all checkouts, 0.6 GB: pyspark from PyPI into an environment of its own, Iceberg's
runtime and its AWS bundle by their Maven coordinates. It needs Java 17. A session is one process that reads
statements, a line of JSON each, and answers with a line each; ``spark_session.py`` is what it runs.
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

from lean_ops.local.fetching import CACHE, fetch, from_maven, java
from lean_ops.local.stack import CREDENTIAL
from lean_ops.local.target import LocalTarget

VERSION: Final = "3.5.7"
ICEBERG: Final = "1.10.1"
HOME: Final = CACHE / f"spark-{VERSION}"
_PACKAGES: Final = (f"pyspark=={VERSION}", "py4j==0.10.9.7")
_ARTIFACTS: Final = (
    f"org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:{ICEBERG}",
    f"org.apache.iceberg:iceberg-aws-bundle:{ICEBERG}",
)
_SCRIPT: Final = Path(__file__).with_name("spark_session.py")
_JAVA: Final = 17


def missing() -> str:
    """What this machine lacks to run it, and how to get it; empty for nothing."""
    if java(_JAVA, _JAVA) is None:
        return f"Spark {VERSION} needs Java {_JAVA}: install it, or name it in JAVA_HOME"
    if not HOME.exists() and shutil.which("mvn") is None:
        return "Iceberg's runtime for Spark is fetched by Maven: install mvn"
    return ""


def install() -> str:
    """Fetch it, unless it is there; what pip or Maven said where that failed, else nothing."""

    def commands(fetched: Path) -> Iterator[list[str]]:
        python = str(fetched / "environment/bin/python")
        yield [sys.executable, "-m", "venv", str(fetched / "environment")]
        yield [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_PACKAGES]
        yield from (from_maven(one, fetched / "jars") for one in _ARTIFACTS)

    return fetch(HOME, commands)


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
    path = java(_JAVA, _JAVA)
    assert path is not None
    endpoint = target.client("s3").meta.endpoint_url
    catalog = "spark.sql.catalog.lake"
    settings = {
        "spark.jars": ",".join(str(jar) for jar in sorted((HOME / "jars").glob("*.jar"))),
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
    environment = os.environ | {
        "JAVA_HOME": str(path.parents[1]),
        "AWS_ACCESS_KEY_ID": CREDENTIAL,
        "AWS_SECRET_ACCESS_KEY": CREDENTIAL,
        "AWS_REGION": str(target.region),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "TZ": "UTC",  # Python gives moments in its own zone
    }
    log = folder / "spark.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [HOME / "environment/bin/python", _SCRIPT, json.dumps(settings), target.database],
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
