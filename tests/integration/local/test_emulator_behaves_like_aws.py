"""Each bridge of ``lean_ops.local.bridges``, seen from outside the running emulator."""

import io
import json
import threading
import time
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField, StringType

from common.contract.column_comments import column_comment
from lean_ops.local.target import LocalTarget

ROLE = "arn:aws:iam::000000000000:role/local"


def _until(condition: Callable[[], Any], within_s: float = 120) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)
    return found


def _function(target: LocalTarget, name: str, body: str) -> None:
    """A function whose handler's body is ``body``; boto3, json and the context are at hand."""
    source = f"import boto3, json, time\ndef handler(event, context):\n    {body}\n"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("index.py", source)
    target.client("lambda").create_function(
        FunctionName=name,
        Role=ROLE,
        Runtime="python3.11",
        Handler="index.handler",
        Code={"ZipFile": archive.getvalue()},
        Timeout=20,
    )


def _queue(target: LocalTarget, name: str, **attributes: str) -> str:
    known: Any = attributes
    return target.client("sqs").create_queue(QueueName=name, Attributes=known)["QueueUrl"]


def _send(target: LocalTarget, url: str, count: int, body: str = "x") -> None:
    sqs = target.client("sqs")
    for start in range(0, count, 10):
        entries: Any = [{"Id": str(i), "MessageBody": body} for i in range(min(10, count - start))]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)


def _map(target: LocalTarget, queue: str, function: str, batch_size: int, window_s: int) -> None:
    target.client("lambda").create_event_source_mapping(
        EventSourceArn=f"arn:aws:sqs:eu-west-1:000000000000:{queue}",
        FunctionName=function,
        BatchSize=batch_size,
        MaximumBatchingWindowInSeconds=window_s,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )


def _counts(target: LocalTarget, url: str) -> tuple[int, int]:
    """Messages visible and in flight."""
    names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = target.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def _received(target: LocalTarget, url: str) -> list[str]:
    answer = target.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [message["Body"] for message in answer.get("Messages", [])]


def test_a_function_gets_batches_beyond_ten_once_the_window_is_over(target: LocalTarget) -> None:
    report = _queue(target, "sizes")
    url = _queue(target, "batched")
    _function(
        target,
        "batched",
        f"boto3.client('sqs').send_message(QueueUrl={report!r}, MessageBody=str(len(event['Records'])))",
    )
    _send(target, url, 250)
    _map(target, "batched", "batched", batch_size=100, window_s=1)
    sizes: list[int] = []

    def all_are_told() -> bool:
        sizes.extend(map(int, _received(target, report)))
        return sum(sizes) == 250

    _until(all_are_told)
    assert sorted(sizes) == [50, 100, 100]


def test_no_message_is_lost_while_sending_and_processing_at_once(target: LocalTarget) -> None:
    report = _queue(target, "ids")
    url = _queue(target, "busy")
    _function(
        target,
        "busy",
        f"boto3.client('sqs').send_message(QueueUrl={report!r}, MessageBody=json.dumps("
        "[r['messageId'] for r in event['Records']]))",
    )
    _map(target, "busy", "busy", batch_size=200, window_s=0)
    senders = [threading.Thread(target=_send, args=(target, url, 1500)) for _ in range(2)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    seen: list[str] = []

    def all_seen() -> bool:
        for body in _received(target, report):
            seen.extend(json.loads(body))
        return len(set(seen)) == 3000

    _until(all_seen)
    assert len(seen) == 3000
    _until(lambda: _counts(target, url) == (0, 0))


def test_an_exception_keeps_its_class_and_the_worker_lives(target: LocalTarget) -> None:
    _function(
        target,
        "raising",
        "global calls; calls = globals().get('calls', 0) + 1\n"
        "    class SchemaMissing(Exception): pass\n"
        "    if event: raise SchemaMissing('no schema')\n"
        "    return calls",
    )
    client = target.client("lambda")
    answer = client.invoke(FunctionName="raising", Payload=b'{"fail": true}')
    body = json.loads(answer["Payload"].read())
    assert answer["FunctionError"]
    assert (body["errorType"], body["errorMessage"]) == ("SchemaMissing", "no schema")
    assert json.loads(client.invoke(FunctionName="raising", Payload=b"{}")["Payload"].read()) == 2


def test_a_state_machine_catches_an_exception_by_its_class(target: LocalTarget) -> None:
    _function(target, "caught", "class TableMissing(Exception): pass\n    raise TableMissing('none')")
    definition = {
        "StartAt": "Call",
        "States": {
            "Call": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke",
                "Parameters": {"FunctionName": "caught"},
                "Catch": [{"ErrorEquals": ["TableMissing"], "Next": "Caught"}],
                "End": True,
            },
            "Caught": {"Type": "Succeed"},
        },
    }
    client = target.client("stepfunctions")
    machine = client.create_state_machine(name="catching", definition=json.dumps(definition), roleArn=ROLE)
    run = client.start_execution(stateMachineArn=machine["stateMachineArn"])
    status = _until(
        lambda: (
            (s := client.describe_execution(executionArn=run["executionArn"])["status"]) != "RUNNING" and s
        )
    )
    assert status == "SUCCEEDED"


@pytest.mark.parametrize(
    ("name", "answer", "left"),
    [
        ("named", "{'batchItemFailures': [{'itemIdentifier': event['Records'][0]['messageId']}]}", 1),
        ("none", "{'batchItemFailures': None}", 0),
        ("unknown", "{'batchItemFailures': [{'itemIdentifier': 'other'}]}", 3),
        ("empty", "{'batchItemFailures': [{'itemIdentifier': ''}]}", 3),
    ],
)
def test_only_messages_the_function_does_not_give_back_are_deleted(
    target: LocalTarget, name: str, answer: str, left: int
) -> None:
    done = _queue(target, f"partial-{name}-done")
    url = _queue(target, f"partial-{name}", VisibilityTimeout="600")
    _function(
        target,
        f"partial-{name}",
        f"boto3.client('sqs').send_message(QueueUrl={done!r}, MessageBody='done'); return {answer}",
    )
    _send(target, url, 3)
    _map(target, f"partial-{name}", f"partial-{name}", batch_size=10, window_s=0)
    _until(lambda: _received(target, done))
    _until(lambda: _counts(target, url) == (0, left))


def test_functions_reach_the_stack_through_their_environment(target: LocalTarget) -> None:
    _function(
        target,
        "reaching",
        "import os; return {name: os.environ.get(name) for name in ("
        "'AWS_ENDPOINT_URL', 'AWS_ENDPOINT_URL_FIREHOSE', 'AWS_REGION')}",
    )
    answer = target.client("lambda").invoke(FunctionName="reaching")["Payload"].read()
    assert json.loads(answer) == {
        "AWS_ENDPOINT_URL": target.endpoints[""],
        "AWS_ENDPOINT_URL_FIREHOSE": target.endpoints["firehose"],
        "AWS_REGION": "eu-west-1",
    }


@pytest.mark.parametrize("comment", ["c" * 256, "two\nlines", "a bell \a"])
def test_glue_refuses_a_table_with_a_comment_that_aws_would_refuse(target: LocalTarget, comment: str) -> None:
    glue, database = target.client("glue"), "comments"
    if database not in {found["Name"] for found in glue.get_databases()["DatabaseList"]}:
        glue.create_database(DatabaseInput={"Name": database})
    name = f"t{abs(hash(comment))}"

    def table(text: str) -> Any:
        columns = [{"Name": "a", "Type": "string", "Comment": text}]
        return {"Name": name, "StorageDescriptor": {"Columns": columns}, "Parameters": {"a": "b" * 5_000}}

    with pytest.raises(ClientError, match=r"1 validation error detected.*Columns\.1\.member\.Comment"):
        glue.create_table(DatabaseName=database, TableInput=table(comment))
    glue.create_table(DatabaseName=database, TableInput=table("é 😀 " * 51))
    with pytest.raises(ClientError, match="ValidationException"):
        glue.update_table(DatabaseName=database, TableInput=table(comment))


def test_a_description_of_any_shape_becomes_a_comment_that_glue_takes(target: LocalTarget) -> None:
    catalog = target.catalog()
    catalog.create_namespace_if_not_exists("described")
    texts = ["word " * 90, "é" * 300, "two\nlines\n", "\ttab", "\x7f\u2028\ufffe"]
    fields = [
        NestedField(number, f"c{number}", StringType(), required=False, doc=column_comment(text))
        for number, text in enumerate(texts, start=1)
    ]
    here: Any = {"LocationConstraint": target.region}
    target.client("s3").create_bucket(Bucket="described", CreateBucketConfiguration=here)
    table = catalog.create_table("described.t", Schema(*fields), location="s3://described/t")
    assert [field.doc for field in table.schema().fields][2:] == ["two lines", "tab", None]
