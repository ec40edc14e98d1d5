"""The topics of an environment are data, one object of the lake bucket, no setting of a function (ADR 19).

    {"version": 1, "topics": {"events": {"contract": true, "paused": false, "watched": false}}, "sources": ""}

``terraform apply`` and ``lean-ops up`` write it from ``contracts/`` and the environment's own topics, after
the tables and the stream of a topic exist. A function that stays warm reads it again once a minute; where it
cannot, what it read last counts, and it says so.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from common.runtime import outside
from common.runtime.errors import ServiceFailure
from common.runtime.logs import logger

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

REGISTRY_KEY: Final = "registry/topics.json"
FRESH_S: Final = 60.0
"""How old what a function knows of the topics may be, in seconds."""
_MOST_NAMED: Final = 8


class Topic(msgspec.Struct, frozen=True):
    """What is known of one topic beside its name.

    ``contract``: it has one, and with it Semantic and Quarantine. ``paused``: no run is started for it by
    itself. ``watched``: it has metrics and alarms of its own.
    """

    contract: bool = False
    paused: bool = False
    watched: bool = False


class Registry(msgspec.Struct, frozen=True):
    """All topics of an environment, by name."""

    version: Literal[1]
    topics: dict[str, Topic]
    sources: str = ""
    """Digest of the registry of sources (``common.intake.sources.registry``), empty where there is none."""

    @property
    def names(self) -> frozenset[str]:
        """The names."""
        return frozenset(self.topics)

    def written(self) -> bytes:
        """The object's content."""
        return msgspec.json.encode(self, order="sorted")


def read_registry(s3: "S3Client", bucket: str) -> Registry:
    """The registry as it is now; raises ServiceFailure.

    Of whatever kind the failure is: a right that is missing, an object that is gone or damaged are mended by
    the next apply, and what waits for it is not to be given up.
    """
    where = f"registry of topics: expected s3://{bucket}/{REGISTRY_KEY}"
    try:
        content = s3.get_object(Bucket=bucket, Key=REGISTRY_KEY)["Body"].read()
        found = msgspec.json.decode(content, type=Registry)
    except ClientError as error:
        raise ServiceFailure(
            f"{where}, found {error.response['Error']['Code']}; apply the environment, or `lean-ops up`"
        ) from error
    except (BotoCoreError, OSError) as error:
        raise ServiceFailure(f"{where}, found no answer ({type(error).__name__})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ServiceFailure(
            f"{where} to list topics, found something else ({error}); apply the environment, or `lean-ops up`"
        ) from error
    if not found.topics:
        raise ServiceFailure(f"{where} to list topics, found none; apply the environment, or `lean-ops up`")
    return found


class Topics:
    """The registry as this process knows it: read when it is first asked for, then once a minute at most.

    ``stale``: why what it knows is older than that; empty where it is not.
    """

    def __init__(
        self, s3: "S3Client", bucket: str, *, clock: Callable[[], float] = outside.monotonic
    ) -> None:
        self.stale = ""
        self._s3, self._bucket, self._clock = s3, bucket, clock
        self._known: Registry | None = None
        self._asked_at = 0.0

    def current(self) -> Registry:
        """The registry, at most a minute old, or the last one that could be read.

        Raises ServiceFailure where none ever could.
        """
        now = self._clock()
        if self._known is not None and now - self._asked_at < FRESH_S:
            return self._known
        self._asked_at = now  # of a failed try too: who has one to go on with asks once a minute all the same
        try:
            self._known, self.stale = read_registry(self._s3, self._bucket), ""
        except ServiceFailure as error:
            if self._known is None:
                raise
            self.stale = str(error)
            logger("topics").error(f"{error}; the one that was read before counts on")
        return self._known


def is_watched(s3: "S3Client", bucket: str, topic: str) -> bool:
    """Whether a topic has metrics of its own; not where the registry cannot be read: no job fails for it."""
    try:
        known = read_registry(s3, bucket).topics.get(topic)
    except ServiceFailure as error:
        logger("topics").warning(f"{error}; {topic} counts as not watched")
        return False
    return known is not None and known.watched


def registry_of(topics: Mapping[str, Topic], sources: str = "") -> Registry:
    """A registry of this version."""
    return Registry(version=1, topics=dict(sorted(topics.items())), sources=sources)


def named(names: Iterable[str]) -> str:
    """Names for a message, which is to stay one when there are hundreds."""
    listed = sorted(names)
    more = len(listed) - _MOST_NAMED
    return ", ".join(islice(listed, _MOST_NAMED)) + (f" and {more} more" if more > 0 else "")
