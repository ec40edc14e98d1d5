"""A Trino server for the tables of a running stack: the engine of Athena, as far as one is at hand here.

It is fetched by its Maven coordinates, half a gigabyte, once for all checkouts, and needs Java 22 or newer.
It listens on the loopback alone, and asks the stack's Glue and S3 for the tables.
"""

import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import urllib3

from lean_ops.local.stack import CREDENTIAL
from lean_ops.local.target import LocalTarget

VERSION: Final = "476"
HOME: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / f"lean-ops/trino-{VERSION}"
_ARTIFACTS: Final = {
    f"io.trino:trino-server-core:{VERSION}:tar.gz": f"trino-server-core-{VERSION}.tar.gz",
    f"io.trino:trino-iceberg:{VERSION}:zip": f"trino-iceberg-{VERSION}.zip",
}
_LEAST_JAVA: Final = 22
_PATIENCE_S: Final = 600
_JAVAS: Final = ("/usr/lib/jvm/*/bin/java", "/opt/*/bin/java")


def java() -> Path | None:
    """A Java that is new enough: JAVA_HOME's, the one in PATH, or one where Debian puts them."""
    named = [Path(os.environ["JAVA_HOME"]) / "bin/java"] if "JAVA_HOME" in os.environ else []
    found = shutil.which("java")
    there = [path for pattern in _JAVAS for path in sorted(Path("/").glob(pattern[1:]), reverse=True)]
    for path in [*named, *([Path(found)] if found else []), *there]:
        if path.exists() and _version(path) >= _LEAST_JAVA:
            return path
    return None


def _version(path: Path) -> int:
    said = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stderr
    number = said.partition('version "')[2].partition(".")[0].strip('"\n')
    return int(number) if number.isdigit() else 0


def missing() -> str:
    """What this machine lacks to run it, and how to get it; empty for nothing."""
    if java() is None:
        return f"Trino {VERSION} needs Java {_LEAST_JAVA} or newer: install one, or name it in JAVA_HOME"
    if not HOME.exists() and shutil.which("mvn") is None:
        return f"Trino {VERSION} is fetched by Maven: install mvn"
    return ""


def install() -> str:
    """Fetch and unpack it, unless it is there; what Maven said where that failed, else nothing."""
    if HOME.exists():
        return ""
    fetched = HOME.with_name(f"{HOME.name}.{os.getpid()}")
    for artifact in _ARTIFACTS:
        copy = ["dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={fetched / 'fetched'}"]
        done = subprocess.run(
            ["mvn", "--batch-mode", "--quiet", *copy], capture_output=True, text=True, check=False
        )
        if done.returncode:
            shutil.rmtree(fetched, ignore_errors=True)
            return f"Maven could not fetch {artifact}: {done.stdout[-500:]}"
    server, plugin = (fetched / "fetched" / name for name in _ARTIFACTS.values())
    with tarfile.open(server) as archive:
        archive.extractall(fetched, filter="data")
    unpacked = next(path for path in fetched.iterdir() if path.name.startswith("trino-server-core"))
    with zipfile.ZipFile(plugin) as files:
        files.extractall(unpacked / "plugin")  # noqa: S202 - the publisher's own archive
    HOME.parent.mkdir(parents=True, exist_ok=True)
    try:
        unpacked.rename(HOME)
    except OSError:  # somebody else was first
        if not HOME.exists():
            raise
    shutil.rmtree(fetched, ignore_errors=True)
    return ""


class Trino:
    """A server that answers at ``port``."""

    def __init__(self, port: int, database: str) -> None:
        self._http: Final = urllib3.PoolManager()
        self._url: Final = f"http://127.0.0.1:{port}"
        self._headers: Final = {
            "X-Trino-User": "lean-ops",
            "X-Trino-Catalog": "lake",
            "X-Trino-Schema": database,
            "X-Trino-Time-Zone": "UTC",
            "X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME",  # microseconds and not milliseconds
        }

    def query(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names and rows, as Python values; raises AssertionError with what Trino says."""
        answer = self._ask("POST", f"{self._url}/v1/statement", sql)
        columns: list[dict[str, Any]] = []
        rows: list[tuple[Any, ...]] = []
        while True:
            assert "error" not in answer, f"{answer['error']['message']} in {sql}"
            columns = answer.get("columns", columns)
            kinds = [column["type"] for column in columns]
            rows += (
                tuple(_value(value, kind) for value, kind in zip(row, kinds, strict=True))
                for row in answer.get("data", [])
            )
            if "nextUri" not in answer:
                return [column["name"] for column in columns], rows
            answer = self._ask("GET", answer["nextUri"])

    def answers(self) -> bool:
        """Whether it has started."""
        try:
            answer = self._http.request("GET", f"{self._url}/v1/info", retries=False)
        except urllib3.exceptions.HTTPError:
            return False
        return answer.status == 200 and json.loads(answer.data)["starting"] is False

    def _ask(self, method: str, url: str, body: str = "") -> dict[str, Any]:
        answer = self._http.request(method, url, body=body.encode() or None, headers=self._headers)
        assert answer.status == 200, answer.data
        found: dict[str, Any] = json.loads(answer.data)
        return found


def _value(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind.startswith("timestamp"):
        return datetime.fromisoformat(value.replace(" UTC", "+00:00"))
    if kind == "date":
        return date.fromisoformat(value)
    if kind.startswith("decimal"):
        return Decimal(value)
    return value


@contextmanager
def running(target: LocalTarget, folder: Path) -> Iterator[Trino]:
    """A server on the tables of the stack, gone at the end; ``folder`` is where it writes."""
    path = java()
    assert path is not None
    port = _free_port()
    endpoint = target.client("s3").meta.endpoint_url
    aws = {"region": str(target.region), "aws-access-key": CREDENTIAL, "aws-secret-key": CREDENTIAL}
    settings: dict[str, dict[str, str]] = {
        "node": {
            "node.environment": "tests",
            "node.id": folder.name,
            "node.data-dir": str(folder / "data"),
            "node.bind-ip": "127.0.0.1",
            "node.internal-address": "127.0.0.1",
        },
        "config": {
            "coordinator": "true",
            "node-scheduler.include-coordinator": "true",
            "http-server.http.port": str(port),
            "discovery.uri": f"http://127.0.0.1:{port}",
        },
        "log": {"io.trino": "WARN"},
        "catalog/lake": {
            "connector.name": "iceberg",
            "iceberg.catalog.type": "glue",
            "hive.metastore.glue.endpoint-url": endpoint,
            "fs.native-s3.enabled": "true",
            "s3.endpoint": endpoint,
            "s3.path-style-access": "true",
            **{f"hive.metastore.glue.{name}": value for name, value in aws.items()},
            **{f"s3.{name}": value for name, value in aws.items()},
        },
    }
    for name, lines in settings.items():
        file = folder / "etc" / f"{name}.properties"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
    (folder / "etc/jvm.config").write_text("-Xmx2G\n-XX:+UseSerialGC\n-XX:TieredStopAtLevel=1\n")
    log = folder / "server.log"
    command = [str(HOME / "bin/launcher"), "run", "--etc-dir", str(folder / "etc")]
    environment = os.environ | {
        "JAVA_HOME": str(path.parents[1]),
        "PATH": f"{path.parent}:{os.environ['PATH']}",
    }
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        trino = Trino(port, target.database)
        deadline = time.monotonic() + _PATIENCE_S
        while not trino.answers():
            assert server.poll() is None, log.read_text(errors="replace")[-2_000:]
            assert time.monotonic() < deadline, f"Trino did not start in {_PATIENCE_S} s"
            time.sleep(0.2)
        yield trino
    finally:
        server.terminate()
        server.wait(60)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
