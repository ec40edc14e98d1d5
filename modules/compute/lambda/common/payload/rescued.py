"""Why a leaf of a payload has no column. By itself, since functions without the lake layer record it."""

from enum import StrEnum
from typing import NamedTuple


class Why(StrEnum):
    """Why a leaf has no column."""

    OTHER_PATH = "other-path"
    COLUMN_LIMIT = "column-limit"
    RESERVED_NAME = "reserved-name"
    UNUSABLE_NAME = "unusable-name"
    NESTED_TOO_DEEP = "nested-too-deep"


class Rescued(NamedTuple):
    """Leaves that have no column. ``column``: the name they would have, where that is what it is about."""

    why: Why
    column: str = ""
