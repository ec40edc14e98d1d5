"""Names for Arrow's generic types: their parameters exist for type checkers only, not at run time."""

from typing import Any, TypeAlias

import pyarrow as pa

Array: TypeAlias = "pa.Array[Any]"
Column: TypeAlias = "pa.ChunkedArray[Any]"
Field: TypeAlias = "pa.Field[Any]"
Scalar: TypeAlias = "pa.Scalar[Any]"
