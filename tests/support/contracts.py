"""Contracts of one column, for tests that want a row refused."""

from common.contract.contracts import Contract, load_contract


def up_to(maximum: int, version: str = "1.0.0", physical: str = "integer", more: str = "") -> Contract:
    """A contract of ``t``: ``value`` is critical and at most ``maximum``; ``more``: YAML of properties."""
    kind = "integer" if physical == "integer" else "number"
    return load_contract(
        f"""
apiVersion: v3.2.0
kind: DataContract
id: test.t
version: {version}
status: active
schema:
  - name: t
    properties:
      - name: value
        description: A number
        logicalType: {kind}
{f"        physicalType: {physical}" if kind == "number" else ""}
        criticalDataElement: true
        logicalTypeOptions:
          maximum: {maximum}
        transformSourceObjects: [value]
{more}""",
        "t",
    )
