"""Where columns lie in the data files written here: those that decide last, before the footer.

A search reads the footer, the keys and what orders them. In the order of the schema they lie apart, three
ranges and so three requests a file; written last, one range brings all of them, whose size a manifest tells.
Readers find columns by their field ids (Iceberg spec, "Column Projection"), so that the order is free.

A file says in its name that it is laid out so: of others, of older releases and of other engines, the range
would bring what nobody asked for.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pyiceberg.manifest import DataFile

from common.lake.rule import EVENT_RULE, OPERATIONS_RULE, SOURCE_RULE

ENDING: Final = "key-last.parquet"
"""End of the name of a file that is laid out so."""

ROW_GROUP_ROWS: Final = 128 * 1024
"""Rows of a row group: bounds what reading one column of a few rows costs."""

FROM_THE_END: Final = tuple(
    dict.fromkeys(name for rule in (SOURCE_RULE, EVENT_RULE, OPERATIONS_RULE) for name in rule.columns)
)
"""The deciding columns, the last one of a file first: what each search needs, then what it seldom needs."""

# What follows the columns. A footer takes some 160 bytes a column and Parquet's page index about as many, a
# Bloom filter by its table property up to 64 KiB; Arrow reads at least 64 KiB to find the footer.
_FOOTER_BYTES: Final = 72 * 2**10
_FOOTER_BYTES_A_COLUMN: Final = 384


def in_file(names: Sequence[str]) -> list[str]:
    """The columns of a table in the order in which its files have them."""
    last = [name for name in reversed(FROM_THE_END) if name in names]
    return [*(name for name in names if name not in last), *last]


def bytes_to_the_end(file: DataFile, field_ids: Mapping[str, int], names: Iterable[str]) -> int | None:
    """How many bytes before a file's end all of these columns and the footer lie in.

    None where the file does not tell: it is laid out otherwise, has several row groups, or no sizes.
    """
    wanted, sizes = set(names), file.column_sizes or {}
    if not file.file_path.endswith(ENDING) or file.record_count > ROW_GROUP_ROWS:
        return None
    found = _FOOTER_BYTES + _FOOTER_BYTES_A_COLUMN * len(sizes)
    for name in FROM_THE_END:
        if not wanted:
            break
        found += sizes.get(field_ids.get(name, -1), 0)
        wanted.discard(name)
    return None if wanted else found
