"""Snowflake as a reader of Semantic: its set-up as one script, and whether it reads what the tables say.

setup       the statements, from contracts and what Terraform hands out
staleness   the snapshot that Snowflake has of each table, beside the table's own
"""

from lean_ops.operate.snowflake.setup import Catalog, Handed, script
from lean_ops.operate.snowflake.staleness import Seen, compare

__all__ = ["Catalog", "Handed", "Seen", "compare", "script"]
