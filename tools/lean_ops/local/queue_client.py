"""A light SQS client for the local stack: the one call that senders make, without the SDK around it.

The SDK spends over a millisecond of processor time on a call of ten messages (signing, checking, parsing),
which on a laptop is more than sqs_processor and Firehose together take for them. The emulator checks no
signature, so a plain request does. It speaks the AWS JSON 1.0 protocol of Amazon SQS.
"""

import http.client
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import msgspec
from botocore.exceptions import ClientError, EndpointConnectionError

if TYPE_CHECKING:
    from types_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef, SendMessageBatchResultTypeDef

_TIMEOUT_S = 60


class LocalQueueClient:
    """Sends message batches to the emulator at ``endpoint``; every thread keeps a connection of its own."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._address = urlparse(endpoint).netloc
        self._threads = threading.local()
        self._opened: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        """Close the connections of all threads; the client opens new ones if it is used again."""
        while self._opened:
            self._opened.pop().close()
        self._threads = threading.local()

    def send_message_batch(
        self,
        *,
        QueueUrl: str,  # noqa: N803 - the name that boto3 gives it
        Entries: "Sequence[SendMessageBatchRequestEntryTypeDef]",  # noqa: N803
    ) -> "SendMessageBatchResultTypeDef":
        """As boto3's; raises ClientError and EndpointConnectionError as boto3 does."""
        body = msgspec.json.encode({"QueueUrl": QueueUrl, "Entries": Entries})
        status, answer = self._post("AmazonSQS.SendMessageBatch", body)
        document: dict[str, Any] = msgspec.json.decode(answer)
        if status != http.client.OK:
            code = str(document.get("__type", status)).rpartition("#")[2]
            message = str(document.get("message", ""))
            raise ClientError({"Error": {"Code": code, "Message": message}}, "SendMessageBatch")
        return document  # type: ignore[return-value] # the protocol's document is what boto3 gives

    def _post(self, operation: str, body: bytes) -> tuple[int, bytes]:
        """One request; a connection that the server closed meanwhile is opened again, once."""
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": operation}
        try:
            return self._request(body, headers)
        except (OSError, http.client.HTTPException):
            self._threads.connection = None
        try:
            return self._request(body, headers)
        except (OSError, http.client.HTTPException) as error:
            self._threads.connection = None
            raise EndpointConnectionError(endpoint_url=self._endpoint) from error

    def _request(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        connection: http.client.HTTPConnection | None = getattr(self._threads, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT_S)
            self._threads.connection = connection
            self._opened.append(connection)
        connection.request("POST", "/", body, headers)
        response = connection.getresponse()
        return response.status, response.read()
