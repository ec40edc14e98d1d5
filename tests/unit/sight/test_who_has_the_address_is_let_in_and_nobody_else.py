"""The page is for whoever has its address: its token, its name, its methods, and what its answers forbid."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPMessage
from typing import NamedTuple

import pytest

from common.runtime.errors import InvalidInput
from lean_ops.environment.target import Target, TargetUnreachable
from lean_ops.sight.pages import Place
from lean_ops.sight.serving import Site


def nowhere() -> Target:
    raise TargetUnreachable("local stack: expected one, found none; start it with `lean-ops up`")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site(nowhere, Place("local stack <b>test</b>"), 0) as site:
        yield site


class Answer(NamedTuple):
    """What came back, whole."""

    status: int
    headers: HTTPMessage
    body: str


def ask(
    site: Site, path: str, *, method: str = "GET", host: str = "", cookie: str = "", **headers: str
) -> Answer:
    with closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)) as connection:
        sent = {"Host": host or f"127.0.0.1:{site.port}", "Connection": "close", **headers}
        if cookie:
            sent["Cookie"] = cookie
        connection.request(method, path, headers=sent)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read().decode())


def cookie(site: Site, token: str = "") -> str:
    return f"lean-ops-{site.port}={token or site.token}"


def test_the_token_in_the_address_becomes_a_cookie_that_no_script_reads(site: Site) -> None:
    answer = ask(site, f"/?token={site.token}")
    assert (answer.status, answer.headers.get("Location")) == (303, "/")
    said = answer.headers.get("Set-Cookie") or ""
    assert site.token in said
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(said.split("; "))
    assert ask(site, "/", cookie=cookie(site)).status == 200


@pytest.mark.parametrize("path", ["/", "/runs", "/part/overview", "/style.css", "/live.js", "/nosuch"])
@pytest.mark.parametrize("given", ["", "x", "é", "\ud800"], ids=["none", "wrong", "unicode", "half a pair"])
def test_without_the_token_nothing_is_answered(site: Site, path: str, given: str) -> None:
    wrong = given.encode("utf-8", "surrogatepass").decode("latin-1")
    refused = ask(site, path, cookie=cookie(site, wrong) if wrong else "")
    assert refused.status == 403
    assert site.token not in refused.body


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1.evil.example:80", "169.254.169.254"]
)
def test_another_name_is_refused_even_with_the_token(site: Site, host: str) -> None:
    assert ask(site, f"/?token={site.token}", host=host).status == 421
    assert ask(site, "/", host=host, cookie=cookie(site)).status == 421


def test_localhost_is_this_place_too(site: Site) -> None:
    assert ask(site, "/", host=f"LocalHost:{site.port}", cookie=cookie(site)).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(site: Site, method: str) -> None:
    answer = ask(site, "/runs", method=method, cookie=cookie(site))
    assert (answer.status, answer.headers.get("Allow")) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/part/runs", "/style.css", "/live.js", "/nosuch", "/part/nosuch"])
def test_every_answer_forbids_what_the_page_does_not_need(site: Site, path: str) -> None:
    answer = ask(site, path, cookie=cookie(site))
    policy = answer.headers.get("Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers.get("X-Content-Type-Options") == "nosniff"
    assert answer.headers.get("Referrer-Policy") == "no-referrer"
    assert answer.headers.get("Cache-Control") == "no-store"
    body = answer.body
    assert "<script>" not in body
    assert "style=" not in body
    assert "onerror" not in body


def test_it_listens_on_loopback_alone(site: Site) -> None:
    (address, *_) = socket.gethostbyname_ex(socket.gethostname())[2]
    if address.startswith("127."):
        pytest.skip("this machine has no address but loopback")
    with socket.socket() as other:
        other.settimeout(5)
        assert other.connect_ex((address, site.port)) != 0


def test_what_is_as_it_was_is_not_sent_again(site: Site) -> None:
    for _ in range(600):  # until every part has said what it has to say
        tag = ask(site, "/part/cost", cookie=cookie(site)).headers.get("ETag") or ""
        again = ask(site, "/part/cost", cookie=cookie(site), **{"If-None-Match": tag})
        if again.status == 304:
            break
        threading.Event().wait(0.05)
    assert (again.status, again.headers.get("ETag"), again.body) == (304, tag, "")


def test_an_environment_that_is_not_there_is_a_sentence_of_every_view(site: Site) -> None:
    for view in ("", "flow", "runs", "waiting", "drift", "tables", "proof", "alarms", "cost"):
        for _ in range(600):
            body = ask(site, f"/{view}", cookie=cookie(site)).body
            if "start it with" in body:
                break
            threading.Event().wait(0.05)
        assert "local stack: expected one, found none; start it with" in body
        assert "local stack &lt;b&gt;test&lt;/b&gt;" in body


def test_a_port_that_is_taken_is_one_sentence(site: Site) -> None:
    with pytest.raises(InvalidInput, match=rf"--port: expected a free port .* found {site.port}"):
        Site(nowhere, Place("x"), site.port)
