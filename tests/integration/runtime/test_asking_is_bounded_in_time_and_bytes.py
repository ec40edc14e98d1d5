"""A request to a service outside ends, whatever the service does, and keeps no more than was asked for."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from common.runtime.asking import Answer, Asker, Unanswered
from common.runtime.retrying import RetryPolicy


@cache
def packed_zeros() -> bytes:
    return gzip.compress(b"\0" * 100_000_000)


class Service:
    """A server that sends what ``script`` writes, and counts requests; ``ended``: the test is over."""

    def __init__(self) -> None:
        self.script: Callable[[BaseHTTPRequestHandler], None] = lambda _request: None
        self.requests = 0
        self.ended = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.requests += 1
                with suppress(ConnectionError):
                    service.script(self)
                self.close_connection = True

            def log_message(self, *_args: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/key"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.ended.set()
    service.server.shutdown()
    service.server.server_close()


def head(request: BaseHTTPRequestHandler, status: int = 200, **headers: str) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()


def ask(service: Service, seconds: float = 30.0, most_bytes: int = 1_000, tries: int = 2) -> Answer:
    return Asker(retry=RetryPolicy(tries, base_s=0.001)).ask(
        "GET", service.url, seconds=seconds, most_bytes=most_bytes
    )


def test_an_answer_is_its_status_its_body_and_its_type(service: Service) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        head(request, 404, Content_Type="text/html; charset=x", Content_Encoding="gzip")
        request.wfile.write(gzip.compress(b"gone"))

    service.script = answer
    assert ask(service) == Answer(404, b"gone", cut=False, content_type="text/html")
    assert service.requests == 1


def test_a_body_without_an_end_is_cut(service: Service) -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        head(request)
        while not service.ended.is_set():
            request.wfile.write(b"x" * 100_000)

    service.script = endless
    answer = ask(service)
    assert (len(answer.body), answer.cut) == (1_000, True)


def test_a_small_body_that_unpacks_to_a_huge_one_is_cut(service: Service) -> None:
    def bomb(request: BaseHTTPRequestHandler) -> None:
        head(request, Content_Encoding="gzip")
        request.wfile.write(packed_zeros())

    service.script = bomb
    answer = ask(service)
    assert (len(answer.body), answer.cut) == (1_000, True)


def test_what_is_not_packed_as_it_says_is_no_answer(service: Service) -> None:
    def lie(request: BaseHTTPRequestHandler) -> None:
        head(request, Content_Encoding="gzip")
        request.wfile.write(b"<html>")

    service.script = lie
    with pytest.raises(Unanswered, match="DecodeError in 2 tries"):
        ask(service)


def test_a_body_that_comes_drop_by_drop_ends_with_the_time(service: Service) -> None:
    def drip(request: BaseHTTPRequestHandler) -> None:
        head(request)
        while not service.ended.is_set():
            request.wfile.write(b"x")
            time.sleep(0.01)

    service.script = drip
    with pytest.raises(Unanswered, match="BodyTooSlowError"):
        ask(service, seconds=0.5, most_bytes=1_000_000)


def test_silence_ends_with_the_time(service: Service) -> None:

    def silent(_request: Any) -> None:
        service.ended.wait()

    service.script = silent
    with pytest.raises(Unanswered, match="ReadTimeoutError") as failed:
        ask(service, seconds=0.3)
    assert "key" not in str(failed.value)


def test_who_closes_without_an_answer_is_asked_again(service: Service) -> None:
    with pytest.raises(Unanswered, match="in 3 tries"):
        ask(service, tries=3)
    assert service.requests == 3


def test_who_asks_to_come_back_after_the_time_is_not_waited_for(service: Service) -> None:
    service.script = lambda request: head(request, 503, Retry_After="3600")
    assert ask(service).status == 503
    assert service.requests == 1


def test_a_redirect_is_not_followed(service: Service) -> None:
    service.script = lambda request: head(request, 302, Location="http://127.0.0.1:1/")
    assert ask(service).status == 302
