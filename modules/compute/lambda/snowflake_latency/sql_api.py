"""Snowflake's SQL API over HTTPS: one statement in, its rows as texts out, signed in with a key pair.

Sources: Snowflake documentation, "Snowflake SQL API reference" (POST /api/v2/statements, status 202 while a
statement runs, further partitions by GET) and "Using key-pair authentication" (the token's claims).
"""

import base64
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
import urllib3
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from urllib3.exceptions import HTTPError

from common.errors import InvalidInput, PermanentError, TransientError

_TOKEN_S: Final = 3_000  # Snowflake accepts an hour at most
_TIMEOUT_S: Final = 20.0
_PASSING: Final = (429, 500, 502, 503, 504)
_RUNNING: Final = 202
_FIELDS: Final = ("account", "user", "private_key", "role", "warehouse", "database", "schema")


class SnowflakeRefused(PermanentError):  # noqa: N818 - Snowflake refused; "error" would say less
    """Snowflake does not run the statement: a wrong key, a missing right, or the statement itself."""


class SnowflakeUnreachable(TransientError):  # noqa: N818 - it is unreachable; "error" would say less
    """Snowflake did not answer, or asked to come back later, every time."""


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
        except ValueError:
            fields = None
        missing = [name for name in _FIELDS if not isinstance(fields, dict) or not fields.get(name)]
        if missing:
            raise InvalidInput(
                f"secret of Snowflake: expected a JSON object with {', '.join(_FIELDS)}, found none for "
                f"{', '.join(missing)}; set it again (docs/deploy.md)"
            )
        url = fields.get("url") or f"https://{fields['account']}.snowflakecomputing.com"
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
    """Runs statements; ``pool`` makes the requests, ``sleep`` waits between looks at a running statement."""

    def __init__(
        self, access: Access, pool: urllib3.PoolManager, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._access: Final = access
        self._pool: Final = pool
        self._sleep: Final = sleep
        self._headers: Final = {
            "Authorization": f"Bearer {token(access, time.time())}",
            "X-Snowflake-Authorization-Token-Type": "KEYPAIR_JWT",
            "Accept": "application/json",
            "User-Agent": "lean-ops/1.0",
        }

    def run(
        self, statement: str, bindings: Mapping[str, str] | None = None, timeout_s: int = 60
    ) -> list[dict[str, str | None]]:
        """All rows of a statement, by lower-case column name, values as Snowflake's texts.

        ``bindings`` are texts for the statement's question marks, by position ("1", "2", …). Raises
        SnowflakeRefused or SnowflakeUnreachable.
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
        # The id lets Snowflake know a repetition of the same request.
        answer = self._request("POST", f"/api/v2/statements?requestId={uuid.uuid4()}&retry=true", document)
        deadline = time.monotonic() + timeout_s
        pause = 0.2
        while "resultSetMetaData" not in answer:
            if time.monotonic() > deadline:
                raise SnowflakeUnreachable(
                    f"Snowflake: expected the statement to end within {timeout_s} s, found it running; "
                    "the next schedule tries again"
                )
            self._sleep(pause)
            pause = min(pause * 2, 5.0)
            answer = self._request("GET", f"/api/v2/statements/{answer['statementHandle']}")
        return list(self._rows(answer))

    def _rows(self, answer: dict[str, Any]) -> Iterator[dict[str, str | None]]:
        metadata = answer["resultSetMetaData"]
        names = [column["name"].lower() for column in metadata["rowType"]]
        for partition in range(max(1, len(metadata.get("partitionInfo", [])))):
            if partition:  # the first comes with the answer
                path = f"/api/v2/statements/{answer['statementHandle']}?partition={partition}"
                answer = {**answer, "data": self._request("GET", path)["data"]}
            for row in answer["data"]:
                yield dict(zip(names, row, strict=True))

    def _request(self, method: str, path: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = self._pool.request(
                method, self._access.url + path, json=document, headers=self._headers, timeout=_TIMEOUT_S
            )
        except HTTPError as error:
            raise SnowflakeUnreachable(
                f"Snowflake at {self._access.url}: expected an answer within {_TIMEOUT_S:.0f} s, found "
                f"{type(error).__name__}; check account and network"
            ) from error
        said: dict[str, Any] = answer.json() if answer.data else {}
        if answer.status in _PASSING:
            raise SnowflakeUnreachable(
                f"Snowflake: expected success, found status {answer.status} every time; try again later"
            )
        if answer.status not in (200, _RUNNING):
            raise SnowflakeRefused(
                f"Snowflake: expected success, found status {answer.status}, code {said.get('code')}: "
                f"{said.get('message')}; check user, key, role and the grants of infra/snowflake"
            )
        return said


def retries(backoff_s: float = 0.5) -> urllib3.Retry:
    """When to ask again: no answer, too many requests, or a server's error."""
    return urllib3.Retry(
        total=3,
        backoff_factor=backoff_s,
        status_forcelist=_PASSING,
        allowed_methods=None,  # a repeated statement is known by its request id
        raise_on_status=False,
        redirect=False,
    )
