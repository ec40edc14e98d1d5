"""Schedule → write down what runs did, then drop what is past, compact, expire and clean up: shared out."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from common.contract.contracted import row_retention
from common.contract.store import contract_times
from common.lake.catalog import lake_catalog
from common.lake.pointers import pointers
from common.lake.specifications import LAYERS, OPERATIONS_LAYER, open_table
from common.lake.upkeep import Upkeep, UpkeepPolicy
from common.layers import reports
from common.layers.operations import Record, Sources, Told, item_of, record
from common.layers.upkeep import Failure, maintain
from common.runtime import outside
from common.runtime.clients import client
from common.runtime.errors import LeanOpsError
from common.runtime.items import read_items
from common.runtime.logs import logged, logger
from common.runtime.metrics import emit
from common.runtime.settings import MaintenanceSettings
from common.runtime.topics import read_registry
from maintenance.due import Kept, Place, due, places, shares

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# A portion of work takes well under this; it is what must be left when one begins.
_PORTION_MS: Final = 180_000


@cache
def _settings() -> MaintenanceSettings:
    return MaintenanceSettings.from_environment()


@cache
def _client(service: str) -> Any:
    return client(service)


@logged("maintenance")
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """``{tables?}``: those of them (default: all) that are due → ``{tables: [what was done], unfinished}``.

    Where many of all are due, this function is started anew for shares of them: ``{shared}``, their number.
    ``{topic, layer?}``: these tables, due or not. Raises the error of a table that could not be kept up, when
    the others have been.
    """
    now = outside.now()
    if "topic" in event:
        asked = [Place(event["topic"], layer) for layer in ([event["layer"]] if "layer" in event else LAYERS)]
        return _answer([one for _, one in _keep_up(asked, now, context)])
    # Before any table is touched, and by one: what it commits together is one file.
    recorded = _record(now, context) if "tables" not in event else Record()
    found, known, left = _due(event.get("tables"), now)
    if "tables" not in event and len(parts := shares(found)) > 1:
        for part in parts:
            _client("lambda").invoke(
                FunctionName=_settings().upkeep_function,
                InvocationType="Event",
                Payload=json.dumps({"tables": [place.name for place in part]}),
            )
        logger("maintenance").info("shared out", extra={"tables": len(found), "workers": len(parts)})
        return {**_answer(recorded.failures), "shared": len(parts)}
    done: list[Upkeep | Failure] = [*recorded.failures]
    for place, one in _keep_up(found, now, context):
        done.append(one)
        if isinstance(one, Upkeep) and one.finished:
            at = int(now.timestamp())
            _remember(place, known[place].after(left[place.name], _pointer(place), at, one.past.next_at_s))
    return _answer(done)


def _record(now: datetime, context: "LambdaContext") -> Record:
    """Write down what runs of all topics did since the last time (``common.layers.operations``)."""
    settings, dynamodb = _settings(), _client("dynamodb")
    topics = read_registry(_client("s3"), settings.lake_bucket).topics
    ids = (of(topic) for topic in topics for of in (item_of, reports.item_of))
    items = read_items(dynamodb, settings.checkpoints_table, ids)
    done = record(
        Sources(settings, lake_catalog(), dynamodb, settings.drift_log_table),
        pointers=pointers(_client("glue"), settings.database),
        told={topic: Told.of(items.get(item_of(topic), {})) for topic in topics},
        waiting={topic: reports.Waiting.of(items.get(reports.item_of(topic), {})) for topic in topics},
        now=now,
        run_id=f"maintenance-{context.aws_request_id}",
        go_on=lambda: context.get_remaining_time_in_millis() > _PORTION_MS,
    )
    logger("maintenance").info("wrote down", extra={"rows": dict(done.rows), "topics": len(done.topics)})
    return done


def _policy() -> UpkeepPolicy:
    return replace(
        UpkeepPolicy(),
        snapshots_for=timedelta(days=_settings().snapshot_retention_days),
        orphans_for=timedelta(days=_settings().orphan_file_retention_days),
    )


def _due(
    tables: Sequence[str] | None, now: datetime
) -> tuple[list[Place], dict[Place, Kept], dict[str, str]]:
    """Tables to be looked after, what is remembered of them, and where they are."""
    settings = _settings()
    found = pointers(_client("glue"), settings.database)
    topics = sorted(read_registry(_client("s3"), settings.lake_bucket).topics)
    among = places(topics, found)
    if tables is not None:
        among = [place for place in among if place.name in set(tables)]
    items = read_items(_client("dynamodb"), settings.checkpoints_table, (place.item for place in among))
    known = {place: Kept.of(items.get(place.item, {})) for place in among}
    changed = contract_times(_client("s3"), settings.lake_bucket)
    return due(known, found, int(now.timestamp()), _policy(), changed), known, found


def _keep_up(
    asked: Sequence[Place], now: datetime, context: "LambdaContext"
) -> Iterator[tuple[Place, Upkeep | Failure]]:
    run_id = f"maintenance-{context.aws_request_id}"
    for one in maintain(
        _settings(),
        lake_catalog(),
        _client("dynamodb"),
        places=[(place.topic, place.layer) for place in asked],
        policy=_policy(),
        now=now,
        run_id=run_id,
        retention_of=cache(lambda topic: row_retention(_client("s3"), _settings().lake_bucket, topic)),
        go_on=lambda: context.get_remaining_time_in_millis() > _PORTION_MS,
        fullest_first=False,
        glue=_client("glue"),
    ):
        place = Place.of(one.table.rpartition(".")[2])
        # What upkeep did to the tables that it is told by is told by none: they would never rest.
        if isinstance(one, Upkeep) and place.layer != OPERATIONS_LAYER:
            report = reports.Pass.of(one, place.layer, run_id, now)
            reports.leave(_client("dynamodb"), _settings().checkpoints_table, place.topic, [report])
        yield place, one


def _pointer(place: Place) -> str:
    """Where the table is now: what others commit from here on makes it due again."""
    settings = _settings()
    return open_table(lake_catalog(), settings.table(place.layer, place.topic)).metadata_location


def _remember(place: Place, kept: Kept) -> None:
    _client("dynamodb").put_item(
        TableName=_settings().checkpoints_table,
        Item={"checkpoint_id": {"S": place.item}, **kept.as_item()},
    )


def _answer(done: Sequence[Upkeep | Failure]) -> dict[str, Any]:
    settings = _settings()
    kept = [one for one in done if isinstance(one, Upkeep)]
    failures = [one for one in done if isinstance(one, Failure)]
    for upkeep in kept:
        logger("maintenance").info("kept up", extra=asdict(upkeep))
    emit(
        settings.project,
        {
            "FilesCompacted": sum(upkeep.compacted_files for upkeep in kept),
            "MostFilesInPartition": max((upkeep.after.most_in_a_partition for upkeep in kept), default=0),
        },
        environment=settings.env,
    )
    for failure in failures:
        # Of errors that are not this project's only the class is logged, as ``common.runtime.logs`` says.
        detail = str(failure.error) if isinstance(failure.error, LeanOpsError) else ""
        logger("maintenance").error(
            "not kept up",
            extra={"table": failure.table, "error": type(failure.error).__name__, "detail": detail},
        )
    if failures:
        raise failures[0].error
    return {
        "tables": [asdict(upkeep) for upkeep in kept],
        "unfinished": [upkeep.table for upkeep in kept if not upkeep.finished],
    }
