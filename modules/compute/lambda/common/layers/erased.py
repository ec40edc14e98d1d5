"""Keys whose past was erased: remembered as keyed hashes, so that nothing brings their rows back.

A late event, a replay, a rebuild or a checkpoint that was set back gives RAW, or those who read it, such a
row again. Whoever reads RAW to fill a table leaves it out (``Erased.kept``), and says how many there were.
What was published later than the erasure and a day is another life of the key (docs/adr/0022).

The memory is one object a topic, ``erasures/remembered/<topic>.json``; a topic without it costs one request.
Its hashes are HMAC-SHA256, of which 128 bits are kept (RFC 2104, section 5), under the secret that also
hashes personal data; purpose and topic are hashed with the key, so that no hash equals one of Semantic or of
another topic.
"""

import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from botocore.exceptions import ClientError

from common.runtime.errors import PermanentError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

PREFIX: Final = "erasures/remembered/"

AHEAD: Final = timedelta(days=1)
"""An event may be published so long after it was received (``common.intake.events``)."""

_PURPOSE: Final = b"lean-ops erased key"
_CHECK: Final = b"lean-ops erased keys' secret"
_BYTES: Final = 16
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ErasuresUnreadable(PermanentError):  # noqa: N818 - they are unreadable; "error" would say less
    """Nobody can tell which keys of a topic were erased, so that its events must not be read."""


class Erasure(msgspec.Struct, frozen=True):
    """One erasure: what was published up to ``until`` of the keys with these hashes is gone."""

    id: str
    until: datetime
    keys: tuple[str, ...]


class Memory(msgspec.Struct, frozen=True):
    """The object of a topic. ``check``: a hash under the secret, by which another secret is noticed."""

    check: str
    erasures: tuple[Erasure, ...] = ()


class Hasher:
    """Hashes of the keys of a topic."""

    def __init__(self, secret: bytes, topic: str) -> None:
        self._secret = secret
        self._begin = b"\0".join((_PURPOSE, topic.encode(), b""))
        self.check: Final = hmac.digest(secret, _CHECK, "sha256").hex()

    def __call__(self, key: str | bytes) -> str:
        """The hash of a key, or of its UTF-8."""
        text = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key
        return hmac.digest(self._secret, self._begin + text, "sha256")[:_BYTES].hex()


class Erased:
    """The erased keys of a topic, as those who read its events ask for them."""

    def __init__(self, hasher: Hasher | None = None, erasures: Sequence[Erasure] = ()) -> None:
        self._hasher = hasher
        self._until: dict[str, int] = {}
        for erasure in erasures:
            until = microseconds(erasure.until)
            self._until |= {key: max(until, self._until.get(key, until)) for key in erasure.keys}

    @classmethod
    def load(cls, s3: "S3Client", bucket: str, topic: str, secret: Callable[[], bytes]) -> "Erased":
        """What is remembered of a topic; ``secret`` is asked for only where there is something.

        Raises ErasuresUnreadable where the secret is not the one that the hashes were made with.
        """
        memory = remembered(s3, bucket, topic)
        if memory is None or not memory.erasures:
            return cls()
        hasher = Hasher(secret(), topic)
        check_secret(memory, hasher, bucket, topic)
        return cls(hasher, memory.erasures)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._until)

    def without_keys(self, keys: Iterable[str]) -> "Erased":
        """The same but for these keys."""
        left = Erased(self._hasher)
        named = set(map(self._hasher, keys)) if self._hasher else set()
        left._until = {key: until for key, until in self._until.items() if key not in named}
        return left

    def covers(self, key: str, published_us: int | None = None) -> bool:
        """Whether an event of the key was erased; one whose time nobody can tell was."""
        until = self._until.get(self._hasher(key)) if self._hasher else None
        return until is not None and (published_us is None or published_us <= until)

    def among(self, rows: "pa.Table | pa.RecordBatch") -> npt.NDArray[np.bool_]:
        """Which of the rows (columns idempotency_key and publish_time) were erased."""
        hasher = self._hasher
        if hasher is None or not rows.num_rows:
            return np.zeros(rows.num_rows, dtype=bool)
        columns: list[Any] = [rows.column(name) for name in ("idempotency_key", "publish_time")]
        keys, times = (pa.chunked_array([c]) if isinstance(c, pa.Array) else c for c in columns)
        # Bytes: a reader of Parquet does not look whether a text is one.
        texts: Any = keys.cast(pa.binary())
        encoded = texts.fill_null(b"").combine_chunks().dictionary_encode()
        never = -(2**63)
        until = np.array([self._until.get(hasher(key), never) for key in encoded.dictionary.to_pylist()])
        moments: Any = times.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        published = moments.fill_null(0).to_numpy()
        found: npt.NDArray[np.bool_] = published <= until[encoded.indices.to_numpy()]
        return found

    def kept(
        self, batches: Iterable[pa.RecordBatch], told: Callable[[int], None] = lambda _rows: None
    ) -> Iterator[pa.RecordBatch]:
        """The rows that were not erased; ``told`` of each batch how many were."""
        if not self:
            yield from batches
            return
        for batch in batches:
            gone = self.among(batch)
            if not gone.any():
                yield batch
                continue
            told(int(np.count_nonzero(gone)))
            if not gone.all():
                yield batch.filter(pa.array(~gone))


class Kept:
    """A stream of rows that can be read again, without those that were erased.

    ``left_out``: how many these were when it was read last.
    """

    def __init__(self, erased: Erased, read: Callable[[], Iterable[pa.RecordBatch]]) -> None:
        self._erased, self._read = erased, read
        self.left_out = 0

    def __call__(self) -> Iterator[pa.RecordBatch]:
        """The rows, read anew."""
        self.left_out = 0
        yield from self._erased.kept(self._read(), self._count)

    def _count(self, rows: int) -> None:
        self.left_out += rows


NOTHING_ERASED: Final = Erased()


def microseconds(moment: datetime) -> int:
    """A moment in microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def object_key(topic: str) -> str:
    """Key of the memory of a topic."""
    return f"{PREFIX}{topic}.json"


def remembered(s3: "S3Client", bucket: str, topic: str) -> Memory | None:
    """The memory of a topic; None where there is none. Raises ErasuresUnreadable where it cannot be read."""
    try:
        content = s3.get_object(Bucket=bucket, Key=object_key(topic))["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
    try:
        return msgspec.json.decode(content, type=Memory)
    except msgspec.MsgspecError as error:
        raise ErasuresUnreadable(
            f"s3://{bucket}/{object_key(topic)}: expected the erased keys of topic {topic}, found something "
            f"else ({error}); restore the object's earlier version: without it erased rows would come back"
        ) from error


def remember(s3: "S3Client", bucket: str, topic: str, hasher: Hasher, erasure: Erasure) -> None:
    """Add an erasure to the memory of a topic, or replace the one with its id; by one writer at a time."""
    memory = remembered(s3, bucket, topic) or Memory(hasher.check)
    check_secret(memory, hasher, bucket, topic)
    others = tuple(one for one in memory.erasures if one.id != erasure.id)
    s3.put_object(
        Bucket=bucket,
        Key=object_key(topic),
        Body=msgspec.json.encode(Memory(hasher.check, (*others, erasure))),
        ContentType="application/json",
    )


def check_secret(memory: Memory, hasher: Hasher, bucket: str, topic: str) -> None:
    """Raise ErasuresUnreadable where the hashes of a memory were made with another secret."""
    if memory.check != hasher.check:
        raise ErasuresUnreadable(
            f"s3://{bucket}/{object_key(topic)}: expected hashes under the environment's secret pii-key, "
            "found those of another; put the secret's earlier value back: until then nothing of this topic "
            "is read, since erased rows would come back"
        )
