"""Keeping tables in shape, one after the other."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from common.contract.retention import FOR_GOOD, Retention
from common.lake import views
from common.lake.incremental import without_rows_after
from common.lake.progress import checkpoint_of, read_by_every_state
from common.lake.rule import EVENT_RULE, OPERATIONS_RULE, SOURCE_RULE, MergeRule
from common.lake.specifications import OPERATIONS_LAYER, existing, open_table
from common.lake.upkeep import RowRetention, Upkeep, UpkeepPolicy, foresee, keep_up, shape
from common.runtime.settings import LakeSettings

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient
    from types_boto3_glue.client import GlueClient

RULES: Final[dict[str, MergeRule]] = {
    "raw": EVENT_RULE,
    "curated": EVENT_RULE,
    "semantic": SOURCE_RULE,
    "quarantine": SOURCE_RULE,
    OPERATIONS_LAYER: OPERATIONS_RULE,
}
OPERATIONS_KEPT_DAYS: Final = 365
"""How long what runs did can be looked up."""
# Layers that are made anew beside the live table (``lean-ops rebuild``).
_REBUILT: Final = ("curated", "semantic")


@dataclass(frozen=True)
class Failure:
    """A table that could not be kept up, and why; the others are."""

    table: str
    error: Exception


def maintain(
    settings: LakeSettings,
    catalog: Catalog,
    dynamodb: "DynamoDBClient",
    *,
    places: Iterable[tuple[str, str]],
    policy: UpkeepPolicy,
    now: datetime,
    run_id: str,
    retention_of: Callable[[str], Retention] = lambda _topic: FOR_GOOD,
    go_on: Callable[[], bool] = lambda: True,
    dry_run: bool = False,
    fullest_first: bool = True,
    glue: "GlueClient | None" = None,
) -> Iterator[Upkeep | Failure]:
    """Keep up every table of ``places``, topic and layer, that exists, and tell what was done to each.

    ``retention_of``: what the contract of a topic says about rows that are past. ``go_on`` is asked before
    every portion of work; tables that are not reached wait for the next time. ``dry_run``: tell what would be
    done, change nothing. ``fullest_first``: that takes a look at all of them; else in the order of
    ``places``. ``glue``: where the tables' views are kept (``common.lake.views``); None leaves them as they
    are.
    """
    found: list[tuple[str, str]] = []
    for topic, layer in places:
        try:
            if catalog.table_exists(settings.table(layer, topic)):
                found.append((topic, layer))
        except Exception as error:
            yield Failure(settings.table(layer, topic), error)
    if fullest_first:
        files = {place: _most_files(catalog, settings.table(place[1], place[0])) for place in found}
        found.sort(key=lambda place: -files[place])
    for topic, layer in found:
        if not go_on():
            return
        identifier = settings.table(layer, topic)
        try:
            read = _still_read(settings, catalog, dynamodb, topic) if layer == "raw" else ()
            rebuild = _rebuild(settings, topic, layer)
            rows = None
            if (days := _days(layer, topic, retention_of)) is not None:
                upto = _read_upto(settings, catalog, dynamodb, topic) if layer == "raw" else None
                rows = RowRetention(days, now, upto)
            if dry_run:
                yield foresee(
                    catalog,
                    identifier,
                    now=now,
                    policy=policy,
                    still_read=read,
                    also_used_by=rebuild,
                    rows=rows,
                )
                continue
            done = keep_up(
                catalog,
                identifier,
                RULES[layer],
                run_id=run_id,
                now=now,
                policy=policy,
                still_read=read,
                also_used_by=rebuild,
                rows=rows,
                go_on=go_on,
            )
            _keep_views(glue, settings, catalog, layer, topic)
            yield done
        except Exception as error:
            yield Failure(identifier, error)


def _keep_views(
    glue: "GlueClient | None", settings: LakeSettings, catalog: Catalog, layer: str, topic: str
) -> None:
    """Make the views of a table true that may have gained columns."""
    if glue is None:
        return

    def write() -> bool:
        schema = open_table(catalog, settings.table(layer, topic)).schema()
        kept = [views.keep(glue, settings.database, view) for view in views.of_table(layer, topic, schema)]
        return any(kept)

    views.until_true(write)


def _days(layer: str, topic: str, retention_of: Callable[[str], Retention]) -> int | None:
    """How long a table keeps rows; None: for good."""
    return OPERATIONS_KEPT_DAYS if layer == OPERATIONS_LAYER else retention_of(topic).days.get(layer)


def _most_files(catalog: Catalog, identifier: str) -> int:
    """Files of the fullest partition; 0 for a table that keeping it up will have to complain about."""
    try:
        return shape(open_table(catalog, identifier)).most_in_a_partition
    except Exception:
        return 0


def _still_read(
    settings: LakeSettings, catalog: Catalog, dynamodb: "DynamoDBClient", topic: str
) -> tuple[int, ...]:
    """Snapshots of RAW from which Curated, and a rebuild of Curated, go on reading."""
    readers = _readers(settings, catalog, topic)
    entries = [checkpoint_of(table, layer, topic, settings, dynamodb) for table, layer in readers]
    checkpoints = [entry.checkpoint for entry in entries if entry]
    return tuple(checkpoint.snapshot_id for checkpoint in checkpoints if checkpoint)


def _read_upto(settings: LakeSettings, catalog: Catalog, dynamodb: "DynamoDBClient", topic: str) -> int:
    """Sequence number of RAW up to which nobody can go back to before having read it.

    Not Curated by a rollback, not a rebuild of it, and not Semantic, which looks for older versions there.
    """
    raw = open_table(catalog, settings.table("raw", topic))
    read = []
    for table, of in _readers(settings, catalog, topic):
        entry = checkpoint_of(table, of, topic, settings, dynamodb)
        read.append(read_by_every_state(table, entry))
    semantic = settings.table("semantic", topic)
    if catalog.table_exists(semantic):
        table = open_table(catalog, semantic)
        entry = checkpoint_of(table, "semantic", topic, settings, dynamodb)
        read.append(read_by_every_state(table, entry, of_versions=True))
    return without_rows_after(raw, min(read))


def _readers(settings: LakeSettings, catalog: Catalog, topic: str) -> list[tuple[Table, str]]:
    """The tables that are merged from RAW, each with the name that its checkpoint is recorded under."""
    curated = open_table(catalog, settings.table("curated", topic))
    return [
        (curated, "curated"),
        *((table, "rebuild") for table in existing(catalog, _rebuild(settings, topic, "curated"))),
    ]


def _rebuild(settings: LakeSettings, topic: str, layer: str) -> tuple[str, ...]:
    """The table in which ``layer`` is rebuilt, if it is: its data files lie in the live table's location.

    Of layers that are never rebuilt none is looked for: the role may not ask for such a table.
    """
    return (settings.rebuild_table(layer, topic),) if layer in _REBUILT else ()
