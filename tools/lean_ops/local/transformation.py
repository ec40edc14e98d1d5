"""A stream's transformation function: what is sent to it, and what its answer means.

Request and reply are those of Firehose (Amazon Data Firehose developer guide, "Transform source data" and
"Route records to different Iceberg tables"): every recordId comes back once, with ``result`` Ok, Dropped or
ProcessingFailed; ``metadata.otfMetadata`` names the destination table.
"""

import base64
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from lean_ops.local.error_objects import Undelivered
from lean_ops.local.journal import Arrival

if TYPE_CHECKING:
    from types_boto3_lambda.client import LambdaClient

# A request of Firehose holds 3 MB at most, so that base64 stays within Lambda's 6 MB.
MAX_REQUEST_BYTES = 3 * 1000 * 1000
MAX_ATTEMPTS = 4  # the first and three more, Firehose's default


@dataclass(frozen=True, order=True)
class Destination:
    """A table of the catalog."""

    database: str
    table: str


@dataclass
class Routed:
    """Records by destination table (each as it arrived, and what to write), and the refused ones."""

    records: dict[Destination, list[tuple[Arrival, bytes]]] = field(default_factory=dict)
    undelivered: list[Undelivered] = field(default_factory=list)

    def add(self, destination: Destination | None, arrival: Arrival, data: bytes) -> None:
        """Route one record; without a destination it is undelivered."""
        if destination is None:
            self._fail(arrival, "Iceberg.InvalidTableName", "the record names no destination table")
        else:
            self.records.setdefault(destination, []).append((arrival, data))

    def add_reply(self, reply: Any, sent: Sequence[Arrival], default: Destination | None) -> None:
        """Route the records of one request by the function's reply; ``recordId`` is the index in ``sent``."""
        try:
            results = {result["recordId"]: result for result in reply["records"]}
        except (TypeError, KeyError):
            results = {}
        for index, arrival in enumerate(sent):
            match results.get(str(index)):
                case {"result": "Dropped"}:
                    continue
                case {"result": "Ok", "data": str(data), **rest}:
                    try:
                        self.add(
                            _destination(rest) or default, arrival, base64.b64decode(data, validate=True)
                        )
                    except ValueError as error:  # binascii.Error is one; not ASCII is another
                        self._fail(arrival, "Lambda.InvalidData", f"data is not base64: {error}")
                case {"result": "ProcessingFailed"}:
                    self._fail(
                        arrival, "Lambda.ProcessingFailedStatus", "the function answered ProcessingFailed"
                    )
                case None:
                    self._fail(
                        arrival, "Lambda.MissingRecordId", "the function answered without this recordId"
                    )
                case other:
                    self._fail(
                        arrival, "Lambda.InvalidResult", f"the function answered {json.dumps(other)[:200]}"
                    )

    def _fail(self, arrival: Arrival, code: str, message: str) -> None:
        self.undelivered.append(Undelivered("processing-failed", arrival, code, message))


def transform(
    client: "LambdaClient",
    function_arn: str,
    stream_arn: str,
    arrivals: Sequence[Arrival],
    default: Destination | None,
) -> Routed:
    """Send all records through the function; a request that keeps failing makes its records undelivered."""
    routed = Routed()
    for sent in _requests(arrivals):
        event = {
            "invocationId": str(uuid.uuid4()),
            "deliveryStreamArn": stream_arn,
            "region": stream_arn.split(":")[3],
            "records": [
                {
                    "recordId": str(index),
                    "approximateArrivalTimestamp": arrival.arrived_ms,
                    "data": base64.b64encode(arrival.data).decode(),
                }
                for index, arrival in enumerate(sent)
            ],
        }
        reply, error = _invoke(client, function_arn, json.dumps(event).encode())
        if error:
            routed.undelivered += [
                Undelivered("processing-failed", arrival, "Lambda.FunctionError", error, MAX_ATTEMPTS)
                for arrival in sent
            ]
        else:
            routed.add_reply(reply, sent, default)
    return routed


def _requests(arrivals: Sequence[Arrival]) -> Iterator[list[Arrival]]:
    request: list[Arrival] = []
    size = 0
    for arrival in arrivals:
        if request and size + len(arrival.data) > MAX_REQUEST_BYTES:
            yield request
            request, size = [], 0
        request.append(arrival)
        size += len(arrival.data)
    if request:
        yield request


def _invoke(client: "LambdaClient", function_arn: str, payload: bytes) -> tuple[Any, str]:
    """The function's reply, or what the last attempt failed with."""
    error = ""
    for _ in range(MAX_ATTEMPTS):
        try:
            response = client.invoke(FunctionName=function_arn, Payload=payload)
            body = response["Payload"].read()
            if "FunctionError" not in response:
                return json.loads(body), ""
            error = body.decode(errors="replace")
        except (BotoCoreError, ClientError, ValueError, RecursionError) as failure:
            error = str(failure)
    return None, error


def _destination(result: Mapping[Any, Any]) -> Destination | None:
    match result.get("metadata"):
        case {"otfMetadata": {"destinationDatabaseName": str(database), "destinationTableName": str(table)}}:
            return Destination(database, table)
        case _:
            return None
