"""The rules of a contract about all rows together, measured now, with those in SQL that no run measures."""

from decimal import Decimal, InvalidOperation
from itertools import islice

import msgspec

from common.contract.contracts import Contract
from common.contract.quality import QualityRule
from common.lake.specifications import open_table
from common.layers.quality import Measured, Measurement, judged, measure, unmeasured
from common.runtime import outside
from common.runtime.errors import InvalidInput
from lean_ops.environment import lake
from lean_ops.environment.lake import TableUnreadable
from lean_ops.environment.target import Target


def measure_now(target: Target, contract: Contract, seconds: float) -> Measurement:
    """Every rule of the contract on the rows of Semantic as they are now, however many.

    ``seconds``: for each rule in SQL. Such a rule is one SELECT over the lake's tables that gives one number;
    one that does not, or takes longer, is not measured, and says why. Raises TableMissing. Changes nothing.
    """
    table = open_table(target.catalog(), target.settings.table("semantic", contract.topic))
    found = measure(table, contract.quality, version=contract.version, now=outside.now(), most_rows=None)
    by_name = {one.name: one for one in found.rules}
    rules = tuple(
        _in_sql(target, contract, rule, seconds) if rule.metric == "sql" else by_name[rule.name]
        for rule in contract.quality
    )
    return msgspec.structs.replace(found, rules=rules)


def _in_sql(target: Target, contract: Contract, rule: QualityRule, seconds: float) -> Measured:
    try:
        with lake.query(target, rule.sql(f"semantic_{contract.topic}"), seconds) as result:
            rows = list(islice(result.rows(), 2))
    except (InvalidInput, TableUnreadable) as error:
        return unmeasured(rule, str(error))
    try:
        ((value,),) = rows
        number = Decimal(str(value))
    except (ValueError, InvalidOperation):
        number = Decimal("NaN")
    if not number.is_finite():
        return unmeasured(rule, f"expected one row with one number, found {len(rows)} rows of another kind")
    return judged(rule, number)
