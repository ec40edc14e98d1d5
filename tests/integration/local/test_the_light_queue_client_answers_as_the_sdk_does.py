"""What the local stack's light client sends and raises is what boto3 would."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from types_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

from lean_ops.environment.target import QueueClient, Target
from lean_ops.local.queue_client import LocalQueueClient


@pytest.fixture
def client(target: Target) -> Iterator[QueueClient]:
    with closing(target.queue_client()) as client:
        yield client


@pytest.fixture(scope="module")
def url(target: Target) -> str:
    return target.client("sqs").create_queue(QueueName="light-client")["QueueUrl"]


def test_messages_arrive_byte_for_byte(target: Target, client: QueueClient, url: str) -> None:
    body = '{"a": "é\\n\\u0000 \U0001f600", "n": 1.10}'
    answer = client.send_message_batch(QueueUrl=url, Entries=[{"Id": "0", "MessageBody": body}])
    assert [entry["Id"] for entry in answer["Successful"]] == ["0"]
    (message,) = target.client("sqs").receive_message(QueueUrl=url)["Messages"]
    assert message["Body"] == body


def test_an_absent_queue_is_the_error_that_boto3_raises(
    target: Target, client: QueueClient, url: str
) -> None:
    entries: list[SendMessageBatchRequestEntryTypeDef] = [{"Id": "0", "MessageBody": "x"}]
    with pytest.raises(ClientError) as ours:
        client.send_message_batch(QueueUrl=url + "-absent", Entries=entries)
    with pytest.raises(ClientError) as theirs:
        target.client("sqs").send_message_batch(QueueUrl=url + "-absent", Entries=entries)
    assert ours.value.response["Error"]["Code"] == type(theirs.value).__name__ == "QueueDoesNotExist"


def test_a_stack_that_does_not_run_is_a_connection_error() -> None:
    with pytest.raises(EndpointConnectionError):
        LocalQueueClient("http://127.0.0.1:9").send_message_batch(QueueUrl="q", Entries=[])
