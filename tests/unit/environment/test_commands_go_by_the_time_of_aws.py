"""A laptop's clock may be minutes off: what services say of the time counts (``outside.told``)."""

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest

from common.runtime import outside
from common.runtime.outside import Outside
from lean_ops.environment.target import told_the_time


class Service(BaseHTTPRequestHandler):
    """Answers nothing, and says what time it is, unless it says none."""

    ahead: timedelta | str | None = timedelta(0)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response_only(200)
        if isinstance(self.ahead, timedelta):
            self.send_header("Date", format_datetime(datetime.now(UTC) + self.ahead, usegmt=True))
        elif self.ahead is not None:
            self.send_header("Date", self.ahead)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")


@pytest.fixture
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with server, outside.standing_in(Outside()):
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("ahead_s", "counts_s"), [(240, 240), (-240, -240), (3, 0), (None, 0), ("no date", 0)], ids=str
)
def test_the_time_of_a_service_counts_where_it_is_another(
    service: str, ahead_s: int | str | None, counts_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = timedelta(seconds=ahead_s) if isinstance(ahead_s, int) else ahead_s
    monkeypatch.setattr(Service, "ahead", ahead)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    session = told_the_time(boto3.Session(region_name="eu-west-1"))
    with closing(session.client("sqs", endpoint_url=service)) as client:
        client.list_queues()
        # Answers say whole seconds; a loaded machine may have taken some to get here.
        assert abs((outside.now() - datetime.now(UTC)).total_seconds() - counts_s) < 30
        monkeypatch.setattr(Service, "ahead", timedelta(0))
        client.list_queues()
        assert abs(outside.now() - datetime.now(UTC)) < timedelta(seconds=30)
