"""Schedule → compact, expire and clean up the tables, as far as the time of one invocation goes."""

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from common.lake.catalog import lake_catalog
from common.lake.specifications import LAYERS
from common.lake.upkeep import Upkeep, UpkeepPolicy
from common.layers.upkeep import Failure, maintain
from common.runtime.clients import client
from common.runtime.errors import LeanOpsError
from common.runtime.logs import logged, logger
from common.runtime.metrics import emit
from common.runtime.settings import MaintenanceSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# A portion of work takes well under this; it is what must be left when one begins.
_PORTION_MS: Final = 180_000


@cache
def _settings() -> MaintenanceSettings:
    return MaintenanceSettings.from_environment()


@cache
def _dynamodb() -> Any:
    return client("dynamodb")


@logged("maintenance")
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """``{topic?, layer?}`` (default: all) → ``{tables: [what was done], unfinished}``.

    Raises the error of a table that could not be kept up, after the others are.
    """
    settings = _settings()
    policy = replace(
        UpkeepPolicy(),
        snapshots_for=timedelta(days=settings.snapshot_retention_days),
        orphans_for=timedelta(days=settings.orphan_file_retention_days),
    )
    done = list(
        maintain(
            settings,
            lake_catalog(),
            _dynamodb(),
            topics=[event["topic"]] if "topic" in event else settings.topics,
            layers=[event["layer"]] if "layer" in event else LAYERS,
            policy=policy,
            now=datetime.now(UTC),
            run_id=f"maintenance-{context.aws_request_id}",
            go_on=lambda: context.get_remaining_time_in_millis() > _PORTION_MS,
        )
    )
    kept = [one for one in done if isinstance(one, Upkeep)]
    failures = [one for one in done if isinstance(one, Failure)]
    for upkeep in kept:
        _report(settings, upkeep)
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


def _report(settings: MaintenanceSettings, upkeep: Upkeep) -> None:
    logger("maintenance").info("kept up", extra=asdict(upkeep))
    layer, _, topic = upkeep.table.rpartition(".")[2].partition("_")
    emit(
        settings.project,
        {
            "FilesCompacted": upkeep.compacted_files,
            "MostFilesInPartition": upkeep.after.most_in_a_partition,
            "SnapshotsExpired": upkeep.snapshots_expired,
            "OrphansRemoved": upkeep.orphans_removed,
        },
        environment=settings.env,
        topic=topic,
        layer=layer,
    )
