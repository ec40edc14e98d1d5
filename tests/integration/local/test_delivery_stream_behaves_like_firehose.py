"""The Firehose stand-in as a process, spoken to by boto3."""

import base64
import http.client
import io
import json
import time
import uuid
import zipfile
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType, TimestamptzType

from lean_ops.local import admin
from lean_ops.local.target import LocalTarget

ROLE = "arn:aws:iam::000000000000:role/local"
BUCKET = "delivery"
DATABASE = "delivery"
SCHEMA = Schema(
    NestedField(1, "id", StringType(), required=False),
    NestedField(2, "at", TimestamptzType(), required=False),
    NestedField(3, "count", LongType(), required=False),
)


@pytest.fixture(scope="module", autouse=True)
def _lake(target: LocalTarget) -> None:
    target.client("s3").create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    target.catalog().create_namespace(DATABASE)


def _name() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


def _table(target: LocalTarget) -> str:
    name = _name()
    target.catalog().create_table((DATABASE, name), SCHEMA, location=f"s3://{BUCKET}/{name}")
    return name


def _stream(target: LocalTarget, table: str | None, *, seconds: int = 900, **more: Any) -> str:
    """A stream into ``table`` that delivers when told to, or after ``seconds``."""
    name = _name()
    tables = [{"DestinationDatabaseName": DATABASE, "DestinationTableName": table}] if table else []
    configuration: Any = {
        "RoleARN": ROLE,
        "CatalogConfiguration": {"CatalogARN": "arn:aws:glue:eu-west-1:000000000000:catalog"},
        "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": seconds},
        "DestinationTableConfigurationList": tables,
        "S3Configuration": {
            "RoleARN": ROLE,
            "BucketARN": f"arn:aws:s3:::{BUCKET}",
            "ErrorOutputPrefix": f"errors/{name}/!{{firehose:error-output-type}}/",
        },
        **more,
    }
    target.client("firehose").create_delivery_stream(
        DeliveryStreamName=name, IcebergDestinationConfiguration=configuration
    )
    return name


def _record(number: int, **changes: Any) -> dict[str, Any]:
    return {"id": str(number), "at": 1_700_000_000_000_000 + number, "count": number} | changes


def _put(target: LocalTarget, stream: str, *records: Any) -> Any:
    data = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in records]
    return target.client("firehose").put_record_batch(
        DeliveryStreamName=stream, Records=[{"Data": d} for d in data]
    )


def _flush(target: LocalTarget) -> dict[str, admin.StreamState]:
    return admin.flush(target.endpoints["firehose"])


def _rows(target: LocalTarget, table: str) -> list[dict[str, Any]]:
    rows: pa.Table = target.catalog().load_table((DATABASE, table)).scan().to_arrow()
    return rows.sort_by("id").to_pylist()


def _errors(target: LocalTarget, stream: str) -> list[tuple[str, str, bytes]]:
    """Error type, code and raw data of every record under the stream's error prefix."""
    s3 = target.client("s3")
    found = []
    for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix=f"errors/{stream}/").get("Contents", []):
        for line in s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read().splitlines():
            record = json.loads(line)
            raw = base64.b64decode(record["rawData"])
            found.append((entry["Key"].split("/")[2], record["errorCode"], raw))
    return sorted(found)


def test_good_records_reach_the_table_and_bad_ones_the_error_prefix(target: LocalTarget) -> None:
    table = _table(target)
    stream = _stream(target, table)
    answer = _put(
        target,
        stream,
        _record(1, unknown={"skipped": True}),
        _record(2, count=None),
        {"id": "3", "at": 1},
        _record(4, at="2026-01-01T00:00:00Z"),
        b"not json",
    )
    assert answer["FailedPutCount"] == 0
    assert len({response["RecordId"] for response in answer["RequestResponses"]}) == 5
    _flush(target)
    assert [(row["id"], row["count"]) for row in _rows(target, table)] == [("1", 1), ("2", None)]
    assert [(kind, code) for kind, code, _ in _errors(target, stream)] == [
        ("iceberg-failed", "Iceberg.InvalidRecord"),
        ("iceberg-failed", "Iceberg.InvalidRecord"),
        ("iceberg-failed", "Iceberg.MissingColumnWithinRecord"),
    ]
    assert b"not json" in [raw for _, _, raw in _errors(target, stream)]


def test_a_flush_is_one_commit_however_many_calls_came_before(target: LocalTarget) -> None:
    table = _table(target)
    stream = _stream(target, table)
    for number in range(5):
        _put(target, stream, _record(number))
    target.client("firehose").put_record(
        DeliveryStreamName=stream, Record={"Data": json.dumps(_record(5)).encode()}
    )
    assert _flush(target)[stream] == admin.StreamState(backlog_bytes=0, delivered=6, undelivered=0, commits=1)
    assert len(_rows(target, table)) == 6


def test_records_for_a_table_that_does_not_exist_are_kept_as_errors(target: LocalTarget) -> None:
    stream = _stream(target, "nowhere")
    _put(target, stream, _record(1))
    _flush(target)
    assert [(kind, code) for kind, code, _ in _errors(target, stream)] == [
        ("iceberg-failed", "Iceberg.NoSuchTable")
    ]


def _await_rows(target: LocalTarget, table: str, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(_rows(target, table)) < count:
        assert time.monotonic() < deadline, "not delivered in time"
        time.sleep(0.1)


def test_the_buffering_interval_delivers_by_itself(target: LocalTarget) -> None:
    table = _table(target)
    started = time.monotonic()
    _put(target, _stream(target, table, seconds=1), _record(1))
    _await_rows(target, table, 1)
    assert time.monotonic() - started >= 1


def test_the_buffering_size_delivers_before_the_interval(target: LocalTarget) -> None:
    table = _table(target)
    _put(target, _stream(target, table), *[_record(n, pad="x" * 600_000) for n in range(2)])
    _await_rows(target, table, 2)


@pytest.mark.parametrize(
    "records",
    [
        [b"{}"] * 501,
        [b"x" * 1_024_001],
        [b"x" * 1_000_000] * 5,
    ],
    ids=["over 500 records", "over 1,000 KiB a record", "over 4 MiB"],
)
def test_a_batch_beyond_a_limit_is_refused_whole(target: LocalTarget, records: list[bytes]) -> None:
    with pytest.raises(ClientError, match="InvalidArgumentException"):
        _put(target, _stream(target, _table(target)), *records)


def test_the_largest_batch_is_taken(target: LocalTarget) -> None:
    stream = _stream(target, _table(target), seconds=900)
    assert _put(target, stream, *[b"{}"] * 500)["FailedPutCount"] == 0
    assert _put(target, stream, *[b"x" * 1_024_000] * 4)["FailedPutCount"] == 0


def test_streams_are_described_listed_and_deleted(target: LocalTarget) -> None:
    firehose = target.client("firehose")
    stream = _stream(target, _table(target))
    with pytest.raises(ClientError, match="ResourceInUseException"):
        firehose.create_delivery_stream(
            DeliveryStreamName=stream,
            IcebergDestinationConfiguration={
                "RoleARN": ROLE,
                "CatalogConfiguration": {},
                "S3Configuration": {"RoleARN": ROLE, "BucketARN": f"arn:aws:s3:::{BUCKET}"},
            },
        )
    description = firehose.describe_delivery_stream(DeliveryStreamName=stream)["DeliveryStreamDescription"]
    assert description["DeliveryStreamStatus"] == "ACTIVE"
    assert description["Destinations"][0]["IcebergDestinationDescription"]["BufferingHints"] == {
        "SizeInMBs": 1,
        "IntervalInSeconds": 900,
    }
    names: list[str] = []
    more = True
    while more:
        page: Any = {"ExclusiveStartDeliveryStreamName": names[-1]} if names else {}
        answer = firehose.list_delivery_streams(Limit=2, **page)
        names += answer["DeliveryStreamNames"]
        more = answer["HasMoreDeliveryStreams"]
    assert stream in names
    _put(target, stream, _record(1))
    firehose.delete_delivery_stream(DeliveryStreamName=stream)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        _put(target, stream, _record(1))


def test_operations_it_does_not_know_are_named(target: LocalTarget) -> None:
    stream = _stream(target, _table(target))
    with pytest.raises(ClientError, match="UnknownOperationException"):
        target.client("firehose").tag_delivery_stream(
            DeliveryStreamName=stream, Tags=[{"Key": "k", "Value": "v"}]
        )


@pytest.mark.parametrize("operation", ["CreateDeliveryStream", "PutRecordBatch"])
@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"Records": "x"}'])
def test_a_request_that_cannot_be_read_is_answered(target: LocalTarget, operation: str, body: bytes) -> None:
    connection = http.client.HTTPConnection(urlsplit(target.endpoints["firehose"]).netloc, timeout=60)
    connection.request("POST", "/", body, {"X-Amz-Target": f"Firehose_20150804.{operation}"})
    answer = connection.getresponse()
    assert answer.status == 400
    assert json.load(answer)["__type"] in {"SerializationException", "InvalidArgumentException"}
    connection.close()


def _transformation(target: LocalTarget, source: str) -> dict[str, Any]:
    """A ProcessingConfiguration with a function of this source."""
    name = _name()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("index.py", source)
    arn = target.client("lambda").create_function(
        FunctionName=name,
        Role=ROLE,
        Runtime="python3.11",
        Handler="index.handler",
        Code={"ZipFile": archive.getvalue()},
    )["FunctionArn"]
    parameters = [{"ParameterName": "LambdaArn", "ParameterValue": arn}]
    return {"Enabled": True, "Processors": [{"Type": "Lambda", "Parameters": parameters}]}


def test_a_transformation_routes_drops_and_fails_records(target: LocalTarget) -> None:
    first, second = _table(target), _table(target)
    source = f"""
import base64, json
TABLES = {{"0": {first!r}, "1": {second!r}}}
def handler(event, context):
    records = []
    for record in event["records"]:
        row = json.loads(base64.b64decode(record["data"]))
        answer = {{"recordId": record["recordId"], "result": "Ok", "data": record["data"]}}
        if row["id"] == "2":
            answer["result"] = "Dropped"
        elif row["id"] == "3":
            answer["result"] = "ProcessingFailed"
        else:
            answer["metadata"] = {{"otfMetadata": {{"destinationDatabaseName": {DATABASE!r},
                "destinationTableName": TABLES[row["id"]], "operation": "insert"}}}}
        records.append(answer)
    return {{"records": records}}
"""
    stream = _stream(target, None, ProcessingConfiguration=_transformation(target, source))
    _put(target, stream, *[_record(number) for number in range(4)])
    _flush(target)
    assert [row["id"] for row in _rows(target, first)] == ["0"]
    assert [row["id"] for row in _rows(target, second)] == ["1"]
    errors = _errors(target, stream)
    assert [(kind, code) for kind, code, _ in errors] == [
        ("processing-failed", "Lambda.ProcessingFailedStatus")
    ]
    assert json.loads(errors[0][2])["id"] == "3"


def test_a_transformation_that_raises_leaves_its_records_in_the_error_prefix(target: LocalTarget) -> None:
    stream = _stream(
        target,
        _table(target),
        ProcessingConfiguration=_transformation(target, "def handler(e, c): raise ValueError('broken')"),
    )
    _put(target, stream, _record(1), _record(2))
    _flush(target)
    assert [(kind, code) for kind, code, _ in _errors(target, stream)] == [
        ("processing-failed", "Lambda.FunctionError")
    ] * 2
