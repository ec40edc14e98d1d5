"""Writes down every call of a function, command or job on Spark, and can make one the last of its process.

It is on the PYTHONPATH of a local stack, for tests.

Python imports a module of this name as it starts. Where ``RECORDED_CALLS`` names a folder, each call of the
SDK and each file that the Iceberg library opens becomes a line of ``<folder>/<process>.ndjson``: function,
service, call, and what its request says about the resource.

Where there is a file ``<folder>/last``, ``{"function", "number", "when"}``, the process of that function is
killed (``kill -9``) before or after the call of that number, counted from when the file was there. It becomes
``last.met`` when the call comes, and ``last.killed`` right before the end. A call that is answered with an
error is done as well, and a file that is written when it is closed.
"""

import json
import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

FOLDER = os.environ.get("RECORDED_CALLS")
# Driver and workers of a job on Spark have no function's name; a command has the one that its test gives it.
JOB = os.environ.get("RECORDED_AS") or ("spark-job" if "SPARK_HOME" in os.environ else None)
# What identifies the resource of a call; anything else of a request is nobody's business.
NAMES = {
    "Bucket", "CatalogId", "DatabaseName", "DeliveryStreamName", "EventSourceMapping", "EventSourceArn",
    "FunctionName", "Key", "Name", "Prefix", "QueueUrl", "RequestItems", "SecretId", "TableName", "UUID",
    "executionArn", "stateMachineArn", "TopicArn",
}  # fmt: skip


def record(service: str, call: str, request: dict[str, Any]) -> None:
    function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", JOB)
    if function is None or FOLDER is None:
        return
    named = {name: value for name, value in request.items() if name in NAMES}
    if "TableInput" in request:
        named["Name"] = request["TableInput"]["Name"]
    if "checkpoint_id" in request.get("Item", {}):
        named["Key"] = {"checkpoint_id": request["Item"]["checkpoint_id"]}
    line = json.dumps({"function": function, "service": service, "call": call, "request": named}, default=str)
    with (Path(FOLDER) / f"{os.getpid()}.ndjson").open("a") as file:
        file.write(line + "\n")


_COUNTED: Counter[str] = Counter()
_COUNTING = threading.Lock()


def fate() -> str:
    """When the process ends at the call that it is about to make: "before" it, "after" it, or not ("")."""
    if FOLDER is None:
        return ""
    plan = Path(FOLDER) / "last"
    with _COUNTING:
        try:
            text = plan.read_text()
            asked = json.loads(text)
            if asked["function"] != os.environ.get("AWS_LAMBDA_FUNCTION_NAME", JOB):
                return ""
            _COUNTED[text] += 1
            if _COUNTED[text] != asked["number"]:
                return ""
            plan.rename(plan.with_suffix(".met"))  # one process of several gets it
        except FileNotFoundError:
            return ""
        return str(asked["when"])


def die() -> None:
    """Be gone, as with a machine that is switched off."""
    plan = Path(str(FOLDER)) / "last.met"
    plan.rename(plan.with_suffix(".killed"))
    os.kill(os.getpid(), signal.SIGKILL)


class LastFile:
    """A file that is written: its process ends when it is closed."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "LastFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        die()


def watch_sdk() -> None:
    from botocore.client import BaseClient

    make = BaseClient._make_api_call  # type: ignore[attr-defined] # what every call goes through

    def made(self: Any, operation: str, request: dict[str, Any]) -> Any:
        record(self.meta.service_model.service_id, operation, request)
        ends = fate()
        if ends == "before":
            die()
        try:
            return make(self, operation, request)
        finally:
            if ends == "after":
                die()

    BaseClient._make_api_call = made  # type: ignore[attr-defined] # as above


def watch_files() -> None:
    from pyiceberg.io import pyarrow as files

    def watched(kind: Any, name: str, call: str) -> None:
        original = getattr(kind, name)

        def wrapped(self: Any, *arguments: Any, **options: Any) -> Any:
            location = str(arguments[0]) if kind is files.PyArrowFileIO else self.location
            bucket, _, key = location.removeprefix("s3://").partition("/")
            record("S3", call, {"Bucket": bucket, "Key": key})
            ends = fate()
            if ends == "before":
                die()
            if ends == "after" and call == "PutObject":
                return LastFile(original(self, *arguments, **options))
            try:
                return original(self, *arguments, **options)
            finally:
                if ends == "after":
                    die()

        setattr(kind, name, wrapped)

    watched(files.PyArrowFile, "open", "GetObject")
    watched(files.PyArrowFile, "exists", "HeadObject")
    watched(files.PyArrowFile, "create", "PutObject")
    watched(files.PyArrowFileIO, "delete", "DeleteObject")


def watch_ranges() -> None:
    """What is read of objects without the SDK's client or Arrow's (``common.lake.gets``), path-style."""
    import urllib3

    ask = urllib3.PoolManager.request

    def asked(self: Any, method: str, url: str, **options: Any) -> Any:
        if "/s3/aws4_request" in (options.get("headers") or {}).get("Authorization", ""):
            bucket, _, key = unquote(urlsplit(url).path).removeprefix("/").partition("/")
            record("S3", "GetObject", {"Bucket": bucket, "Key": key})
            ends = fate()
            if ends == "before":
                die()
            try:
                return ask(self, method, url, **options)
            finally:
                if ends == "after":
                    die()
        return ask(self, method, url, **options)

    urllib3.PoolManager.request = asked  # type: ignore[method-assign,assignment] # as above


if FOLDER is not None and (JOB or "AWS_LAMBDA_FUNCTION_NAME" in os.environ):
    watch_sdk()
    watch_files()
    watch_ranges()
