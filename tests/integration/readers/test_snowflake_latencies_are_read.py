"""Query latencies come from Snowflake's SQL API; a local server speaks it and checks the signed token."""

import base64
import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from common.readers import history
from common.readers.sql_api import Access, SnowflakeRefused, SnowflakeUnreachable, SqlApi, token
from common.readers.staleness import late
from common.runtime.asking import Answer, Asker
from common.runtime.errors import InvalidInput
from common.runtime.retrying import RetryPolicy
from common.runtime.settings import SnowflakeSettings
from common.runtime.topics import REGISTRY_KEY, Topic, registry_of
from lean_ops.commands.refresh import SnowflakeNotConfigured, access, refresh_statement
from lean_ops.environment.target import Target
from snowflake_latency import handler as function

from ...support.generated import cases

SETTINGS = SnowflakeSettings.from_environment(
    {
        "LEAN_OPS_PROJECT": "lean-ops",
        "LEAN_OPS_ENV": "test",
        "LEAN_OPS_DATABASE": "lean_ops_test",
        "LEAN_OPS_LAKE_BUCKET": "lake",
        "LEAN_OPS_CHECKPOINTS_TABLE": "checkpoints",
        "LEAN_OPS_SNOWFLAKE_SECRET_ID": "lean-ops-test-snowflake",
    }
)
CONTEXT = cast("Any", SimpleNamespace(aws_request_id="r", get_remaining_time_in_millis=lambda: 120_000))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


NEWEST = "s3://lake/semantic_events/metadata/00002.metadata.json"
BEFORE = "s3://lake/semantic_events/metadata/00001.metadata.json"
HOUR_MS = 3_600_000
NOW_MS = int(NOW.timestamp() * 1000)
METADATA = {
    "metadata-log": [{"metadata-file": BEFORE, "timestamp-ms": NOW_MS - 3 * HOUR_MS}],
    "snapshot-log": [{"snapshot-id": 2, "timestamp-ms": NOW_MS - 2 * HOUR_MS}],
}


class Snowflake:
    """The SQL API: signed in by key pair, statements that may run a while, results in partitions."""

    def __init__(self) -> None:
        self.statements: list[dict[str, Any]] = []
        self.latencies = [120.0, 80.0, 2500.0]
        self.refreshing = "RUNNING"
        self.seen = NEWEST
        self.says_file = True
        self.tables = ["SEMANTIC_EVENTS", "SEMANTIC_BARE"]
        self.running_looks = 0
        self.partition_rows = 1_000
        self.statuses: list[int] = []
        self.late_partitions = 0
        self.missing = ""
        self._results: dict[str, list[list[str]]] = {}
        snowflake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if snowflake.statuses:
                    self.answer(snowflake.statuses.pop(0), {"code": "000000", "message": "scripted"})
                    return
                try:
                    snowflake.check(self.headers)
                except (jwt.PyJWTError, AssertionError) as error:
                    self.answer(401, {"code": "390144", "message": f"JWT token is invalid: {error}"})
                    return
                assert parse_qs(urlsplit(self.path).query)["requestId"]
                snowflake.statements.append(document)
                if snowflake.missing and snowflake.missing in json.dumps(document.get("bindings", "")):
                    self.answer(422, {"code": "002003", "message": "Object does not exist"})
                    return
                handle = str(len(snowflake.statements))
                snowflake._results[handle] = snowflake.rows(document)
                if snowflake.running_looks:
                    self.answer(202, {"statementHandle": handle, "code": "333334"})
                else:
                    self.answer(200, snowflake.result(handle, document["statement"]))

            def do_GET(self) -> None:
                snowflake.check(self.headers)
                self.answer(*snowflake.looked_at(self.path))

            def answer(self, status: int, document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                body = gzip.compress(body)  # as Snowflake sends partitions
                self.send_response(status)
                self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def check(self, headers: Any) -> None:
        """As Snowflake does: registered key, its fingerprint, account and user, an hour at most."""
        assert headers["X-Snowflake-Authorization-Token-Type"] == "KEYPAIR_JWT"
        claims = jwt.decode(
            headers["Authorization"].removeprefix("Bearer "), KEY.public_key(), algorithms=["RS256"]
        )
        der = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        fingerprint = base64.b64encode(hashlib.sha256(der).digest()).decode()
        assert claims["sub"] == "AB12345.MONITOR"
        assert claims["iss"] == f"AB12345.MONITOR.SHA256:{fingerprint}"
        assert claims["exp"] - claims["iat"] <= 3600

    def looked_at(self, path: str) -> tuple[int, dict[str, Any]]:
        """What a look at a statement, or at a partition of its result, finds."""
        url = urlsplit(path)
        handle = url.path.rpartition("/")[2]
        partition = parse_qs(url.query).get("partition")
        if partition and self.late_partitions:
            self.late_partitions -= 1
            return 202, {"statementHandle": handle}
        if partition:
            return 200, {"data": self.part(handle, int(partition[0]))}
        if self.running_looks > 1:
            self.running_looks -= 1
            return 202, {"statementHandle": handle}
        return 200, self.result(handle, "")

    def rows(self, document: dict[str, Any]) -> list[list[str]]:
        if "QUERY_HISTORY" in document["statement"]:
            return [[str(int(latency))] for latency in self.latencies]
        if document["statement"] == "SHOW ICEBERG TABLES IN SCHEMA":
            assert (document["database"], document["schema"]) == ("LEAN_OPS", "SEMANTIC")
            status = {"executionState": self.refreshing}
            if self.says_file:
                status["currentMetadataFile"] = self.seen
            return [[table, json.dumps(status)] for table in self.tables]
        if "GET_ICEBERG_TABLE_INFORMATION" in document["statement"]:
            return [[json.dumps({"metadataLocation": self.seen, "status": "success"})]]
        return []

    def part(self, handle: str, number: int) -> list[list[str]]:
        return self._results[handle][number * self.partition_rows : (number + 1) * self.partition_rows]

    def result(self, handle: str, statement: str) -> dict[str, Any]:
        rows = self._results[handle]
        parts = max(1, -(-len(rows) // self.partition_rows))
        names = [statement.partition(" AS ")[2].partition("\n")[0] or "MILLISECONDS"]
        if statement.startswith("SHOW"):
            names = ["name", "auto_refresh_status"]
        return {
            "statementHandle": handle,
            "resultSetMetaData": {
                "numRows": len(rows),
                "rowType": [{"name": name, "type": "text"} for name in names],
                "partitionInfo": [{"rowCount": self.partition_rows}] * parts,
            },
            "data": self.part(handle, 0),
        }


class Aws:
    """Secrets Manager, DynamoDB and S3 as far as the function uses them."""

    def __init__(self, secret: str | None) -> None:
        self.secret = secret
        self.item: dict[str, Any] | None = None
        self.contracts = {"events"}
        self.topics = ["events", "bare"]

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:
        assert SecretId == "lean-ops-test-snowflake"
        if self.secret is None:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": ""}}, "call")
        return {"SecretString": self.secret}

    def get_item(self, **_request: Any) -> dict[str, Any]:
        return {"Item": self.item} if self.item else {}

    def put_item(self, *, TableName: str, Item: dict[str, Any]) -> None:
        self.item = Item

    def get_paginator(self, name: str) -> Any:
        assert name == "get_tables"
        tables = [
            {"Name": f"semantic_{topic}", "Parameters": {"metadata_location": NEWEST}}
            for topic in self.topics
        ]
        return SimpleNamespace(paginate=lambda **_: [{"TableList": tables}])

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        if Bucket == "lake" and Key == NEWEST.removeprefix("s3://lake/"):
            return {"Body": BytesIO(json.dumps(METADATA).encode())}
        assert (Bucket, Key) == ("lake", REGISTRY_KEY)
        topics = {topic: Topic(contract=topic in self.contracts) for topic in self.topics}
        return {"Body": BytesIO(registry_of(topics).written())}


def secret(url: str, **changes: str) -> str:
    return json.dumps(
        {
            "account": "ab12345.eu-west-1",
            "user": "monitor",
            "private_key": PEM,
            "role": "LEAN_OPS_MONITOR",
            "warehouse": "WH",
            "database": "LEAN_OPS",
            "schema": "SEMANTIC",
            "url": url,
            **changes,
        }
    )


@pytest.fixture
def snowflake() -> Iterator[Snowflake]:
    snowflake = Snowflake()
    yield snowflake
    snowflake.close()


@pytest.fixture
def aws(snowflake: Snowflake, monkeypatch: pytest.MonkeyPatch) -> Aws:
    aws = Aws(secret(snowflake.url))
    asker = Asker(retry=RetryPolicy(base_s=0.001))
    monkeypatch.setattr(function, "_settings", lambda: SETTINGS)
    monkeypatch.setattr(function, "_client", lambda _service: aws)
    monkeypatch.setattr(function, "_asker", lambda: asker)
    return aws


def api(snowflake: Snowflake) -> SqlApi:
    return SqlApi(
        Access.parse(secret(snowflake.url)), Asker(retry=RetryPolicy(base_s=0.001)), sleep=lambda _s: None
    )


def at(time: datetime) -> dict[str, Any]:
    return {"time": time.isoformat()}


@pytest.mark.usefixtures("aws")
def test_latencies_become_a_distribution(snowflake: Snowflake, capsys: pytest.CaptureFixture[str]) -> None:
    done = function.handler(at(NOW), CONTEXT)
    assert done == {"configured": True, "queries": 3, "stalled": [], "unknown": {}}
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    values = {name: line[name] for line in metrics for name in line if name.startswith("Snowflake")}
    assert values["SnowflakeQueryMilliseconds"] == [120.0, 80.0, 2500.0]
    assert values["SnowflakeRefreshStalled"] == [0.0]
    assert snowflake.statements[0]["parameters"] == {"QUERY_TAG": "lean-ops"}
    assert snowflake.statements[0]["warehouse"] == "WH"


@pytest.mark.usefixtures("aws")
def test_spans_follow_each_other_without_gap_or_overlap(snowflake: Snowflake) -> None:
    for minutes in (0, 5, 12):
        function.handler(at(NOW + timedelta(minutes=minutes)), CONTEXT)
    spans = [
        (s["bindings"]["1"]["value"], s["bindings"]["2"]["value"])
        for s in snowflake.statements
        if "QUERY_HISTORY" in s["statement"]
    ]
    assert [spans[1][0], spans[2][0]] == [spans[0][1], spans[1][1]]


@pytest.mark.usefixtures("aws")
def test_a_table_that_snowflake_no_longer_refreshes_is_named(snowflake: Snowflake) -> None:
    snowflake.refreshing = "STALLED"
    assert function.handler(at(NOW), CONTEXT)["stalled"] == ["LEAN_OPS.SEMANTIC.semantic_events"]


@pytest.mark.usefixtures("aws")
def test_a_table_that_lacks_a_snapshot_for_an_hour_is_stalled_whatever_snowflake_says(
    snowflake: Snowflake,
) -> None:
    snowflake.seen = BEFORE
    assert function.handler(at(NOW), CONTEXT)["stalled"] == ["LEAN_OPS.SEMANTIC.semantic_events"]
    earlier = NOW - timedelta(minutes=70)  # fifty after the snapshot
    assert function.handler(at(earlier), CONTEXT)["stalled"] == []


@pytest.mark.usefixtures("aws")
def test_where_the_list_does_not_say_the_file_each_table_is_asked_for_it(snowflake: Snowflake) -> None:
    snowflake.says_file, snowflake.seen = False, BEFORE
    assert function.handler(at(NOW), CONTEXT)["stalled"] == ["LEAN_OPS.SEMANTIC.semantic_events"]
    snowflake.missing = "semantic_events"
    unknown = function.handler(at(NOW), CONTEXT)["unknown"]
    assert "Object does not exist" in unknown["LEAN_OPS.SEMANTIC.semantic_events"]


def test_seven_hundred_tables_take_two_statements(snowflake: Snowflake, aws: Aws) -> None:
    """And where a statement a table is needed, as many as time is left for; the others are said."""
    aws.topics = [f"t{number}" for number in range(700)]
    aws.contracts = set(aws.topics)
    snowflake.tables = [f"SEMANTIC_T{number}" for number in range(700)]
    done = function.handler(at(NOW), CONTEXT)
    assert (done["stalled"], done["unknown"]) == ([], {})
    assert len(snowflake.statements) == 2
    snowflake.says_file = False
    left = iter(range(60_000, 0, -5_000))
    context: Any = SimpleNamespace(aws_request_id="r", get_remaining_time_in_millis=lambda: next(left, 0))
    done = function.handler(at(NOW), context)
    assert len(snowflake.statements) == 2 + 2 + 3
    assert len(done["unknown"]) == 697
    assert {why.partition(",")[0] for why in done["unknown"].values()} == {
        "expected time to look at the table"
    }


def test_a_span_that_failed_is_read_again(snowflake: Snowflake, aws: Aws) -> None:
    function.handler(at(NOW), CONTEXT)
    before = aws.item
    snowflake.statuses = [503] * 10
    with pytest.raises(SnowflakeUnreachable, match="503"):
        function.handler(at(NOW + timedelta(minutes=5)), CONTEXT)
    assert aws.item == before


def test_without_a_secret_it_is_off_and_says_so(
    snowflake: Snowflake, aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.secret = None
    done = function.handler(at(NOW), CONTEXT)
    assert done == {"configured": False, "queries": 0, "stalled": [], "unknown": {}}
    assert snowflake.statements == []
    assert "_aws" not in capsys.readouterr().out


def test_results_in_several_partitions_and_statements_that_take_a_while(snowflake: Snowflake) -> None:
    snowflake.latencies, snowflake.partition_rows, snowflake.running_looks = [1.0, 2.0, 3.0, 4.0, 5.0], 2, 3
    rows = api(snowflake).run("SELECT … QUERY_HISTORY")
    assert [row["milliseconds"] for row in rows] == ["1", "2", "3", "4", "5"]


def test_partitions_that_come_later_are_waited_for(snowflake: Snowflake) -> None:
    snowflake.latencies, snowflake.partition_rows, snowflake.late_partitions = [1.0, 2.0, 3.0], 1, 3
    rows = api(snowflake).run("SELECT … QUERY_HISTORY")
    assert [row["milliseconds"] for row in rows] == ["1", "2", "3"]


def test_a_table_that_snowflake_does_not_know_hides_neither_latencies_nor_other_tables(
    snowflake: Snowflake, aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.contracts = {"events", "bare"}
    snowflake.tables, snowflake.refreshing = ["SEMANTIC_BARE"], "STALLED"
    done = function.handler(at(NOW), CONTEXT)
    assert (done["queries"], done["stalled"]) == (3, ["LEAN_OPS.SEMANTIC.semantic_bare"])
    assert list(done["unknown"]) == ["LEAN_OPS.SEMANTIC.semantic_events"]
    assert "found none that its role may see" in done["unknown"]["LEAN_OPS.SEMANTIC.semantic_events"]
    out = capsys.readouterr().out.replace(" ", "")
    assert '"SnowflakeRefreshUnknown":[1' in out
    assert '"SnowflakeQueryMilliseconds":[120' in out


@pytest.mark.parametrize(
    "item", [{"read_until": {"S": "yesterday"}}, {}, {"read_until": {"S": "2026-03-01"}}]
)
def test_a_damaged_note_of_how_far_it_has_read_is_written_anew(aws: Aws, item: dict[str, Any]) -> None:
    aws.item = {"checkpoint_id": {"S": "x"}, **item}
    assert function.handler(at(NOW), CONTEXT)["queries"] == 3
    assert aws.item["read_until"]["S"] == (NOW - timedelta(minutes=1)).isoformat()


# What may come in place of an answer, by proxies, maintenance and mistakes; each for any request.
RESULT: dict[str, Any] = {
    "statementHandle": "1",
    "resultSetMetaData": {"rowType": [{"name": "MILLISECONDS"}], "partitionInfo": [{}, {}]},
    "data": [["1"]],
}
WRONG: list[Any] = [None, 7, "x", [], {}, [7], [["1", "2"]]]
ODD = [
    *(b"", b"null", b"7", b'"text"', b"[]", b"{}", b"<html>Sign in</html>", b"\xff\xfe", b"[" * 100_000),
    *(json.dumps({**RESULT, name: odd}).encode() for name in RESULT for odd in WRONG),
    json.dumps({**RESULT, "resultSetMetaData": {"rowType": [{"name": 7}]}}).encode(),
    json.dumps({**RESULT, "data": [["much"]]}).encode(),
    json.dumps({**RESULT, "data": [["NaN"]]}).encode(),
    json.dumps({**RESULT, "data": [["-1"]]}).encode(),
    json.dumps({**RESULT, "data": [[None]], "statementHandle": "../../login"}).encode(),
    json.dumps(
        {**RESULT, "resultSetMetaData": {**RESULT["resultSetMetaData"], "partitionInfo": [{}] * 5_000}}
    ).encode(),
]


class Scripted:
    """Answers with what it was given, request by request, the last for ever."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.urls: list[str] = []

    def ask(self, _method: str, url: str, **_request: Any) -> Answer:
        self.urls.append(url)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@settings(max_examples=cases(60), deadline=None)
@given(
    st.lists(
        st.builds(
            Answer,
            status=st.sampled_from([200, 200, 202, 204, 301, 401, 403, 422, 429, 500, 503]),
            body=st.sampled_from([*ODD, json.dumps(RESULT).encode(), b'{"statementHandle":"1"}'])
            | st.binary(max_size=30),
            cut=st.sampled_from([False, False, True]),
            content_type=st.sampled_from(["application/json", "text/html", ""]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_comes_in_place_of_an_answer_ends_in_rows_or_in_an_error_of_this_project(
    answers: list[Answer],
) -> None:
    asker: Any = Scripted(*answers)
    api = SqlApi(Access.parse(secret("https://x.invalid")), asker, sleep=lambda _s: None)
    try:
        rows = history.latencies(api, NOW, NOW)
        found = late(api, {"a": NEWEST}, lambda _: json.dumps(METADATA).encode(), NOW)
    except (SnowflakeRefused, SnowflakeUnreachable) as error:
        assert len(str(error)) < 1_000
    else:
        assert all(row >= 0 for row in rows)
        assert len(found.tables) + len(found.unknown) <= 1
    assert all("/api/v2/statements" in url and ".." not in url for url in asker.urls)


@pytest.mark.parametrize("body", ODD)
def test_one_odd_answer_is_an_error_that_passes_or_an_empty_result(body: bytes) -> None:
    asker: Any = Scripted(Answer(200, body), Answer(200, b"<html>"))
    with pytest.raises(SnowflakeUnreachable, match=r"a proxy may answer|milliseconds of a query"):
        history.latencies(SqlApi(Access.parse(secret("https://x.invalid")), asker), NOW, NOW)


def test_a_foreign_key_is_refused_with_snowflakes_words(snowflake: Snowflake) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    foreign = SqlApi(
        Access.parse(secret(snowflake.url, private_key=pem)), Asker(retry=RetryPolicy(base_s=0.001))
    )
    with pytest.raises(SnowflakeRefused, match="390144"):
        foreign.run("SELECT 1")


def test_a_server_in_trouble_is_asked_again(snowflake: Snowflake) -> None:
    snowflake.statuses = [503, 429]
    assert api(snowflake).run("SELECT … QUERY_HISTORY")


@pytest.mark.parametrize("value", ["", "no json", "[]", '{"account": "a"}'])
def test_half_a_configuration_is_said_field_by_field(value: str) -> None:
    with pytest.raises(InvalidInput, match="private_key"):
        Access.parse(value)


def test_a_key_that_is_none_is_said_without_showing_it() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    wrong = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for key in ("n0t-a-key", wrong):
        with pytest.raises(InvalidInput, match="private_key") as refused:
            token(Access.parse(secret("http://127.0.0.1:1", private_key=key)), 0)
        assert key not in str(refused.value)


def test_the_address_follows_from_the_account_unless_it_is_given() -> None:
    assert Access.parse(secret("")).url == "https://ab12345.eu-west-1.snowflakecomputing.com"


def test_refresh_runs_the_statement_of_the_repository(snowflake: Snowflake) -> None:
    statement = refresh_statement("events")
    assert statement == "ALTER ICEBERG TABLE IF EXISTS lean_ops.semantic.semantic_events REFRESH"
    api(snowflake).run(statement)
    assert snowflake.statements[0]["statement"] == statement


def test_refresh_without_snowflake_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target.aws("test")
    monkeypatch.setattr(Target, "client", lambda _self, _service: Aws(None))
    with pytest.raises(SnowflakeNotConfigured, match=r"private_key.*lean-ops-test-snowflake"):
        access(target)
