"""Where the contracts of an environment are kept: one object a topic in the lake bucket.

``terraform apply``, ``lean-ops up`` and ``lean-ops contract publish`` put them there from
``contracts/<topic>.yaml``, so that a new or changed contract reaches the jobs without a new deployment of
their code. What the latter two put there is kept beside by its version: rows carry the version that typed
them, and how that one treated personal data is only known by its text.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from common.runtime.errors import ContractError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_FOLDER: Final = "contracts/"
KEPT: Final = "contract_versions/"
"""Where texts are kept by topic and version."""
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
_OVERTAKEN: Final = _ABSENT | {"PreconditionFailed", "ConditionalRequestConflict"}


def contract_key(topic: str) -> str:
    """Object key of a topic's contract."""
    return f"{_FOLDER}{topic}.yaml"


def contract_exists(s3: "S3Client", bucket: str, topic: str) -> bool:
    """Whether ``topic`` has a contract."""
    try:
        s3.head_object(Bucket=bucket, Key=contract_key(topic))
    except ClientError as error:
        if error.response["Error"]["Code"] not in _ABSENT:
            raise
        return False
    return True


def contract_times(s3: "S3Client", bucket: str) -> dict[str, int]:
    """When the contract of each topic was last written, in seconds since 1970."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=_FOLDER)
    return {
        PurePosixPath(found["Key"]).stem: int(found["LastModified"].timestamp())
        for page in pages
        for found in page.get("Contents", ())
    }


def read_contract(s3: "S3Client", bucket: str, topic: str) -> str:
    """The text of a topic's contract; raises ContractError when there is none."""
    try:
        return s3.get_object(Bucket=bucket, Key=contract_key(topic))["Body"].read().decode()
    except ClientError as error:
        if error.response["Error"]["Code"] not in _ABSENT:
            raise
        raise ContractError(
            f"contract of topic {topic}: expected s3://{bucket}/{contract_key(topic)}, found none; "
            f"add contracts/{topic}.yaml and apply the environment"
        ) from error


@dataclass(frozen=True)
class KeptContract:
    """A contract that is, or was, in place: its version, its text, and when it was put there last."""

    version: str
    text: str
    at: datetime


def placed_contract(s3: "S3Client", bucket: str, topic: str) -> tuple[str, str]:
    """The text of a topic's contract, and the tag of that very object; both are empty where there is none."""
    try:
        found = s3.get_object(Bucket=bucket, Key=contract_key(topic))
    except ClientError as error:
        if error.response["Error"]["Code"] not in _ABSENT:
            raise
        return "", ""
    return found["Body"].read().decode(), found["ETag"]


def keep_contract(s3: "S3Client", bucket: str, topic: str, version: str, text: str) -> None:
    """Keep the text of a contract by its version, whichever is in place."""
    s3.put_object(Bucket=bucket, Key=f"{KEPT}{topic}/{version}.yaml", Body=text.encode())


def put_contract(
    s3: "S3Client", bucket: str, topic: str, version: str, text: str, *, over: str | None = None
) -> bool:
    """Put a contract in place, and keep its text by its version; kept first, so that none is unknown.

    ``over``: the tag of what it takes the place of (``placed_contract``), empty for nothing; None: whatever
    is there. False where something else is there by now, which stays (S3, "Conditional writes"); where this
    very text is, an earlier try put it there whose answer was lost.
    """
    keep_contract(s3, bucket, topic, version, text)
    condition: Any = {} if over is None else {"IfMatch": over} if over else {"IfNoneMatch": "*"}
    try:
        s3.put_object(Bucket=bucket, Key=contract_key(topic), Body=text.encode(), **condition)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _OVERTAKEN or not condition:
            raise
        return placed_contract(s3, bucket, topic)[0] == text
    return True


def kept_contracts(s3: "S3Client", bucket: str, topic: str) -> Iterator[KeptContract]:
    """The contracts of a topic that were kept, in the order in which they were put in place."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{KEPT}{topic}/")
    found = [one for page in pages for one in page.get("Contents", ())]
    for one in sorted(found, key=lambda each: each["LastModified"]):
        text = s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read().decode()
        yield KeptContract(PurePosixPath(one["Key"]).stem, text, one["LastModified"])
