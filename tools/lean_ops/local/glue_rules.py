"""What AWS Glue refuses in a table definition, read from Glue's own service model (which botocore carries).

The emulator takes any text. Glue holds every name, comment, type and parameter against the length and pattern
of its shape, and one column's comment with a line break makes it refuse the whole commit of a table.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import botocore.loaders
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StringShape, StructureShape

CHECKED: Final = ("CreateTable", "UpdateTable")
# How the model, which is written for Java, spells the characters beyond the basic plane.
_BEYOND_BMP: Final = (r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")


def refusal(operation: str, request: dict[str, Any]) -> str | None:
    """Why Glue would refuse the request, as its ValidationException says it; None where it would not."""
    shape = _model().operation_model(operation).input_shape
    found = [] if shape is None else list(_broken(shape, request, ""))
    if not found:
        return None
    errors = "error" if len(found) == 1 else "errors"
    return f"{len(found)} validation {errors} detected: {'; '.join(found)}"


@cache
def _model() -> ServiceModel:
    return ServiceModel(botocore.loaders.create_loader().load_service_model("glue", "service-2"), "glue")


def _broken(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """Members that break a length or pattern, depth first; the value itself is not repeated."""
    if value is None:
        return
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            yield from _broken(member, value.get(name), f"{path}.{name}" if path else name)
    elif isinstance(shape, ListShape):
        for index, item in enumerate(value, start=1):
            yield from _broken(shape.member, item, f"{path}.{index}.member")
    elif isinstance(shape, MapShape):
        for key, item in value.items():
            yield from _broken(shape.key, key, f"{path}.key")
            yield from _broken(shape.value, item, f"{path}.{key}.value")
    elif isinstance(shape, StringShape):
        yield from _broken_text(shape.metadata, value, path)


def _broken_text(limits: dict[str, Any], text: str, path: str) -> Iterator[str]:
    failed = f"Value at '{path}' failed to satisfy constraint: Member must"
    if len(text) > limits.get("max", len(text)):
        yield f"{failed} have length less than or equal to {limits['max']}"
    if len(text) < limits.get("min", 0):
        yield f"{failed} have length greater than or equal to {limits['min']}"
    pattern = limits.get("pattern")
    if pattern is not None and not re.fullmatch(pattern.replace(*_BEYOND_BMP), text):
        yield f"{failed} satisfy regular expression pattern: {pattern}"
