"""The objects of the lake bucket with all their versions: looked at, replaced, and removed for good.

A deleted object of a versioned bucket is still there, as a version that is not the current one, and so is
what was overwritten. What an erasure removes goes with its versions. In a bucket without versions (the
local stack's) each object has one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from common.runtime.errors import TransientError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_AT_ONCE: Final = 1_000  # DeleteObjects takes so many keys
_GONE: Final = frozenset({"NoSuchKey", "NoSuchVersion", "404"})


@dataclass(frozen=True)
class Version:
    """One version of an object. ``marker``: it says only that the object was deleted."""

    key: str
    version_id: str
    current: bool
    size: int
    written: datetime
    marker: bool = False


class Objects:
    """A bucket."""

    def __init__(self, s3: "S3Client", bucket: str) -> None:
        self.s3: Final = s3
        self.bucket: Final = bucket

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """Every version of every object whose key begins so."""
        pages = self.s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix)
        for page in pages:
            yield from (_version(entry, size=entry["Size"]) for entry in page.get("Versions", []))
            yield from (_version(entry, marker=True) for entry in page.get("DeleteMarkers", []))

    def read(self, version: Version) -> bytes | None:
        """The content of a version; None where it has been removed meanwhile."""
        try:
            answer = self.s3.get_object(Bucket=self.bucket, Key=version.key, **_id(version))
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
            return None
        return answer["Body"].read()

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    def get(self, key: str) -> bytes | None:
        """The current content of an object; None where there is none."""
        try:
            return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
            return None

    def replace(self, key: str, content: bytes) -> None:
        """Write an object, or remove it where nothing is left of it; its earlier versions go."""
        if content:
            self.put(key, content)
            self.remove([one for one in self.versions(key) if one.key == key and not one.current])
        else:
            self.remove_whole([key])

    def remove_whole(self, keys: Iterable[str]) -> int:
        """Remove objects with all their versions, deleted ones included; gives how many versions went."""
        wanted = set(keys)
        found = [one for prefix in _prefixes(wanted) for one in self.versions(prefix) if one.key in wanted]
        self.remove(found)
        return len(found)

    def remove(self, versions: Sequence[Version]) -> None:
        """Remove these versions; raises TransientError where the store keeps one."""
        for first in range(0, len(versions), _AT_ONCE):
            part = versions[first : first + _AT_ONCE]
            named: Any = [{"Key": one.key, **_id(one)} for one in part]
            answer = self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": named, "Quiet": True})
            if refused := answer.get("Errors", []):
                raise TransientError(
                    f"s3://{self.bucket}: expected to remove {len(part)} versions of objects, found "
                    f"{len(refused)} "
                    f"kept ({refused[0].get('Code')}: {refused[0].get('Key')}); see the rights to delete "
                    "versions, then run the same command again"
                )

    def key_of(self, location: str) -> str | None:
        """The key of a file of this bucket, by its location; None for another place."""
        for scheme in ("s3", "s3a", "s3n"):
            if location.startswith(begin := f"{scheme}://{self.bucket}/"):
                return location.removeprefix(begin)
        return None


def _version(entry: Any, *, size: int = 0, marker: bool = False) -> Version:
    return Version(
        entry["Key"],
        entry.get("VersionId") or "null",
        bool(entry["IsLatest"]),
        size,
        entry["LastModified"],
        marker,
    )


def _id(version: Version) -> dict[str, Any]:
    """The version of a request; an object of a bucket without versions has none to name."""
    return {} if version.version_id == "null" and version.current else {"VersionId": version.version_id}


def _prefixes(keys: Iterable[str]) -> set[str]:
    """Folders of the keys: one listing for many files that lie together."""
    return {f"{folder}/" if folder else key for key in keys for folder in [key.rpartition("/")[0]]}
