"""The source queue, as replay sends to it: until a message is accepted, or refused for good."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from common.runtime.batching import SEND_MESSAGES, batches
from common.runtime.errors import TransientError
from common.runtime.retrying import RetryPolicy, code_may_pass

if TYPE_CHECKING:
    from types_boto3_sqs.client import SQSClient
    from types_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef


@dataclass(frozen=True)
class Outgoing:
    """A body to send as it is, with its message attributes."""

    body: str
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes that count against SQS's limit: the body, and names, types and values of attributes."""
        return len(self.body.encode("utf-8", "surrogatepass")) + sum(
            len(name) + sum(len(v) if isinstance(v, bytes) else len(str(v).encode()) for v in value.values())
            for name, value in self.attributes.items()
        )


PERSISTENCE: Final = RetryPolicy(attempts=6, base_s=0.2)


class QueueIntake:
    """Sends to the queue at ``queue_url``; may be used by several threads."""

    def __init__(self, client: "SQSClient", queue_url: str, persistence: RetryPolicy = PERSISTENCE) -> None:
        self._client: Final = client
        self._queue_url: Final = queue_url
        self._persistence: Final = persistence

    def send(self, messages: Sequence[Outgoing]) -> dict[int, str]:
        """Send ``messages``; return index and reason of those that SQS never will accept.

        Raises TransientError when the queue still refuses after several attempts: what was accepted until
        then is not known to the caller, who sends all of them again.
        """
        refused: dict[int, str] = {}
        for call in batches(range(len(messages)), lambda i: messages[i].size, SEND_MESSAGES):
            pending: list[SendMessageBatchRequestEntryTypeDef] = [
                {
                    "Id": str(i),
                    "MessageBody": messages[i].body,
                    "MessageAttributes": messages[i].attributes,  # type: ignore[typeddict-item] # as received
                }
                for i in call
            ]
            for attempt in range(self._persistence.attempts):
                retry, hopeless = self._attempt(pending)
                refused |= hopeless
                pending = [entry for entry in pending if entry["Id"] in retry]
                if not pending:
                    break
                if attempt + 1 < self._persistence.attempts:
                    self._persistence.wait(attempt)
            else:
                codes = ", ".join(sorted(set(retry.values())))
                raise TransientError(
                    f"queue {self._queue_url}: expected it to accept {len(pending)} messages within "
                    f"{self._persistence.attempts} attempts, found {codes}; they stay where they are: "
                    "run the same command again later, with a lower --rate"
                )
        return refused

    def _attempt(
        self, entries: "Sequence[SendMessageBatchRequestEntryTypeDef]"
    ) -> tuple[dict[str, str], dict[int, str]]:
        """One call: ids to send again with why, and indices refused for good with why."""
        try:
            answer = self._client.send_message_batch(QueueUrl=self._queue_url, Entries=entries)
        except ClientError as error:
            code = error_code(error)
            if not code_may_pass(code):
                raise
            return dict.fromkeys((entry["Id"] for entry in entries), code), {}
        except (BotoCoreError, ResponseParserError) as error:
            # No answer that can be read: they may have been accepted, and are sent again.
            return dict.fromkeys((entry["Id"] for entry in entries), type(error).__name__), {}
        failed = answer.get("Failed", [])
        # What the answer does not name may have been accepted or not, and is sent again.
        named = {entry["Id"] for entry in (*answer.get("Successful", []), *failed)}
        retry = {entry["Id"]: "MalformedAnswer" for entry in entries if entry["Id"] not in named}
        retry |= {entry["Id"]: entry["Code"] for entry in failed if not entry["SenderFault"]}
        hopeless = {
            int(entry["Id"]): f"{entry['Code']}: {entry.get('Message', '')}"
            for entry in failed
            if entry["SenderFault"]
        }
        return retry, hopeless


def error_code(error: ClientError) -> str:
    """The code of a service's error, without the prefix that older SQS protocols gave it."""
    return error.response["Error"]["Code"].removeprefix("AWS.SimpleQueueService.")
