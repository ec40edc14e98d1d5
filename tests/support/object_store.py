"""A store that speaks as much of S3 as Arrow's client asks for, in this process, and notes each request."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class ObjectStore:
    """``asked``: method and path of each request, as answered. ``refused``: what GETs get next."""

    port: int = 0
    objects: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def properties(self) -> dict[str, str]:
        """What a catalog has to know of it."""
        return {
            "s3.endpoint": f"http://127.0.0.1:{self.port}",
            "s3.region": "eu-west-1",
            "s3.access-key-id": "test",
            "s3.secret-access-key": "test",  # no secret: nobody asks for it
        }

    def count(self, *methods: str) -> int:
        """Requests of these methods."""
        return sum(method in methods for method, _ in self.asked)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""

    def _asked(self) -> tuple[ObjectStore, str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        self.server.store.asked.append((self.command, unquote(parts.path)))
        return self.server.store, unquote(parts.path), parse_qs(parts.query, keep_blank_values=True)

    def _answer(self, status: int, body: bytes = b"", size: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.send_header("ETag", '"x"')
        self.send_header("Last-Modified", "Fri, 27 Nov 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        if "Content-Length" in self.headers:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        else:
            body = b"".join(self._chunks())
        return _without_lengths(body) if "aws-chunked" in self.headers.get("Content-Encoding", "") else body

    def _chunks(self) -> Iterator[bytes]:
        """A body of chunks (HTTP/1.1), to its end."""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def do_HEAD(self) -> None:
        store, path, _ = self._asked()
        found = store.objects.get(path)
        self._answer(404) if found is None else self._answer(200, size=len(found))

    def do_GET(self) -> None:
        store, path, _ = self._asked()
        found = store.objects.get(path)
        if store.refused or found is None:
            self._answer(store.refused.pop() if store.refused else 404)
            return
        if "Range" not in self.headers:
            self._answer(200, found)
            return
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        self._answer(206, found[int(first) : int(last) + 1])

    def do_PUT(self) -> None:
        store, path, query = self._asked()
        body = self._body()
        if "partNumber" in query:
            store.parts[query["uploadId"][0]][int(query["partNumber"][0])] = body
        else:
            store.objects[path] = body
        self._answer(200)

    def do_POST(self) -> None:
        store, path, query = self._asked()
        self._body()
        if "uploads" in query:
            number = str(next(store.numbers))
            store.parts[number] = {}
            tag = f"<InitiateMultipartUploadResult><UploadId>{number}</UploadId>"
            tag += "</InitiateMultipartUploadResult>"
        else:
            parts = store.parts.pop(query["uploadId"][0])
            store.objects[path] = b"".join(parts[number] for number in sorted(parts))
            tag = "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"
        self._answer(200, tag.encode())

    def do_DELETE(self) -> None:
        store, path, _ = self._asked()
        store.objects.pop(path, None)
        self._answer(204)


def _without_lengths(body: bytes) -> bytes:
    """What is in a body of S3's own chunks: each after its length in hexadecimal, a checksum at the end."""
    content = b""
    while True:
        length, _, body = body.partition(b"\r\n")
        size = int(length.split(b";")[0], 16)
        if not size:
            return content
        content, body = content + body[:size], body[size + 2 :]


class _Server(ThreadingHTTPServer):
    store: ObjectStore


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A store that is empty."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.store = ObjectStore(port=server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.store
    server.shutdown()
    server.server_close()
    thread.join()
