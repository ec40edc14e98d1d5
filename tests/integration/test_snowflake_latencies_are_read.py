"""Query latencies come from Snowflake's SQL API; a local server speaks it and checks the signed token."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import urllib3
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from common.errors import InvalidInput
from common.settings import Settings
from lean_ops.commands.refresh import SnowflakeNotConfigured, access, refresh_statement
from lean_ops.target import Target
from snowflake_latency import handler as function
from snowflake_latency.sql_api import Access, SnowflakeRefused, SnowflakeUnreachable, SqlApi, retries, token

SETTINGS = Settings.from_environment(
    {
        "LEAN_OPS_PROJECT": "lean-ops",
        "LEAN_OPS_ENV": "test",
        "LEAN_OPS_TOPICS": "events,bare",
        "LEAN_OPS_SNOWFLAKE_SECRET_ID": "lean-ops-test-snowflake",
    }
)
CONTEXT = cast("Any", SimpleNamespace(aws_request_id="r"))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class Snowflake:
    """The SQL API: signed in by key pair, statements that may run a while, results in partitions."""

    def __init__(self) -> None:
        self.statements: list[dict[str, Any]] = []
        self.latencies = [120.0, 80.0, 2500.0]
        self.refreshing = "RUNNING"
        self.running_looks = 0
        self.partition_rows = 1_000
        self.statuses: list[int] = []
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
                handle = str(len(snowflake.statements))
                snowflake._results[handle] = snowflake.rows(document)
                if snowflake.running_looks:
                    self.answer(202, {"statementHandle": handle, "code": "333334"})
                else:
                    self.answer(200, snowflake.result(handle, document["statement"]))

            def do_GET(self) -> None:
                snowflake.check(self.headers)
                path = urlsplit(self.path)
                handle = path.path.rpartition("/")[2]
                if partition := parse_qs(path.query).get("partition"):
                    self.answer(200, {"data": snowflake.part(handle, int(partition[0]))})
                elif snowflake.running_looks > 1:
                    snowflake.running_looks -= 1
                    self.answer(202, {"statementHandle": handle})
                else:
                    self.answer(200, snowflake.result(handle, ""))

            def answer(self, status: int, document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
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

    def rows(self, document: dict[str, Any]) -> list[list[str]]:
        if "QUERY_HISTORY" in document["statement"]:
            return [[str(int(latency))] for latency in self.latencies]
        if "AUTO_REFRESH_STATUS" in document["statement"]:
            return [[json.dumps({"executionState": self.refreshing})]]
        return []

    def part(self, handle: str, number: int) -> list[list[str]]:
        return self._results[handle][number * self.partition_rows : (number + 1) * self.partition_rows]

    def result(self, handle: str, statement: str) -> dict[str, Any]:
        rows = self._results[handle]
        parts = max(1, -(-len(rows) // self.partition_rows))
        name = "STATUS" if "AUTO_REFRESH_STATUS" in statement else "MILLISECONDS"
        return {
            "statementHandle": handle,
            "resultSetMetaData": {
                "numRows": len(rows),
                "rowType": [{"name": name, "type": "text"}],
                "partitionInfo": [{"rowCount": self.partition_rows}] * parts,
            },
            "data": self.part(handle, 0),
        }


class Aws:
    """Secrets Manager, DynamoDB and S3 as far as the function uses them."""

    def __init__(self, secret: str | None) -> None:
        self.secret = secret
        self.item: dict[str, Any] | None = None

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:
        assert SecretId == "lean-ops-test-snowflake"
        if self.secret is None:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": ""}}, "call")
        return {"SecretString": self.secret}

    def get_item(self, **_request: Any) -> dict[str, Any]:
        return {"Item": self.item} if self.item else {}

    def put_item(self, *, TableName: str, Item: dict[str, Any]) -> None:
        self.item = Item

    def head_object(self, *, Bucket: str, Key: str) -> None:
        if Key != "contracts/events.yaml":
            raise ClientError({"Error": {"Code": "404", "Message": ""}}, "call")


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
    pool = urllib3.PoolManager(retries=retries(backoff_s=0.001))
    monkeypatch.setattr(function, "_settings", lambda: SETTINGS)
    monkeypatch.setattr(function, "_client", lambda _service: aws)
    monkeypatch.setattr(function, "_pool", lambda: pool)
    return aws


def api(snowflake: Snowflake) -> SqlApi:
    pool = urllib3.PoolManager(retries=retries(backoff_s=0.001))
    return SqlApi(Access.parse(secret(snowflake.url)), pool, sleep=lambda _s: None)


def at(time: datetime) -> dict[str, Any]:
    return {"time": time.isoformat()}


@pytest.mark.usefixtures("aws")
def test_latencies_become_a_distribution(snowflake: Snowflake, capsys: pytest.CaptureFixture[str]) -> None:
    done = function.handler(at(NOW), CONTEXT)
    assert done == {"configured": True, "queries": 3, "stalled": []}
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
    assert function.handler(at(NOW), CONTEXT) == {"configured": False, "queries": 0, "stalled": []}
    assert snowflake.statements == []
    assert "_aws" not in capsys.readouterr().out


def test_results_in_several_partitions_and_statements_that_take_a_while(snowflake: Snowflake) -> None:
    snowflake.latencies, snowflake.partition_rows, snowflake.running_looks = [1.0, 2.0, 3.0, 4.0, 5.0], 2, 3
    rows = api(snowflake).run("SELECT … QUERY_HISTORY")
    assert [row["milliseconds"] for row in rows] == ["1", "2", "3", "4", "5"]


def test_a_foreign_key_is_refused_with_snowflakes_words(snowflake: Snowflake) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    pool = urllib3.PoolManager(retries=retries(backoff_s=0.001))
    foreign = SqlApi(Access.parse(secret(snowflake.url, private_key=pem)), pool)
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
