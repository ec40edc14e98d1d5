"""A Trino server on the tables of a local stack: the engine of Athena, as far as one is at hand here.

    server = serving(target, say)      # starts it, once: the next command finds it; `lean-ops down` ends it
    columns, rows = server.query("SELECT count(*) FROM curated_events")

It is fetched by its Maven coordinates, half a gigabyte, once for all checkouts, and needs Java 22 or newer.
It listens on the loopback alone, and asks the stack's Glue and S3 for the tables. Its catalog has the name
that Athena gives to Glue's, so that views in it are the same text in both.
"""

import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import urllib3

from common.runtime.errors import InvalidInput
from lean_ops.local.errors import LocalStackError
from lean_ops.local.fetching import CACHE, fetch, from_maven, java
from lean_ops.local.lifeline import FOLDER_VARIABLE
from lean_ops.local.record import LOOPBACK, ProcessRecord
from lean_ops.local.stack import CREDENTIAL
from lean_ops.local.target import LocalTarget

VERSION: Final = "476"
CATALOG: Final = "awsdatacatalog"
HOME: Final = CACHE / f"trino-{VERSION}"
_ARTIFACTS: Final = {
    f"io.trino:trino-server-core:{VERSION}:tar.gz": f"trino-server-core-{VERSION}.tar.gz",
    f"io.trino:trino-iceberg:{VERSION}:zip": f"trino-iceberg-{VERSION}.zip",
}
_LEAST_JAVA: Final = 22
_PATIENCE_S: Final = 600
_FOLDER: Final = "trino"
# They outlive this object; whoever ends them, this process has to collect their exit codes.
_STARTED_HERE: "Final[list[subprocess.Popen[bytes]]]" = []
_RECORD: Final = "trino.json"


def missing() -> str:
    """What this machine lacks to run it, and how to get it; empty for nothing."""
    if java(_LEAST_JAVA) is None:
        return f"Trino {VERSION} needs Java {_LEAST_JAVA} or newer: install one, or name it in JAVA_HOME"
    if not HOME.exists() and shutil.which("mvn") is None:
        return f"Trino {VERSION} is fetched by Maven: install mvn"
    return ""


def install() -> str:
    """Fetch and unpack it, unless it is there; what Maven said where that failed, else nothing."""

    def unpack(fetched: Path) -> Path:
        server, plugin = (fetched / name for name in _ARTIFACTS.values())
        with tarfile.open(server) as archive:
            archive.extractall(fetched, filter="data")
        unpacked = next(path for path in fetched.iterdir() if path.name == f"trino-server-core-{VERSION}")
        with zipfile.ZipFile(plugin) as files:
            files.extractall(unpacked / "plugin")  # noqa: S202 - the publisher's own archive
        return unpacked

    return fetch(HOME, lambda fetched: [from_maven(artifact, fetched) for artifact in _ARTIFACTS], unpack)


class Trino:
    """A server that answers at ``port``."""

    def __init__(self, port: int, database: str) -> None:
        self._http: Final = urllib3.PoolManager()
        self._url: Final = f"http://{LOOPBACK}:{port}"
        self._headers: Final = {
            "X-Trino-User": "lean-ops",
            "X-Trino-Catalog": CATALOG,
            "X-Trino-Schema": database,
            "X-Trino-Time-Zone": "UTC",
            "X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME",  # microseconds and not milliseconds
        }

    def query(self, sql: str, timeout_s: float | None = None) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names and rows, as Python values.

        Raises InvalidInput with what Trino says, and for a query that takes longer than ``timeout_s``.
        Whatever stops the reading, Ctrl-C included, ends the query in the server as well.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        answer = self._ask("POST", f"{self._url}/v1/statement", sql)
        columns: list[dict[str, Any]] = []
        rows: list[tuple[Any, ...]] = []
        try:
            while True:
                if "error" in answer:
                    raise InvalidInput(
                        f"query: expected a statement that Trino can run, found: {answer['error']['message']}"
                    )
                columns = answer.get("columns", columns)
                kinds = [column["type"] for column in columns]
                rows += (
                    tuple(_value(value, kind) for value, kind in zip(row, kinds, strict=True))
                    for row in answer.get("data", [])
                )
                if "nextUri" not in answer:
                    return [column["name"] for column in columns], rows
                if deadline is not None and time.monotonic() > deadline:
                    raise InvalidInput(
                        f"query: expected rows within {timeout_s:g} s, found it running; ask for fewer, or "
                        "give it longer with --timeout"
                    )
                answer = self._ask("GET", answer["nextUri"])
        finally:
            if following := answer.get("nextUri"):
                self._http.request("DELETE", following, headers=self._headers, retries=False)

    def answers(self) -> bool:
        """Whether it has started."""
        try:
            answer = self._http.request("GET", f"{self._url}/v1/info", retries=False)
        except urllib3.exceptions.HTTPError:
            return False
        return answer.status == 200 and json.loads(answer.data)["starting"] is False

    def _ask(self, method: str, url: str, body: str = "") -> dict[str, Any]:
        try:
            answer = self._http.request(method, url, body=body.encode() or None, headers=self._headers)
        except urllib3.exceptions.HTTPError as error:
            raise LocalStackError(
                f"Trino at {self._url}: expected an answer, found none ({type(error).__name__}); "
                "see trino/server.log in the stack's folder, `lean-ops down` and `lean-ops up` start afresh"
            ) from error
        if answer.status != 200:
            raise LocalStackError(
                f"Trino at {self._url}: expected success, found status {answer.status}; see trino/server.log "
                "in the stack's folder"
            )
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


def serving(target: LocalTarget, told: Callable[[str], None]) -> Trino:
    """The server of the stack, which is started unless it runs; ``told`` hears what takes long.

    It changes no table (Iceberg's connector is told so). It serves the stack's folder, like the stack's own
    processes: `lean-ops down` ends it with them. Raises LocalStackError, saying what is missing.
    """
    if target.folder is None:
        raise LocalStackError(
            "Trino: expected a stack in a folder, found one without; start it with `lean-ops up`"
        )
    place = target.folder.resolve() / _FOLDER
    if known := _running(place):
        return Trino(known.port, target.database)
    if lacks := missing():
        raise LocalStackError(
            f"--engine: expected a machine that runs Trino, found one that does not: {lacks}"
        )
    if not HOME.exists():
        told(f"Fetching Trino {VERSION} by Maven (540 MB, once).")
    if said := install():
        raise LocalStackError(f"--engine: expected Trino {VERSION} from Maven, found: {said}")
    told("Starting Trino (until `lean-ops down`; it takes half a minute).")
    place.mkdir(exist_ok=True)
    process, port = _start(target, place, writes=False)
    try:
        server = _started(process, Trino(port, target.database), place)
        known = ProcessRecord(process.pid, str(place.parent), port)
        (place / _RECORD).write_bytes(msgspec.json.encode(known))
        _STARTED_HERE[:] = [*(one for one in _STARTED_HERE if one.poll() is None), process]
    except BaseException:
        process.kill()
        process.wait()
        raise
    return server


def _running(place: Path) -> ProcessRecord | None:
    """What was started here, if it runs still."""
    try:
        known = msgspec.json.decode((place / _RECORD).read_bytes(), type=ProcessRecord)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return known if known.folder == str(place.parent) and known.running() else None


@contextmanager
def running(target: LocalTarget, folder: Path) -> Iterator[Trino]:
    """A server that may also write, gone at the end; ``folder`` is where it keeps its files."""
    process, port = _start(target, folder, writes=True)
    try:
        yield _started(process, Trino(port, target.database), folder)
    finally:
        process.terminate()
        process.wait(60)


def _started(process: "subprocess.Popen[bytes]", server: Trino, folder: Path) -> Trino:
    """The server, once it answers."""
    deadline = time.monotonic() + _PATIENCE_S
    while not server.answers():
        if process.poll() is not None or time.monotonic() > deadline:
            lines = (folder / "server.log").read_text(errors="replace").strip().splitlines()
            raise LocalStackError(
                f"Trino: expected it to start within {_PATIENCE_S} s, found exit code {process.returncode}; "
                f"{folder / 'server.log'} ends with: {lines[-1] if lines else '(nothing)'}"
            )
        time.sleep(0.2)
    return server


def _start(target: LocalTarget, folder: Path, *, writes: bool) -> "tuple[subprocess.Popen[bytes], int]":
    path = java(_LEAST_JAVA)
    if path is None:
        raise LocalStackError(missing())
    port = _free_port()
    endpoint = target.client("s3").meta.endpoint_url
    aws = {"region": str(target.region), "aws-access-key": CREDENTIAL, "aws-secret-key": CREDENTIAL}
    settings: dict[str, dict[str, str]] = {
        "node": {
            "node.environment": "local",
            "node.id": "lean-ops",
            "node.data-dir": str(folder / "data"),
            "node.bind-ip": LOOPBACK,
            "node.internal-address": LOOPBACK,
        },
        "config": {
            "coordinator": "true",
            "node-scheduler.include-coordinator": "true",
            "http-server.http.port": str(port),
            "discovery.uri": f"http://{LOOPBACK}:{port}",
        },
        "log": {"io.trino": "WARN"},
        f"catalog/{CATALOG}": {
            "connector.name": "iceberg",
            "iceberg.catalog.type": "glue",
            **({} if writes else {"iceberg.security": "read-only"}),
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
    environment = os.environ | {
        "JAVA_HOME": str(path.parents[1]),
        "PATH": f"{path.parent}:{os.environ['PATH']}",
    }
    if not writes:
        environment[FOLDER_VARIABLE] = str(folder.parent)
    with (folder / "server.log").open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the launcher that was fetched, and a folder of our own
            [str(HOME / "bin/launcher"), "run", "--etc-dir", str(folder / "etc")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    return process, port


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port
