"""Spark on this machine: what the jobs of ``modules/compute/lambda/spark`` run on, as far as it is at hand.

pyspark is fetched from PyPI, 0.3 GB, once for all checkouts, and needs Java 17. It is laid beside this
project's environment, not into it: nothing but a Spark job imports it. No jar is fetched: tables are read and
written by the project's own code.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from lean_ops.local.trino import java

VERSION: Final = "3.5.7"
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lean-ops"
HOME: Final = CACHE / f"pyspark-{VERSION}"
"""Where pyspark is, as a folder of packages."""
_PACKAGES: Final = (
    f"pyspark=={VERSION} --hash=sha256:80e36514e0c5c126d35a26adf4f405cd4a69de96a8ea8a3c1e9a65fce2fb4eaa",
    "py4j==0.10.9.7 --hash=sha256:85defdfd2b2376eb3abf5ca6474b51ab7e0de341c75a02f46dc9b5976f5a5c1b",
)
_JAVA: Final = 17


def missing() -> str:
    """What this machine lacks to run it, and how to get it; empty for nothing."""
    if java(_JAVA, _JAVA) is None:
        return f"Spark {VERSION} needs Java {_JAVA}: install it, or name it in JAVA_HOME"
    return ""


def install() -> str:
    """Fetch it, unless it is there; what pip said where that failed, else nothing."""
    if HOME.exists():
        return ""
    fetched = HOME.with_name(f"{HOME.name}.{os.getpid()}")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("\n".join(_PACKAGES))
        listed.flush()
        done = subprocess.run(  # noqa: S603 - arguments of our own, no shell
            [*pip, "--require-hashes", "--target", str(fetched), "--requirement", listed.name],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        shutil.rmtree(fetched, ignore_errors=True)
        return f"pip could not fetch Spark {VERSION}: {(done.stdout + done.stderr)[-500:]}"
    try:
        fetched.rename(HOME)
    except OSError:  # somebody else was first
        if not HOME.exists():
            raise
        shutil.rmtree(fetched, ignore_errors=True)
    return ""


def environment(*more: Path) -> dict[str, str]:
    """What a process needs to import pyspark and start it; ``more``: folders to import from as well."""
    path = java(_JAVA, _JAVA)
    packages = os.pathsep.join(map(str, (*more, HOME)))
    return {
        "JAVA_HOME": str(path.parents[1]) if path is not None else "",
        "SPARK_HOME": str(HOME / "pyspark"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYTHONPATH": packages,
        "TZ": "UTC",
    }


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
