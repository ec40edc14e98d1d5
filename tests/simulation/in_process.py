"""DynamoDB without a network: the emulator's own code, without the SDK's way to it.

A history asks some 250 times. Validation, signature and headers take four times as long as the answer.
"""

import json
import re
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

from botocore.exceptions import ClientError
from ministack.services import dynamodb

from .clock import UnmodelledError

_WRITES: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem"})
_READS: Final = frozenset({"GetItem", "Query", "Scan"})


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
