"""The audit of locked dependencies, against a stand-in of the advisory database."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lean_ops.checks import advisories
from lean_ops.checks.advisories import Finding, judge

ADVISORY = {
    "id": "GHSA-test-0000-0001",
    "summary": "Planted",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "msgspec"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "0.99"}]}],
        }
    ],
    "modified": "2026-01-01T00:00:00Z",
    "published": "2026-01-01T00:00:00Z",
}
HASH = "0" * 64
LOCK = f"boto3==1.43.0 \\\n    --hash=sha256:{HASH}\nmsgspec==0.22.0 \\\n    --hash=sha256:{HASH}\n"


class Database(BaseHTTPRequestHandler):
    """Answers as OSV does: one planted advisory about msgspec, none about anything else."""

    def do_GET(self) -> None:
        self.send_error(404)

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer({"vulns": [ADVISORY]} if query["package"]["name"] == "msgspec" else {})

    def _answer(self, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""


@pytest.fixture
def database() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Database) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text(LOCK)
    return path


def test_a_vulnerable_version_is_named_with_its_line_and_the_remedy(
    database: str, lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert advisories.main([str(lock), "--required", "--url", database]) == 1

    said = capsys.readouterr().err
    assert "requirements.lock:3" in said
    assert "GHSA-test-0000-0001 in msgspec 0.22.0" in said
    assert "0.99" in said


def test_a_database_out_of_reach_is_said_and_fails_where_it_is_required(
    lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = "http://127.0.0.1:9"  # the discard port; nothing listens

    assert advisories.main([str(lock), "--url", nowhere]) == 0
    assert "NOT audited" in capsys.readouterr().err
    assert advisories.main([str(lock), "--required", "--url", nowhere]) == 1


FINDING = Finding(Path("requirements.lock"), 3, "msgspec", "0.22.0", "GHSA-test-0000-0001", ())


def test_an_accepted_advisory_is_silent_as_long_as_it_is_found() -> None:
    accepted = {"GHSA-test-0000-0001": "not reachable from a function"}

    assert judge([FINDING], accepted) == []
    assert "remove it" in judge([], accepted)[0]


def test_an_advisory_without_a_mended_release_says_what_to_do() -> None:
    assert "no release mends it" in judge([FINDING], {})[0]
