"""The Firehose stand-in: Amazon Data Firehose for Iceberg tables, as far as this project uses it.

A process of its own on loopback, spoken to by any AWS SDK through ``AWS_ENDPOINT_URL_FIREHOSE`` (protocol
JSON 1.1): CreateDeliveryStream, DescribeDeliveryStream, ListDeliveryStreams, DeleteDeliveryStream,
PutRecord, PutRecordBatch. Two paths of its own: ``GET /_health``, and ``POST /_flush``, which delivers what
is buffered without waiting for the buffering hints.

Acknowledged records are in a journal on disk and stream definitions in files beside it, so that neither
``kill -9`` nor a restart loses any. SIGTERM: accept no more, deliver everything, end.

Started by ``lean_ops.local.stack`` as ``python -m lean_ops.local.firehose <port> <folder>``.
"""

import itertools
import json
import logging
import os
import re
import signal
import sys
import threading
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any, TypeVar

import boto3
import msgspec

from common.lake.catalog import lake_catalog
from lean_ops.local import lifeline
from lean_ops.local.delivery import DeliveryStream, Services, StreamDefinition

# Amazon Data Firehose API reference, PutRecordBatch and Amazon Data Firehose quotas.
MAX_BATCH_RECORDS = 500
MAX_BATCH_BYTES = 4 * 2**20
MAX_RECORD_BYTES = 1000 * 2**10

_DEFINITION = "definition.json"
_CHECK_S = 0.05
_STREAM_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")

_Body = TypeVar("_Body")

_log = logging.getLogger("firehose")


class ApiError(Exception):
    """An error of the Firehose API: exception name, message, HTTP status."""

    def __init__(self, name: str, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.name = name
        self.status = status


class Record(msgspec.Struct, frozen=True, rename="pascal"):
    """One record of a put request, its base64 already decoded."""

    data: bytes


class PutRecord(msgspec.Struct, frozen=True, rename="pascal"):
    """Body of PutRecord."""

    delivery_stream_name: str
    record: Record


class PutRecordBatch(msgspec.Struct, frozen=True, rename="pascal"):
    """Body of PutRecordBatch."""

    delivery_stream_name: str
    records: Annotated[list[Record], msgspec.Meta(min_length=1)]


class Firehose:
    """The delivery streams in ``folder``, and the operations of the API on them."""

    def __init__(self, folder: Path, services: Services, region: str, account: str) -> None:
        self._folder = folder
        self._services = services
        self._arn_prefix = f"arn:aws:firehose:{region}:{account}:deliverystream/"
        self._record_ids = itertools.count(1)
        self._streams: dict[str, DeliveryStream] = {}
        self._failures: dict[str, str] = {}
        self._changing = threading.Lock()
        self._damaged: dict[str, str] = {}
        for path in sorted(folder.glob(f"*/{_DEFINITION}")):
            self._restore(path)

    def call(self, operation: str, body: bytes) -> dict[str, Any]:
        """Answer one request of the API; raises ApiError."""
        match operation:
            case "CreateDeliveryStream":
                return self.create_delivery_stream(body)
            case "DescribeDeliveryStream":
                return self.describe_delivery_stream(body)
            case "ListDeliveryStreams":
                return self.list_delivery_streams(body)
            case "DeleteDeliveryStream":
                return self.delete_delivery_stream(body)
            case "PutRecord":
                return self.put_record(body)
            case "PutRecordBatch":
                return self.put_record_batch(body)
            case _:
                raise ApiError("UnknownOperationException", f"No operation {operation!r} here.")

    def create_delivery_stream(self, body: bytes) -> dict[str, Any]:
        """Create a stream with an Iceberg destination; it is there at once, and after a restart."""
        request = _decode(body, dict[str, Any])
        name = request.get("DeliveryStreamName", "")
        if not _STREAM_NAME.fullmatch(name):
            raise ApiError("InvalidArgumentException", f"DeliveryStreamName {name!r} is not a stream name.")
        if "IcebergDestinationConfiguration" not in request:
            raise ApiError(
                "InvalidArgumentException", "This stand-in knows IcebergDestinationConfiguration only."
            )
        with self._changing:
            if name in self._streams:
                raise ApiError("ResourceInUseException", f"Firehose {name} already exists.")
            path = self._folder / name / _DEFINITION
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".new")
            draft.write_text(json.dumps(request, indent=2))
            draft.replace(path)
            self._damaged.pop(name, None)
            return {"DeliveryStreamARN": self._open(request).definition.arn}

    def describe_delivery_stream(self, body: bytes) -> dict[str, Any]:
        """Describe one stream."""
        definition = self._stream(_decode(body, dict[str, Any]).get("DeliveryStreamName", "")).definition
        description = {
            "DeliveryStreamName": definition.name,
            "DeliveryStreamARN": definition.arn,
            "DeliveryStreamStatus": "ACTIVE",
            "DeliveryStreamType": "DirectPut",
            "VersionId": "1",
            "HasMoreDestinations": False,
            "Destinations": [
                {
                    "DestinationId": "destinationId-000000000001",
                    "IcebergDestinationDescription": definition.destination_configuration,
                }
            ],
        }
        return {"DeliveryStreamDescription": description}

    def list_delivery_streams(self, body: bytes) -> dict[str, Any]:
        """Stream names in order, ``Limit`` (default 10) after ``ExclusiveStartDeliveryStreamName``."""
        request = _decode(body, dict[str, Any])
        after = request.get("ExclusiveStartDeliveryStreamName", "")
        names = [name for name in sorted(self._streams) if name > after]
        limit = request.get("Limit", 10)
        return {"DeliveryStreamNames": names[:limit], "HasMoreDeliveryStreams": len(names) > limit}

    def delete_delivery_stream(self, body: bytes) -> dict[str, Any]:
        """Delete a stream and, as Firehose does, whatever it has not delivered."""
        stream = self._stream(_decode(body, dict[str, Any]).get("DeliveryStreamName", ""))
        with self._changing:
            del self._streams[stream.definition.name]
            stream.destroy()
        return {}

    def put_record(self, body: bytes) -> dict[str, Any]:
        """Accept one record."""
        request = _decode(body, PutRecord)
        if not self._accept(request.delivery_stream_name, [request.record.data]):
            raise ApiError("ServiceUnavailableException", "Slow down.", HTTPStatus.SERVICE_UNAVAILABLE)
        return {"RecordId": self._record_id(), "Encrypted": False}

    def put_record_batch(self, body: bytes) -> dict[str, Any]:
        """Accept up to 500 records, 4 MiB; the outcome of each is in ``RequestResponses``, by index."""
        request = _decode(body, PutRecordBatch)
        records = [record.data for record in request.records]
        if len(records) > MAX_BATCH_RECORDS or sum(map(len, records)) > MAX_BATCH_BYTES:
            raise ApiError(
                "InvalidArgumentException",
                f"A batch holds {MAX_BATCH_RECORDS} records and {MAX_BATCH_BYTES} bytes at most.",
            )
        if self._accept(request.delivery_stream_name, records):
            responses = [{"RecordId": self._record_id()} for _ in records]
            return {"FailedPutCount": 0, "Encrypted": False, "RequestResponses": responses}
        refused = {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
        return {
            "FailedPutCount": len(records),
            "Encrypted": False,
            "RequestResponses": [refused] * len(records),
        }

    def health(self) -> dict[str, Any]:
        """Every stream with its backlog (bytes), what its last delivery failed of, and its counts."""
        streams = {
            name: {
                "backlog_bytes": stream.backlog_bytes,
                "overdue_s": stream.overdue_s,
                "failure": self._failures.get(name, ""),
                **asdict(stream.counts),
            }
            for name, stream in sorted(self._streams.items())
        }
        return {"status": "ok", "streams": streams, "damaged": self._damaged}

    def flush(self, *, only_due: bool = False) -> dict[str, str]:
        """Deliver what is buffered; gives, by stream, what kept a delivery from succeeding."""
        failures = {}
        for name, stream in list(self._streams.items()):
            if only_due and not stream.due():
                continue
            try:
                stream.flush()
            except Exception as error:  # whatever it was, the records are kept and tried again
                _log.exception("%s: delivery failed, will be tried again", name)
                failures[name] = f"{type(error).__name__}: {error}"
            else:
                self._failures.pop(name, None)
        self._failures |= failures
        return failures

    def close(self) -> None:
        """Close the journals; what is undelivered stays in them."""
        for stream in self._streams.values():
            stream.close()

    def _restore(self, path: Path) -> None:
        """Open a stream of an earlier process; one that cannot be read keeps no other from being there.

        Its journal stays, and is delivered once a stream of its name is created again.
        """
        try:
            self._open(json.loads(path.read_bytes()))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self._damaged[path.parent.name] = f"{path}: {type(error).__name__}"
            _log.error(
                "%s: expected the definition of a stream, found something else (%s); create the stream "
                "again (`lean-ops up` does), its journal is kept",
                path,
                type(error).__name__,
            )

    def _open(self, request: dict[str, Any]) -> DeliveryStream:
        name = request["DeliveryStreamName"]
        definition = StreamDefinition(
            name, self._arn_prefix + name, request["IcebergDestinationConfiguration"]
        )
        self._streams[name] = DeliveryStream(definition, self._folder / name, self._services)
        return self._streams[name]

    def _stream(self, name: str) -> DeliveryStream:
        stream = self._streams.get(name)
        if stream is None:
            raise ApiError("ResourceNotFoundException", f"Firehose {name} not found.")
        return stream

    def _accept(self, stream_name: str, records: list[bytes]) -> bool:
        stream = self._stream(stream_name)
        if max(map(len, records)) > MAX_RECORD_BYTES:
            raise ApiError("InvalidArgumentException", f"A record holds {MAX_RECORD_BYTES} bytes at most.")
        try:
            return stream.accept(records)
        except OSError as error:
            raise ApiError(
                "InternalFailure",
                f"journal of {stream_name}: expected to write, found {error.strerror}; free some disk",
                HTTPStatus.INTERNAL_SERVER_ERROR,
            ) from error

    def _record_id(self) -> str:
        return f"{next(self._record_ids):056d}"


def _decode(body: bytes, kind: type[_Body]) -> _Body:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise ApiError("SerializationException", str(error)) from error


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, firehose: Firehose) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.firehose = firehose


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Be silent: what matters is logged where it happens."""

    def do_GET(self) -> None:
        """``/_health``."""
        self._answer(HTTPStatus.OK, self.server.firehose.health())

    def do_POST(self) -> None:
        """An operation of the API, or ``/_flush``."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        firehose = self.server.firehose
        if self.path == "/_flush":
            failures = firehose.flush()
            status = HTTPStatus.SERVICE_UNAVAILABLE if failures else HTTPStatus.OK
            self._answer(status, {"failures": failures, **firehose.health()})
            return
        name = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        try:
            self._answer(HTTPStatus.OK, firehose.call(name, body))
        except ApiError as error:
            self._answer(error.status, {"__type": error.name, "message": str(error)})

    def _answer(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        content = msgspec.json.encode(body)
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def serve(port: int, folder: Path) -> None:
    """Serve until SIGTERM, then deliver what is buffered."""
    services = Services(lake_catalog(), boto3.client("s3"), boto3.client("lambda"))
    firehose = Firehose(folder, services, os.environ["AWS_REGION"], os.environ["MINISTACK_ACCOUNT_ID"])
    stopping = threading.Event()

    def flush_when_due() -> None:
        while not stopping.wait(_CHECK_S):
            firehose.flush(only_due=True)

    with _Server(port, firehose) as server:
        # shutdown() waits for the loop that this handler interrupts, hence the thread.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        flusher = threading.Thread(target=flush_when_due, name="flusher")
        flusher.start()
        server.serve_forever(poll_interval=_CHECK_S)
        stopping.set()
        flusher.join()
    failures = firehose.flush()
    firehose.close()
    if failures:
        _log.warning("ended with undelivered records, kept in the journal: %s", ", ".join(failures))


def main() -> None:
    """Entry point of the process."""
    lifeline.hold(os.environ)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    serve(int(sys.argv[1]), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
