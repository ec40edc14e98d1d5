"""Ranges of objects on S3, one GET each, where Arrow's client would first ask for the object's size.

Arrow's C++ client skips that request for a file whose size it is told, but pyarrow (26) has no way to tell
it. boto3's ``get_object`` would do, and takes 2.6 times the processor time (4.2 ms against 1.6 ms for HEAD
and GET, on a busy machine); what is used here are the parts below it, at 1.9 ms: botocore signs, urllib3
sends.

Only the plain case is asked here: an object of a bucket whose address is simple, with credentials of the
environment or the table's. Anything else, and every answer that is not the bytes asked for, is left to Arrow
(None): it tries again, and what it raises is what a caller knows. So a network that drops every answer costs
twice the requests, which a log line says once, and no error of its own.
"""

import logging
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import quote

import pyarrow as pa
import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from pyiceberg.typedef import Properties
from urllib3.exceptions import HTTPError

from common.runtime.clients import CONNECT_S, READ_S, credentials

logger = logging.getLogger(__name__)

CONNECTIONS: Final = 32
"""Kept open to one host, as many as files are read at once on an object store."""

_WHOLE, _PART = 200, 206
_NOT_ASKED: Final = object()
# Properties of pyiceberg that say how Arrow's client reaches S3 otherwise than is done here.
_OTHERWISE: Final = ("s3.role-arn", "client.role-arn", "s3.proxy-uri", "s3.anonymous", "s3.resolve-region")


@dataclass
class Gets:
    """Ranges of objects, for a table's file store with these ``properties`` (pyiceberg's, ``s3.*``)."""

    properties: Properties
    _keys: Any = _NOT_ASKED
    _failed: bool = False

    def get(self, address: str, begin: int, size: int | None) -> pa.Buffer | None:
        """``size`` bytes from ``begin`` on, or all of the object; None where that failed."""
        span = {} if size is None else {"Range": f"bytes={begin}-{begin + size - 1}"}
        request = AWSRequest("GET", address, headers=span)
        keys = self._credentials().get_frozen_credentials()
        S3SigV4Auth(keys, "s3", self._property("region")).add_auth(request)
        try:
            answer = _pool().request("GET", address, headers=dict(request.headers), decode_content=False)
        except HTTPError as error:
            self._say(address, type(error).__name__)
            return None
        found = pa.py_buffer(answer.data)
        if answer.status != (_WHOLE if size is None else _PART) or size not in (None, found.size):
            self._say(address, f"status {answer.status}, {found.size} bytes")
            return None
        return found

    def address(self, location: str) -> str | None:
        """An object's URL, None where it is not asked for here.

        As the store's clients build it: S3 user guide, "Virtual hosting of buckets".
        """
        scheme, _, path = location.partition("://")
        bucket, _, key = path.partition("/")
        region = self._property("region")
        if scheme not in ("s3", "s3a") or not region or any(name in self.properties for name in _OTHERWISE):
            return None
        if self._credentials() is None:
            return None
        key = quote(key, safe="/~")
        if endpoint := self.properties.get("s3.endpoint"):
            virtual = self.properties.get("s3.force-virtual-addressing", "false").lower() == "true"
            return None if virtual else f"{endpoint.rstrip('/')}/{bucket}/{key}"
        if "." in bucket or region.startswith(("cn-", "us-iso", "eu-iso", "eusc-")):
            return None  # another certificate, another domain
        return f"https://{bucket}.s3.{region}.amazonaws.com/{key}"

    def _credentials(self) -> Any:
        """Those of the table, or of the environment; None for none. Two threads may find them twice.

        That the environment has none is remembered too: it looks for them at an address of the network.
        """
        if self._keys is _NOT_ASKED:
            key, secret = self._property("access-key-id"), self._property("secret-access-key")
            token = self._property("session-token") or None
            self._keys = Credentials(key, secret, token) if key and secret else credentials()
        return self._keys

    def _property(self, name: str) -> str:
        """What a table says of S3, or else of all clients of AWS, as pyiceberg takes it; "" for nothing."""
        return self.properties.get(f"s3.{name}") or self.properties.get(f"client.{name}") or ""

    def _say(self, address: str, found: str) -> None:
        """That a range is left to Arrow, the first time: if all were, it would be twice the requests."""
        if not self._failed:
            self._failed = True
            logger.warning("GET %s: found %s; asking again through Arrow", address, found)

    def __getstate__(self) -> Properties:
        """What another process needs."""
        return self.properties

    def __setstate__(self, state: Properties) -> None:
        self.__init__(state)  # type: ignore[misc]


@cache
def _pool() -> urllib3.PoolManager:
    """Connections of this process, for all tables."""
    timeout = urllib3.Timeout(connect=CONNECT_S, read=READ_S)
    return urllib3.PoolManager(maxsize=CONNECTIONS, retries=False, timeout=timeout)
