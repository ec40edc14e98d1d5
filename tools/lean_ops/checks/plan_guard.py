"""Refuses a Terraform plan that would destroy or replace something that holds data.

``python -m lean_ops.checks.plan_guard plan.json`` reads what ``terraform show -json <plan>`` prints and exits
with 1, naming every such resource. ``prevent_destroy`` guards the same resources, but not against its own
removal, and not against taking a whole module out of the configuration.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from common.runtime.errors import InvalidInput

# Types whose loss loses messages, rows, checkpoints or the ability to read them.
STATEFUL: Final = frozenset(
    {
        "aws_dynamodb_table",
        "aws_glue_catalog_database",
        "aws_glue_catalog_table",
        "aws_kinesis_firehose_delivery_stream",
        "aws_kms_key",
        "aws_s3_bucket",
        "aws_secretsmanager_secret",
        "aws_sqs_queue",
    }
)


def losses(plan: dict[str, Any]) -> list[str]:
    """One sentence for each stateful resource that ``plan`` destroys, replaces or forgets.

    ``plan`` is Terraform's JSON plan representation (format 1.x); raises InvalidInput for anything else.
    """
    if not str(plan.get("format_version", "")).startswith("1."):
        raise InvalidInput(
            "plan: expected the output of `terraform show -json <plan>` (format 1.x), "
            f"found format {plan.get('format_version')!r}"
        )
    return [
        f"{change['address']}: expected to stay, the plan would {verb}"
        for change in plan.get("resource_changes", [])
        if change["type"] in STATEFUL and (verb := _verb(change["change"]["actions"]))
    ]


def _verb(actions: Sequence[str]) -> str:
    if "delete" in actions:
        return "replace it" if "create" in actions else "destroy it"
    return "forget it" if "forget" in actions else ""


def main(arguments: Sequence[str]) -> int:
    """Exit status of the command: 0 when nothing is lost, 1 when something is, 2 for a wrong call."""
    if len(arguments) != 1:
        print("plan-guard: expected one file, the output of `terraform show -json <plan>`", file=sys.stderr)
        return 2
    try:
        found = losses(json.loads(Path(arguments[0]).read_text()))
    except (OSError, ValueError, InvalidInput) as error:
        print(f"plan-guard: {arguments[0]}: {error}", file=sys.stderr)
        return 2
    for loss in found:
        print(
            f"plan-guard: {loss}; keep it, or move its data first and say so in the change", file=sys.stderr
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
