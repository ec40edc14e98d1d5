"""Table properties that the jobs read, checked before they are: whoever may alter a table may misspell one.

Names and values are those of the Iceberg documentation ("Configuration", table properties). Without this a
property that is no number is a bare ValueError somewhere in the middle of a merge.
"""

import re
from collections.abc import Mapping
from typing import Final

from common.lake.checkpoints import MERGE_SEQ
from common.runtime.errors import TableMismatch

_WHOLE_NUMBERS: Final = frozenset(
    {
        MERGE_SEQ,
        "write.target-file-size-bytes",
        "write.parquet.row-group-size-bytes",
        "write.parquet.row-group-limit",
        "write.parquet.page-size-bytes",
        "write.parquet.page-row-limit",
        "write.parquet.dict-size-bytes",
        "write.parquet.compression-level",
        "write.parquet.bloom-filter-max-bytes",
        "write.metadata.previous-versions-max",
        "write.metadata.metrics.max-inferred-column-defaults",
        "write.manifest.target-size-bytes",
        "commit.retry.num-retries",
        "commit.manifest.target-size-bytes",
        "commit.manifest.min-count-to-merge",
        "history.expire.max-snapshot-age-ms",
        "history.expire.min-snapshots-to-keep",
    }
)
_WHOLE_NUMBER: Final = (re.compile(r"[0-9]{1,18}"), "a whole number")
_SWITCH: Final = (re.compile(r"(?i)true|false"), "true or false")
# By how the name begins.
_PATTERNS: Final[dict[str, tuple["re.Pattern[str]", str]]] = {
    "write.parquet.compression-codec": (
        re.compile(r"(?i)zstd|gzip|snappy|brotli|lz4|uncompressed"),
        "one of zstd, gzip, snappy, brotli, lz4, uncompressed",
    ),
    "write.metadata.metrics.": (
        re.compile(r"(?i)none|counts|full|truncate\([1-9][0-9]{0,8}\)"),
        "none, counts, full or truncate(n)",
    ),
    "write.parquet.bloom-filter-fpp.column.": (
        re.compile(r"0?\.[0-9]*[1-9][0-9]*|[1-9]e-[0-9]{1,2}"),
        "a share between 0 and 1",
    ),
    "write.parquet.bloom-filter-enabled.column.": _SWITCH,
    "write.metadata.delete-after-commit.enabled": _SWITCH,
}


def check_properties(table: str, properties: Mapping[str, str]) -> None:
    """Raise TableMismatch where a property of ``table`` that the jobs read has no value of its kind."""
    for name, value in properties.items():
        pattern, expected = _rule(name)
        if pattern is not None and not pattern.fullmatch(value):
            raise TableMismatch(
                f"table {table}, property {name}: expected {expected}, found {value[:80]!r}; set it as in "
                "modules/storage/tables, or remove it (ALTER TABLE ... UNSET TBLPROPERTIES)"
            )


def _rule(name: str) -> tuple["re.Pattern[str] | None", str]:
    if name in _WHOLE_NUMBERS:
        return _WHOLE_NUMBER
    return next((rule for start, rule in _PATTERNS.items() if name.startswith(start)), (None, ""))
