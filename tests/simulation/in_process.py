"""What a sequence does hundreds of times, without what costs most of it and changes nothing.

A sequence asks DynamoDB some eighty times and loads a table as often. The SDK's way to an answer (validation,
signature, headers) takes four times as long as the answer, and pyiceberg works out again what cannot have
changed: metadata files are never written twice, and a transaction's updates are the same until one is added.
"""

import functools
import json
import re
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

from botocore.exceptions import ClientError
from ministack.services import dynamodb
from pyiceberg.catalog import sql
from pyiceberg.io import FileIO, InputFile
from pyiceberg.manifest import ManifestFile
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Transaction
from pyiceberg.table.metadata import TableMetadata, TableMetadataV2
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import update_table_metadata

from common.contract import contracts
from common.lake import avro
from lean_ops import cli

from .clock import UnmodelledError

_WRITES: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem"})
_READS: Final = frozenset({"GetItem", "Query", "Scan"})
_help: Final = functools.cache(cli._help)


class ConditionFailedError(ClientError):
    """As the SDK's client has it among its ``exceptions``."""


class DynamoDB:
    """The SDK's client as far as it is used here; the emulator's own code answers, without a network.

    ``lags``: whether a read that did not ask for consistency is answered as if the table's last write had
    not been; asked for each. A write is seen by all of them a second later (developer guide, "DynamoDB read
    consistency"). ``now``: the time, in seconds.
    """

    def __init__(
        self,
        external: Callable[..., Any],
        lags: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._external, self._lags, self._now = external, lags, now
        self._before: dict[str, tuple[float, dict[str, dict[str, Any]]]] = {}
        self.exceptions = SimpleNamespace(ConditionalCheckFailedException=ConditionFailedError)

    def __getattr__(self, method: str) -> Callable[..., dict[str, Any]]:
        if method.startswith("_"):
            raise AttributeError(method)
        action = re.sub("(?:^|_)([a-z])", lambda found: found[1].upper(), method)
        return lambda **request: self._external(
            lambda: self._answered(action, request), f"dynamodb {method.replace('_', ' ')}"
        )

    def _answered(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request, by the state that it is given for."""
        if action in _WRITES:
            items = dynamodb._tables[request["TableName"]]["items"]
            before = {key: dict(sorted_by) for key, sorted_by in items.items()}
            answer = _answer(action, request)
            self._before[request["TableName"]] = (self._now(), before)
            return answer
        for name in _eventually_read(action, request):
            written_at, before = self._before.get(name, (0.0, {}))
            if before and self._now() - written_at < 1.0 and self._lags():
                with patch.dict(dynamodb._tables[name], items=defaultdict(dict, before)):
                    return _answer(action, request)
        return _answer(action, request)

    def get_paginator(self, method: str) -> SimpleNamespace:
        """The SDK's paginator."""

        def pages(**request: Any) -> Iterator[dict[str, Any]]:
            page = getattr(self, method)(**request)
            yield page
            while "LastEvaluatedKey" in page:
                page = getattr(self, method)(**request, ExclusiveStartKey=page["LastEvaluatedKey"])
                yield page

        return SimpleNamespace(paginate=pages)


def _eventually_read(action: str, request: dict[str, Any]) -> list[str]:
    """Tables of which a request may be told what was there a moment ago."""
    if action == "BatchGetItem":
        return [name for name, of in request["RequestItems"].items() if not of.get("ConsistentRead")]
    return [request["TableName"]] if action in _READS and not request.get("ConsistentRead") else []


def _answer(action: str, request: dict[str, Any]) -> dict[str, Any]:
    headers = {"x-amz-target": f"DynamoDB_20120810.{action}"}
    body = json.dumps(request, default=lambda value: b64encode(value).decode()).encode()
    work = dynamodb.handle_request("POST", "/", headers, body, {})
    try:
        work.send(None)
    except StopIteration as done:
        status, _, content = done.value
    else:
        raise UnmodelledError("an answer of the emulator's DynamoDB that it has to wait for")
    answer: dict[str, Any] = json.loads(content, object_hook=_with_bytes)
    if status >= 400:
        code = str(answer["__type"]).rpartition("#")[2]
        kind = ConditionFailedError if code == "ConditionalCheckFailedException" else ClientError
        raise kind({"Error": {"Code": code, "Message": answer.get("message", "")}}, action)
    return answer


def _with_bytes(value: dict[str, Any]) -> dict[str, Any]:
    match value:
        case {"B": str(text)}:
            return {"B": b64decode(text)}
        case {"BS": list(texts)}:
            return {"BS": [b64decode(text) for text in texts]}
    return value


def _file(place: str) -> tuple[Any, ...]:
    """What a file is: its place, and which one is there; FileNotFoundError as from whoever reads it."""
    found = Path(place.removeprefix("file://")).stat()
    return place, found.st_ino, found.st_mtime_ns, found.st_size


def _kept_manifests() -> tuple[Callable[..., list[Any]], Callable[..., list[Any]]]:
    """Reading of manifests and of their lists, each file once.

    By what the file is as well as by its place: an erasure writes some of them again where they are.
    """
    entries, manifests = avro._READ_ENTRIES, avro._READ_LIST
    read_entries: Final[dict[Any, list[Any]]] = {}
    read_lists: Final[dict[Any, list[Any]]] = {}

    def entries_of(manifest: ManifestFile, io: FileIO, discard_deleted: bool = True) -> list[Any]:
        key = (_file(manifest.manifest_path), manifest.sequence_number, discard_deleted)
        if key not in read_entries:
            read_entries[key] = entries(manifest, io, discard_deleted)
        return list(read_entries[key])

    def manifests_of(snapshot: Snapshot, io: FileIO) -> list[Any]:
        key = _file(snapshot.manifest_list)
        if key not in read_lists:
            read_lists[key] = manifests(snapshot, io)
        return list(read_lists[key])

    return entries_of, manifests_of


def _copied(metadata: TableMetadataV2, _memo: Any = None) -> TableMetadataV2:
    """A copy that can be changed; what is in its lists never is."""
    made = metadata.model_copy()
    for name, value in vars(made).items():
        if isinstance(value, list | dict):
            vars(made)[name] = value.copy()
    return made


@contextmanager
def nothing_worked_out_twice() -> Iterator[None]:
    """Let pyiceberg keep what it has read or worked out, and contracts what their text says."""
    read = FromInputFile.table_metadata
    known: Final[dict[str, TableMetadata]] = {}

    def metadata(file: InputFile) -> TableMetadata:
        if file.location not in known or not file.exists():  # one that was removed is not there
            known[file.location] = read(file)
        return known[file.location]

    def staged(transaction: Transaction) -> TableMetadata:
        table, updates = transaction._table.metadata, transaction._updates
        last = transaction.__dict__.get("_last_staged")
        if last is None or last[0] is not table or last[1] is not updates:
            last = (table, updates, update_table_metadata(table, updates))
            transaction.__dict__["_last_staged"] = last
        answer: TableMetadata = last[2]
        return answer

    entries_of, manifests_of = _kept_manifests()
    tokens = functools.cache(dynamodb._tokenize)
    with ExitStack() as patches:
        patches.enter_context(patch.object(avro, "_READ_ENTRIES", entries_of))
        patches.enter_context(patch.object(avro, "_READ_LIST", manifests_of))
        patches.enter_context(patch.object(TableMetadataV2, "__deepcopy__", _copied))
        patches.enter_context(patch.object(dynamodb, "_tokenize", lambda text: list(tokens(text))))
        patches.enter_context(patch.object(sql, "FromInputFile", SimpleNamespace(table_metadata=metadata)))
        patches.enter_context(patch.object(Transaction, "table_metadata", property(staged)))
        patches.enter_context(patch.object(contracts, "_read", functools.cache(contracts._read)))
        patches.enter_context(patch.object(cli, "_help", _help))
        yield
