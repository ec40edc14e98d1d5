"""Where each table is: its metadata pointer, of all tables of a database in a call a hundred.

A pointer changes with every commit and with nothing else, so that a table whose pointer is as it was has
nothing new. Light: no Iceberg is loaded.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types_boto3_glue.client import GlueClient

_PAGE: Final = 100
_NEVER_COMMITTED: Final = "00000-"


def pointers(glue: "GlueClient", database: str) -> dict[str, str]:
    """Location of the metadata file by name of the table; what is no Iceberg table is left out."""
    found = {}
    pages = glue.get_paginator("get_tables").paginate(
        DatabaseName=database, PaginationConfig={"PageSize": _PAGE}
    )
    for page in pages:
        for table in page["TableList"]:
            if location := table.get("Parameters", {}).get("metadata_location"):
                found[table["Name"]] = location
    return found


def standing(topic: str, pointers: Mapping[str, str], items: Mapping[str, Mapping[str, Any]]) -> str:
    """Stands for all that there is to see of a topic: the pointers of its layers, and their checkpoints.

    ``items``: those of the checkpoints table, by id.
    """
    places = [pointers.get(f"{layer}_{topic}", "") for layer in ("raw", "curated", "semantic")]
    checkpoints = [
        json.dumps(items.get(f"{topic}#{layer}", {}), sort_keys=True, default=str)
        for layer in ("curated", "semantic")
    ]
    return hashlib.sha256("\n".join([*places, *checkpoints]).encode()).hexdigest()[:20]


def never_committed(pointer: str) -> bool:
    """Whether a pointer is the one that a table was created with: catalogs number the files from zero."""
    return pointer.rpartition("/")[2].startswith(_NEVER_COMMITTED)
