"""What CloudWatch says of an alarm: metric math over periods, and M out of N.

As far as the catalogue uses it (CloudWatch user guide, "Using metric math", "Evaluating an alarm"): a period
without data is missing; arithmetic with something missing is missing; FILL puts a number in its place. An
alarm looks at the last N periods; a missing one counts as the alarm's treatment of missing data says.
(CloudWatch may look at older periods where some of the last N are missing; it only reacts later then.)
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from common.runtime.errors import InvalidInput
from lean_ops.environment.alarm_catalogue import Alarm

Value = float | None

_BINARY: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISON: Final[dict[type[ast.cmpop], Callable[[float, float], bool]]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
}
_BREACHES: Final[dict[str, Callable[[float, float], bool]]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
}


def result(expression: str | None, series: Mapping[str, Sequence[Value]]) -> list[Value]:
    """The alarm's own series: its only metric, or its expression, period by period.

    ``series`` holds a value for each period, oldest first, None where there is no data. Raises InvalidInput
    for an expression that goes beyond what the catalogue uses.
    """
    if expression is None:
        (only,) = series.values()
        return list(only)
    tree = ast.parse(expression, mode="eval").body
    periods = zip(*series.values(), strict=True)
    return [_evaluate(tree, dict(zip(series, values, strict=True))) for values in periods]


def is_up(alarm: Alarm, values: Sequence[Value], *, before: bool) -> bool:
    """Whether the alarm is in ALARM after these periods (oldest first); ``before``: whether it was."""
    looked_at = list(values)[-alarm.evaluation_periods :]
    missing = looked_at.count(None)
    if missing == len(looked_at) and alarm.missing_data in {"ignore", "missing"}:
        return before and alarm.missing_data == "ignore"
    breaches = _BREACHES[alarm.comparison]
    breaching = sum(value is not None and breaches(value, float(alarm.threshold)) for value in looked_at)
    if alarm.missing_data == "breaching":
        breaching += missing
    return breaching >= alarm.datapoints_to_alarm


def _evaluate(node: ast.expr, values: Mapping[str, Value]) -> Value:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _apply(_BINARY[type(op)], _evaluate(left, values), _evaluate(right, values))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _apply(_COMPARISON[type(op)], _evaluate(left, values), _evaluate(right, values))
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
            holds = _evaluate(condition, values)
            return None if holds is None else _evaluate(then if holds else otherwise, values)
        case ast.Call(func=ast.Name(id="FILL"), args=[filled, number]):
            found = _evaluate(filled, values)
            return _evaluate(number, values) if found is None else found
    raise InvalidInput(
        f"metric math: expected numbers, metrics, + - * / and comparisons, IF and FILL, found "
        f"{ast.unparse(node)!r}; teach lean_ops/local/alarm_arithmetic.py about it"
    )


def _apply(function: Callable[[float, float], float], left: Value, right: Value) -> Value:
    if left is None or right is None or (function is operator.truediv and right == 0):
        return None
    return float(function(left, right))
