"""An Iceberg REST catalog on loopback over a pyiceberg catalog: what DuckDB needs to run MERGE INTO, no more."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import CommitTableRequest


def serve(catalog: Catalog) -> str:
    """Serve ``catalog`` until the process ends; gives the endpoint."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            parts = [unquote(p) for p in urlparse(self.path).path.strip("/").split("/")][1:]
            status, answer = self._route(parts, body)
            data = b"" if answer is None else answer.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def _route(self, parts: list[str], body: dict[str, Any]) -> tuple[int, str | None]:
            match parts:
                case ["config"]:
                    return 200, json.dumps({"defaults": {}, "overrides": {}})
                case ["namespaces"]:
                    return 200, json.dumps({"namespaces": [list(n) for n in catalog.list_namespaces()]})
                case ["namespaces", name]:
                    return 200, json.dumps({"namespace": [name], "properties": {}})
                case ["namespaces", name, "tables"]:
                    tables = [{"namespace": [name], "name": t[-1]} for t in catalog.list_tables(name)]
                    return 200, json.dumps({"identifiers": tables})
                case ["namespaces", name, "tables", table]:
                    if self.command == "POST":
                        self._commit(name, table, body)
                    return self._table(name, table)
                case ["transactions", "commit"]:
                    for change in body["table-changes"]:
                        of = change["identifier"]
                        self._commit(of["namespace"][0], of["name"], change)
                    return 204, None
            return 404, json.dumps({"error": {"message": "unknown path", "type": "NotFound", "code": 404}})

        def _table(self, namespace: str, name: str) -> tuple[int, str]:
            try:
                table = catalog.load_table((namespace, name))
            except NoSuchTableError as error:
                problem = {"message": str(error), "type": "NoSuchTableException", "code": 404}
                return 404, json.dumps({"error": problem})
            location = json.dumps(table.metadata_location)
            metadata = table.metadata.model_dump_json()
            return 200, f'{{"metadata-location": {location}, "config": {{}}, "metadata": {metadata}}}'

        def _commit(self, namespace: str, name: str, body: dict[str, Any]) -> None:
            body["identifier"] = {"namespace": [namespace], "name": name}
            request = CommitTableRequest.model_validate(body)
            with lock:
                table = catalog.load_table((namespace, name))
                catalog.commit_table(table, request.requirements, request.updates)

        do_GET = do_POST = do_HEAD = do_DELETE = _answer  # noqa: N815 - names that http.server calls

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"
