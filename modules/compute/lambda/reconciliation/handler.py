"""Schedule → rows of all topics held against RAW, as far as something changed; what is wrong is counted.

Topic by topic, the one first that waited longest, as far as the time goes; of each, the events that were
received since a little before its mark (``marks``).

No table is changed and no payload is read; what was found is left for ``ops_reconciliation``. A topic that
cannot be read hides no other: each is named, and then the error rises.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from common.lake.catalog import lake_catalog
from common.lake.pointers import never_committed, pointers, standing
from common.layers import reports
from common.layers.erased import Erased
from common.layers.marks import Mark
from common.layers.reconciling import Reconciled, reconcile
from common.layers.uncurable import set_aside_since
from common.runtime import outside
from common.runtime.clients import client
from common.runtime.errors import LeanOpsError, PermanentError
from common.runtime.items import read_items
from common.runtime.logs import logged, logger
from common.runtime.metrics import emit
from common.runtime.settings import ReconciliationSettings
from common.runtime.topics import Registry, read_registry
from common.runtime.worst import note

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# A part of a million events takes well under this; it is what must be left when one begins.
_PART_MS: Final = 120_000
_MOST_SAID: Final = 20


class TopicsUnreconciled(PermanentError):  # noqa: N818 - topics are unreconciled; "error" would say less
    """Some topics could not be read; the others were."""


@cache
def _settings() -> ReconciliationSettings:
    return ReconciliationSettings.from_environment()


@cache
def _client(service: str) -> Any:
    return client(service)


@logged("reconciliation")
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """``{topics: {topic: wrong keys}, left}``: those that were looked at, and how many had to wait.

    ``time`` in the event (RFC 3339) stands for now. Raises TopicsUnreconciled, after all others.
    """
    now = datetime.fromisoformat(event["time"]) if "time" in event else outside.now()
    registry = read_registry(_client("s3"), _settings().lake_bucket)
    found: dict[str, int] = {}
    failures: dict[str, str] = {}
    left = 0

    def go_on() -> bool:
        return context.get_remaining_time_in_millis() > _PART_MS

    known = _known(registry)
    for topic, mark, stands in _changed(known):
        if not go_on():
            left += 1
            continue
        try:
            done = _reconcile(topic, registry.topics[topic].contract, mark.since(now), go_on)
        except Exception as error:  # one topic must not hide others
            # Of errors that are not this project's only the class is kept: their messages may quote a value.
            said = f": {error}" if isinstance(error, LeanOpsError) else ""
            failures[topic] = f"{type(error).__name__}{said}"
            continue
        found[topic] = done.faults.total()
        # Before the mark: killed between them, the look is made again, and is another.
        report = reports.Look.of(done, now)
        reports.leave(_client("dynamodb"), _settings().checkpoints_table, topic, [report])
        _remember(topic, mark.after(done, stands, now))
    _tell(registry, {topic: mark.wrong for topic, (mark, _) in known.items()} | found, now)
    logger("reconciliation").info("reconciled", extra={"topics": found, "left": left})
    if failures:
        raise TopicsUnreconciled(_sentence(failures))
    return {"topics": found, "left": left}


def _known(registry: Registry) -> dict[str, tuple[Mark, str]]:
    """What is remembered of every topic that has rows, and how it stands."""
    settings = _settings()
    places = pointers(_client("glue"), settings.database)
    kinds = ("curated", "semantic", "reconciled")
    keys = (f"{topic}#{kind}" for topic in registry.topics for kind in kinds)
    items = read_items(_client("dynamodb"), settings.checkpoints_table, keys)
    return {
        topic: (Mark.of(items.get(f"{topic}#reconciled", {})), standing(topic, places, items))
        for topic in registry.topics
        if (raw := places.get(f"raw_{topic}")) is not None and not never_committed(raw)
    }


def _changed(known: Mapping[str, tuple[Mark, str]]) -> Iterator[tuple[str, Mark, str]]:
    """Topics to be looked at, the one first that was looked at longest ago."""
    for topic, (mark, stands) in sorted(known.items(), key=lambda one: (one[1][0].at, one[0])):
        if stands != mark.standing or mark.wrong:
            yield topic, mark, stands


def _reconcile(topic: str, contract: bool, since: datetime, go_on: Callable[[], bool]) -> Reconciled:
    settings, sqs, s3 = _settings(), _client("sqs"), _client("s3")
    bucket, queue_url = settings.lake_bucket, settings.dead_letter_queue_url
    return reconcile(
        topic,
        since,
        None,
        settings=settings,
        catalog=lake_catalog(),
        dynamodb=_client("dynamodb"),
        contract=contract,
        set_aside=lambda then: set_aside_since(then, sqs=sqs, queue_url=queue_url, s3=s3, bucket=bucket),
        erased=Erased.load(s3, bucket, topic, _secret),
        go_on=go_on,
    )


def _secret() -> bytes:
    """The key of the hashes of erased keys; asked for where a topic has any."""
    secret = _client("secretsmanager").get_secret_value(SecretId=_settings().pii_key_secret_id)
    return str(secret["SecretString"]).encode()


def _remember(topic: str, mark: Mark) -> None:
    _client("dynamodb").put_item(
        TableName=_settings().checkpoints_table,
        Item={"checkpoint_id": {"S": f"{topic}#reconciled"}, **mark.as_item()},
    )


def _tell(registry: Registry, wrong: Mapping[str, int], now: datetime) -> None:
    settings = _settings()
    emit(
        settings.project,
        {"RowsUnreconciled": max(wrong.values(), default=0)},
        environment=settings.env,
    )
    for topic, keys in wrong.items():
        if registry.topics[topic].watched:
            emit(settings.project, {"RowsUnreconciled": keys}, environment=settings.env, topic=topic)
    note(_client("dynamodb"), settings.checkpoints_table, "rows-unreconciled", wrong, now)


def _sentence(failures: Mapping[str, str]) -> str:
    more = len(failures) - _MOST_SAID
    return (
        "reconciliation: expected to read every topic, found "
        + "; ".join(f"{topic}: {why}" for topic, why in sorted(failures.items())[:_MOST_SAID])
        + (f"; and {more} more" if more > 0 else "")
        + "; see `lean-ops doctor`, all others were reconciled"
    )
