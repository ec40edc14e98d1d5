"""What a month costs, before there is an account, and of an environment on AWS by what it did.

prices      the table: every price with its source and date (prices.json)
settings    what the bill depends on, from the files that Terraform reads
emitted     the custom metrics of the functions
bill        usage x settings x prices -> lines
report      figures beside their goals, what dominates, what a setting changes
measured    usage and runs of an environment, from CloudWatch and what its merges counted
engines     what clearing a backlog takes, with functions and on Spark
resources   every type of resource that is planned, and where its cost is
"""

from lean_ops.operate.cost.bill import MERGE_GETS, MERGE_PUTS, Bill, Line, Measured, Scope, Usage, bill
from lean_ops.operate.cost.engines import Clearing, Workers, clearing, faster_from
from lean_ops.operate.cost.measured import LOOKED_BACK, measure
from lean_ops.operate.cost.prices import MissingPrice, Price, PriceTable, load_prices
from lean_ops.operate.cost.report import GOAL_EVENT_BYTES, GOAL_EVENTS_PER_DAY, Report, report
from lean_ops.operate.cost.settings import Settings, region_of, settings_of

__all__ = [
    "GOAL_EVENTS_PER_DAY",
    "GOAL_EVENT_BYTES",
    "LOOKED_BACK",
    "MERGE_GETS",
    "MERGE_PUTS",
    "Bill",
    "Clearing",
    "Line",
    "Measured",
    "MissingPrice",
    "Price",
    "PriceTable",
    "Report",
    "Scope",
    "Settings",
    "Usage",
    "Workers",
    "bill",
    "clearing",
    "faster_from",
    "load_prices",
    "measure",
    "region_of",
    "report",
    "settings_of",
]
