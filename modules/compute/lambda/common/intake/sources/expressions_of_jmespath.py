"""JMESPath on exact values: decimals are numbers to it, in its functions and in the literals of an
expression."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import jmespath
from jmespath import exceptions, functions, visitor

from common.intake.sources import slices
from common.intake.sources.paths import SourceError

Expression = Callable[[Any], Any]

_KINDS: Final = {
    "bool": "boolean",
    "list": "array",
    "dict": "object",
    "NoneType": "null",
    "str": "string",
    "float": "number",
    "int": "number",
    "Decimal": "number",
    "_Expression": "expref",
}


# The library has no types: its decorator would take them from what it decorates.
_signature: Final[Callable[..., Callable[[Any], Any]]] = functions.signature


class _Functions(functions.Functions):
    """The functions of the specification, for which decimals are numbers."""

    def _convert_to_jmespath_type(self, pyobject: str) -> str:
        return _KINDS.get(pyobject, "unknown")

    def _get_allowed_pytypes(self, types: Any) -> Any:
        kinds, inside = super()._get_allowed_pytypes(types)  # type: ignore[misc]  # not in its stubs
        return _with_decimal(kinds), [_with_decimal(one) for one in inside]

    @_signature({"types": []})
    def _func_type(self, arg: Any) -> Any:
        return _KINDS.get(type(arg).__name__)

    @_signature({"types": ["array-number"]})
    def _func_avg(self, arg: list[Any]) -> Any:
        return sum(map(Decimal, arg)) / len(arg) if arg else None

    @_signature({"types": ["array-number"]})
    def _func_sum(self, arg: list[Any]) -> Any:
        return sum(map(Decimal, arg), Decimal(0))

    @_signature({"types": []})
    def _func_to_number(self, arg: Any) -> Any:
        if isinstance(arg, (int, Decimal)) and not isinstance(arg, bool):
            return arg
        try:
            return (
                json.loads(arg, parse_float=Decimal, parse_constant=_no_number)
                if isinstance(arg, str)
                else None
            )
        except ValueError:
            return None

    @_signature({"types": []})
    def _func_to_string(self, arg: Any) -> str:
        return arg if isinstance(arg, str) else bytes(slices.of(arg)).decode()


def _with_decimal(kinds: Any) -> list[str]:
    return [*kinds, "Decimal"] if "float" in kinds else list(kinds)


def compiled(path: str, where: str) -> Expression:
    """The expression's function of a value; raises SourceError for what is none of the language."""
    try:
        parsed: Any = jmespath.compile(path).parsed
    except (exceptions.JMESPathError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise SourceError(
            where, f"expected a JMESPath expression, found one that is none: {reason}"
        ) from None
    if unknown := sorted(_called(parsed) - _Functions.FUNCTION_TABLE.keys()):
        raise SourceError(where, f"expected functions of JMESPath, found {', '.join(unknown)}")
    tree: Any = _with_decimals(parsed)
    options = jmespath.Options(custom_functions=_Functions())
    return lambda value: visitor.TreeInterpreter(options).visit(tree, value)


def _no_number(_name: str) -> None:
    raise ValueError


def _called(node: dict[str, Any]) -> set[str]:
    called = {node["value"]} if node["type"] == "function_expression" else set()
    return called.union(*(_called(child) for child in node["children"] if isinstance(child, dict)))


def _with_decimals(node: dict[str, Any]) -> dict[str, Any]:
    """The tree with exact literals: what they are compared with is exact as well."""
    if node["type"] == "literal":
        return {**node, "value": json.loads(json.dumps(node["value"]), parse_float=Decimal)}
    children = [_with_decimals(child) if isinstance(child, dict) else child for child in node["children"]]
    return {**node, "children": children}
