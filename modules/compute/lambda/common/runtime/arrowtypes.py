"""Names for Arrow's generic types, whose parameters exist for type checkers only; and what a text is."""

from typing import Any, TypeAlias

import pyarrow as pa

Array: TypeAlias = "pa.Array[Any]"
Column: TypeAlias = "pa.ChunkedArray[Any]"
Field: TypeAlias = "pa.Field[Any]"
Scalar: TypeAlias = "pa.Scalar[Any]"


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of the two that Iceberg's STRING has in Arrow."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
