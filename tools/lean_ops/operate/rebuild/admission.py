"""Which leaves have columns in a rebuilt Curated: decided by their use in all of RAW, not by who came first.

A run decides for its own portion and never takes a column away, so that whatever filled the column limit
first keeps it. A rebuild reads everything again, so it counts first and then admits: columns that are
somebody's (made, typed or renamed by hand) and those that the contract names, then the most used leaves up to
the limit.
A column of the live table keeps its path: no other can take its name. One that nothing uses stays while there
is room. What is not admitted is in `_rescued`, and the swap drops its column.

Counting holds no more than ``common.payload.columns`` counts, and is done again where it was interrupted: the
decision is one commit on the table beside, before the first row.
"""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from pyiceberg.catalog import Catalog
from pyiceberg.schema import Schema

from common.lake.checkpoints import SourceCheckpoint
from common.lake.incremental import Bounds, new_appends, read
from common.lake.setting_aside import stream
from common.lake.specifications import open_table
from common.payload.columns import DEFAULT_LIMITS, Columns, leaf_columns
from common.payload.flattening import PAYLOAD, count_leaves
from common.runtime.errors import InvalidInput
from common.runtime.settings import JobSettings
from lean_ops.operate.rebuild.beside import ADMITTED, Rebuild, share_columns, without_columns

LIMITS: Final = DEFAULT_LIMITS


def admit(
    catalog: Catalog,
    settings: JobSettings,
    rebuild: Rebuild,
    contracted: frozenset[str],
    record_new: Callable[[Sequence[str]], None],
) -> Iterator[int]:
    """Count the leaves of RAW and give the table beside their columns; tells how many rows are left to count.

    ``contracted``: columns that the contract names. ``record_new``: as for ``share_columns``. Does nothing
    where that is decided.
    """
    if ADMITTED in open_table(catalog, rebuild.beside).properties:
        return
    raw, live = open_table(catalog, settings.table("raw", rebuild.topic)), open_table(catalog, rebuild.live)
    fields = frozenset(f.name for spec in live.specs().values() for f in spec.fields)
    columns = columns_to_decide(live.schema(), fields, contracted)
    bounds = Bounds(settings.batch_rows, settings.batch_bytes)
    since: SourceCheckpoint | None = None
    while True:
        portion = new_appends(raw, since, bounds)
        rows = read(raw, portion, (PAYLOAD,))
        # A row that cannot be read is set aside by the job, with its reason: it counts for nothing here.
        for _ in stream(rows, lambda part: count_leaves(part, columns), lambda _row: None, "counting leaves"):
            pass
        yield portion.backlog_rows
        if portion.backlog_rows == 0:
            break
        since = portion.checkpoint
    share_columns(
        catalog,
        rebuild,
        admitted(columns),
        record_new=record_new,
        contracted=contracted,
        properties={ADMITTED: json.dumps(sorted(contracted))},
    )


def columns_to_decide(live: Schema, partition_fields: frozenset[str], contracted: frozenset[str]) -> Columns:
    """The columns that stay whatever is counted, ready to look at leaves that ask for the others."""
    to_decide = {name: note for name, note in leaf_columns(live).items() if name not in contracted}
    columns = Columns.of(without_columns(live, to_decide), partition_fields, contracted, LIMITS)
    columns.bound = to_decide
    return columns


def admitted(columns: Columns) -> dict[str, str]:
    """Notes of the columns that leaves are given, by name, once all were looked at."""
    used = columns.most_used()
    room = columns.limits.columns - len(columns.owners.keys() | used.keys())
    unused = sorted(columns.bound.keys() - used.keys())[: max(0, room)]
    return used | {name: columns.bound[name] for name in unused}


def check_contract(beside: str, counted: str | None, contracted: Collection[str]) -> None:
    """Raise InvalidInput where the contract names columns now that it did not when leaves were counted.

    Rows that are rebuilt already may have their values in `_rescued`, where Semantic would miss them.
    ``counted``: the property ``ADMITTED``, None where nothing was decided.
    """
    if counted is not None and (late := sorted(set(contracted).difference(json.loads(counted)))):
        raise InvalidInput(
            f"rebuild {beside}: expected a contract that names no columns beside those of when it began, "
            f"found {', '.join(late)}; remove it with `lean-ops rebuild --discard`, then start again"
        )
