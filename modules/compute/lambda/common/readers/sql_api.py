"""Snowflake's SQL API over HTTPS: one statement in, its rows as texts out, signed in with a key pair.

Sources: Snowflake documentation, "Snowflake SQL API reference" (POST /api/v2/statements, status 202 while a
statement runs, further partitions by GET) and "Using key-pair authentication" (the token's claims).
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from common.runtime import outside
from common.runtime.asking import PASSING, Asker, Unanswered
from common.runtime.errors import InvalidInput, PermanentError, TransientError

_TOKEN_S: Final = 3_000  # Snowflake accepts an hour at most
_TIMEOUT_S: Final = 20.0
_SUCCESS: Final = 200
_RUNNING: Final = 202
# One answer, unpacked: partitions are of 16 MB or less where rows are as small as here.
_MOST_BYTES: Final = 32 * 2**20
_MOST_PARTITIONS: Final = 100
_MOST_SAID: Final = 300
_HANDLE: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
_FIELDS: Final = ("account", "user", "private_key", "role", "warehouse", "database", "schema")


class SnowflakeRefused(PermanentError):  # noqa: N818 - Snowflake refused; "error" would say less
    """Snowflake does not run the statement: a wrong key, a missing right, or the statement itself."""


class SnowflakeUnreachable(TransientError):  # noqa: N818 - it is unreachable; "error" would say less
    """Snowflake did not answer, asked to come back later every time, or what came was not its API's."""


@dataclass(frozen=True)
class Access:
    """How to sign in and where to work. ``private_key`` is unencrypted PEM (PKCS#8); ``url`` has no path."""

    account: str
    user: str
    private_key: str
    role: str
    warehouse: str
    database: str
    schema: str
    url: str

    @classmethod
    def parse(cls, text: str) -> "Access":
        """Read the secret, a JSON object; raises InvalidInput naming the fields that are missing.

        ``url`` is optional: the account's public address stands for it.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            fields = None
        missing = [name for name in _FIELDS if not isinstance(fields, dict) or not fields.get(name)]
        if missing:
            raise InvalidInput(
                f"secret of Snowflake: expected a JSON object with {', '.join(_FIELDS)}, found none for "
                f"{', '.join(missing)}; set it again (docs/deploy.md)"
            )
        url = str(fields.get("url") or "") or f"https://{fields['account']}.snowflakecomputing.com"
        return cls(**{name: str(fields[name]) for name in _FIELDS}, url=url.rstrip("/"))


def token(access: Access, now_s: float) -> str:
    """The signed token of a key pair, for less than an hour; raises InvalidInput for a key that is none."""
    try:
        key = load_pem_private_key(access.private_key.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            "secret of Snowflake: expected private_key to be an unencrypted RSA key in PEM, found something "
            f"else ({type(error).__name__}); make one as infra/snowflake/06-monitoring-user.sql says"
        ) from None  # the original may quote the key
    if not isinstance(key, RSAPrivateKey):
        raise InvalidInput(
            f"secret of Snowflake: expected an RSA private_key, found {type(key).__name__}; make an RSA one"
        )
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    fingerprint = base64.b64encode(hashlib.sha256(der).digest()).decode()
    # An account locator carries its region after a dot; the token wants it without.
    subject = f"{access.account.split('.')[0].upper()}.{access.user.upper()}"
    claims = {
        "iss": f"{subject}.SHA256:{fingerprint}",
        "sub": subject,
        "iat": int(now_s),
        "exp": int(now_s) + _TOKEN_S,
    }
    return jwt.encode(claims, key, algorithm="RS256")


class SqlApi:
    """Runs statements; ``asker`` makes the requests, ``sleep`` waits between looks at a running statement.

    Every answer is judged before it is read: between the two may be a proxy, or a service half awake.
    """

    def __init__(
        self, access: Access, asker: Asker | None = None, sleep: Callable[[float], None] = outside.sleep
    ) -> None:
        self._access: Final = access
        self._asker: Final = asker or Asker()
        self._sleep: Final = sleep
        self._headers: Final = {
            "Authorization": f"Bearer {token(access, outside.now().timestamp())}",
            "X-Snowflake-Authorization-Token-Type": "KEYPAIR_JWT",
            "Accept": "application/json",
            "User-Agent": "lean-ops/1.0",
        }

    def run(
        self, statement: str, bindings: Mapping[str, str] | None = None, timeout_s: int = 60
    ) -> list[dict[str, str | None]]:
        """All rows of a statement, by lower-case column name, values as Snowflake's texts.

        ``bindings`` are texts for the statement's question marks, by position ("1", "2", …). ``timeout_s`` is
        for all of it, partitions included. Raises SnowflakeRefused or SnowflakeUnreachable.
        """
        document: dict[str, Any] = {
            "statement": statement,
            "timeout": timeout_s,
            "warehouse": self._access.warehouse,
            "role": self._access.role,
            "database": self._access.database,
            "schema": self._access.schema,
            "parameters": {"QUERY_TAG": "lean-ops"},
        }
        if bindings:
            document["bindings"] = {n: {"type": "TEXT", "value": text} for n, text in bindings.items()}
        deadline = outside.monotonic() + timeout_s
        # The id lets Snowflake know a repetition of the same request.
        path = f"/api/v2/statements?requestId={outside.new_id()}&retry=true"
        said = self._request("POST", path, deadline, document)
        if isinstance(said, _Running):
            said = self._ended(f"/api/v2/statements/{said.handle}", deadline)
        first = _judged(said, _Result)
        rows = list(_rows(first, first.data))
        partitions = len(first.resultSetMetaData.partitionInfo)
        if partitions > _MOST_PARTITIONS:
            raise _misunderstood(f"at most {_MOST_PARTITIONS} partitions", f"{partitions}")
        for number in range(1, partitions):  # the first came with the answer
            path = f"/api/v2/statements/{_handle(first.statementHandle)}?partition={number}"
            rows += _rows(first, _judged(self._ended(path, deadline), _Partition).data)
        return rows

    def _ended(self, path: str, deadline: float) -> bytes:
        """What is there once the statement has ended: looked at until then."""
        pause = 0.2
        while isinstance(said := self._request("GET", path, deadline), _Running):
            if outside.monotonic() + pause > deadline:
                raise SnowflakeUnreachable(
                    "Snowflake: expected the statement to end in time, found it running; "
                    "the next schedule tries again"
                )
            self._sleep(pause)
            pause = min(pause * 2, 5.0)
        return said

    def _request(
        self, method: str, path: str, deadline: float, document: dict[str, Any] | None = None
    ) -> "bytes | _Running":
        """The body of a success, or that the statement is running."""
        seconds = max(0.1, min(_TIMEOUT_S, deadline - outside.monotonic()))
        try:
            answer = self._asker.ask(
                method,
                self._access.url + path,
                document=document,
                headers=self._headers,
                seconds=seconds,
                most_bytes=_MOST_BYTES,
            )
        except Unanswered as error:
            raise SnowflakeUnreachable(
                f"Snowflake at {self._access.url}: {error}; check account and network"
            ) from error
        if answer.status in PASSING:
            raise SnowflakeUnreachable(
                f"Snowflake: expected success, found status {answer.status} every time; try again later"
            )
        if answer.cut:
            raise _misunderstood(f"an answer of at most {_MOST_BYTES} bytes", "a longer one")
        if answer.status == _RUNNING:
            return _Running(_handle(_judged(answer.body, _Status).statementHandle))
        if answer.status != _SUCCESS:
            try:
                said = _judged(answer.body, _Status)
                words = f"code {said.code}: {said.message[:_MOST_SAID]}"
            except SnowflakeUnreachable:
                words = f"an answer that is not Snowflake's ({answer.content_type or 'without a type'})"
            raise SnowflakeRefused(
                f"Snowflake: expected success, found status {answer.status}, {words}; "
                "check user, key, role and the grants of infra/snowflake"
            )
        return answer.body


@dataclass(frozen=True)
class _Running:
    """The statement with this handle has not ended."""

    handle: str


class _Column(msgspec.Struct):
    name: str


class _Metadata(msgspec.Struct):
    rowType: list[_Column]  # noqa: N815 - Snowflake's name
    partitionInfo: list[Any] = []  # noqa: N815 - Snowflake's name


class _Result(msgspec.Struct):
    resultSetMetaData: _Metadata  # noqa: N815 - Snowflake's name
    data: list[list[str | None]]
    statementHandle: str = ""  # noqa: N815 - Snowflake's name


class _Partition(msgspec.Struct):
    data: list[list[str | None]]


class _Status(msgspec.Struct):
    code: str = ""
    message: str = ""
    statementHandle: str = ""  # noqa: N815 - Snowflake's name


_Judged = TypeVar("_Judged")


def _judged(body: bytes, kind: type[_Judged]) -> _Judged:
    """``body`` as what the service promises; raises SnowflakeUnreachable, since another answer may come."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        found = f"{len(body)} bytes of something else"
        raise _misunderstood(f"{kind.__name__.strip('_').lower()} as JSON", found) from error


def _rows(result: _Result, data: list[list[str | None]]) -> Iterator[dict[str, str | None]]:
    names = [column.name.lower() for column in result.resultSetMetaData.rowType]
    for row in data:
        if len(row) != len(names):
            raise _misunderstood(f"rows of {len(names)} values", f"one of {len(row)}")
        yield dict(zip(names, row, strict=True))


def _handle(text: str) -> str:
    """A statement's handle, which becomes a part of a URL."""
    if not _HANDLE.fullmatch(text):
        raise _misunderstood("the handle of a statement", "none")
    return text


def _misunderstood(expected: str, found: str) -> SnowflakeUnreachable:
    return SnowflakeUnreachable(
        f"Snowflake: expected {expected}, found {found}; a proxy may answer in its place, or it is in "
        "maintenance: the next schedule tries again"
    )
