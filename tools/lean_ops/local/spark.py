"""Spark on this machine: what the jobs of ``modules/compute/lambda/spark`` run on, as far as it is at hand.

pyspark is fetched from PyPI, 0.5 GB, once for all checkouts, and needs Java 17. It is laid beside this
project's environment, not into it: nothing but a Spark job imports it. No jar is fetched: tables are read and
written by the project's own code.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lean_ops.environment.repository import LAMBDA_CODE
from lean_ops.local.errors import LocalStackError
from lean_ops.local.fetching import CACHE, fetch, java

if TYPE_CHECKING:
    from spark.cluster import Cluster

VERSION: Final = "4.1.1"
HOME: Final = CACHE / f"pyspark-{VERSION}"
"""Where pyspark is, as a folder of packages."""
_PACKAGES: Final = (
    f"pyspark=={VERSION} --hash=sha256:77f78984aa84fbe865c717dd37b49913b4e5c97d76ef6824f932f1aefa6621ec",
    "py4j==0.10.9.9 --hash=sha256:c7c26e4158defb37b0bb124933163641a2ff6e3a3913f7811b0ddbe07ed61533",
)
_JAVA: Final = 17


def missing() -> str:
    """What this machine lacks to run it, and how to get it; empty for nothing."""
    if java(_JAVA, _JAVA) is None:
        return f"Spark {VERSION} needs Java {_JAVA}: install it, or name it in JAVA_HOME"
    return ""


def at_hand() -> bool:
    """Whether it could be started now, with nothing to be fetched."""
    return HOME.exists() and not missing()


def install() -> str:
    """Fetch it, unless it is there; what pip said where that failed, else nothing."""

    def commands(fetched: Path) -> Iterator[list[str]]:
        listed = fetched / "requirements.txt"
        listed.write_text("\n".join(_PACKAGES))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        yield [*pip, "--require-hashes", "--target", str(fetched), "--requirement", str(listed)]

    return fetch(HOME, commands)


def environment(*more: Path) -> dict[str, str]:
    """What a process needs to import pyspark and start it; ``more``: folders to import from as well."""
    path = java(_JAVA, _JAVA)
    before = filter(None, [os.environ.get("PYTHONPATH")])
    packages = os.pathsep.join([*map(str, (*more, HOME)), *before])
    return {
        "JAVA_HOME": str(path.parents[1]) if path is not None else "",
        "SPARK_HOME": str(HOME / "pyspark"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYTHONPATH": packages,
        "TZ": "UTC",  # Python gives moments in its own zone
    }


@contextmanager
def cluster(name: str) -> "Iterator[Cluster]":
    """Spark on the cores of this machine, for a command that works in this process; ended at the end.

    Raises LocalStackError with what is missing.
    """
    if lacks := missing() or install():
        raise LocalStackError(
            f"--engine spark: expected Spark {VERSION} on this machine, found none: {lacks}"
        )
    with _surroundings(), tempfile.TemporaryDirectory(prefix="spark-") as folder:
        if str(HOME) not in sys.path:
            sys.path.append(str(HOME))
        from pyspark import SparkConf, SparkContext  # noqa: PLC0415 - it is there from here on

        from spark.cluster import Cluster  # noqa: PLC0415 - imports pyspark

        conf = SparkConf().setMaster(f"local[{os.cpu_count() or 1},4]").setAppName(name)
        conf.setAll([*settings(Path(folder)).items(), ("spark.ui.showConsoleProgress", "false")])
        running = SparkContext(conf=conf)
        running.setLogLevel("ERROR")
        try:
            yield Cluster(running)
        finally:
            running.stop()


@contextmanager
def _surroundings() -> Iterator[None]:
    """This process has what a driver needs, and is as it was afterwards: what it starts then is no driver."""
    wanted = environment(LAMBDA_CODE)
    before = {variable: os.environ.get(variable) for variable in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for variable, value in before.items():
            if value is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = value


def settings(folder: Path) -> dict[str, str]:
    """Settings of a context on this machine: it listens on the loopback and writes below ``folder``."""
    return {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.ui.enabled": "false",
        "spark.local.dir": str(folder),
        "spark.python.daemon.module": "spark.daemon",
    }
