"""A contract of the checkout, held against the published one and against the rows that are there.

A contract that would take away more than ``MOST`` of what is there is put in place only where somebody says
that it is meant (``--accept``): a wrong date format refuses every row of a topic, and its tables would say so
when it has happened.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Final

from common.contract.changes import compare
from common.contract.contracts import Contract, load_contract
from common.contract.problems import Finding
from common.contract.store import contract_exists, read_contract
from common.layers.planning import Planned, plan
from common.runtime.errors import ContractError
from lean_ops.environment.target import Target

MOST: Final = 0.05
"""The share of rows that a contract may refuse, or of a column's values make null, without acceptance."""

_ROWS: Final = "*"


def published_text(target: Target, topic: str) -> str | None:
    """The contract that is in place; None where there is none."""
    s3 = target.client("s3")
    if not contract_exists(s3, target.lake_bucket, topic):
        return None
    return read_contract(s3, target.lake_bucket, topic)


def plan_contract(
    target: Target,
    topic: str,
    text: str,
    *,
    in_clear: bool = False,
    told: Callable[[int], None] = lambda _rows: None,
) -> Planned:
    """What the contract would do to the tables of ``topic`` (``common.layers.planning``).

    A published contract that cannot be read is as none: nothing is published under it. Raises ContractError
    where ``text`` itself cannot be read.
    """
    return plan(
        load_contract(text, topic),
        _published(target, topic),
        settings=target.settings,
        catalog=target.catalog(),
        in_clear=in_clear,
        told=told,
    )


def compared(target: Target, topic: str, text: str) -> list[Finding]:
    """What the contract changes for readers of the published one; nothing where there is none."""
    published = _published(target, topic)
    return compare(published, load_contract(text, topic)) if published else []


def excess(planned: Planned, most: float = MOST) -> list[str]:
    """What the contract would take away beyond the share ``most``, a clause each; none where it may go."""
    said = []
    for name, share in sorted(planned.losses().items(), key=lambda loss: -loss[1]):
        if share <= most:
            continue
        if name == _ROWS:
            rules = ", ".join(f"{b.column}:{b.rule} {b.rows:,}" for b in planned.broken if b.critical)
            said.append(
                f"{planned.newly_refused:,} of {planned.rows:,} rows would be refused ({share:.1%}), by "
                f"rule: {rules}"
            )
        else:
            of = planned.values[name]
            rules = ", ".join(
                f"{b.rule} {b.rows:,}" for b in planned.broken if b.column == name and b.rule != "missing"
            )
            said.append(
                f"{of.lost:,} of {of.present:,} values of {name} would be null ({share:.1%}), by rule: "
                f"{rules}"
            )
    return said


def not_accepted(
    target: Target, contracts: Mapping[str, str], accepted: Collection[str]
) -> dict[str, tuple[str | None, list[str]]]:
    """Topics whose contract must not go in place as it is: the text that is, and what would be taken away.

    ``contracts``: texts by topic. One that is in place already, or that is ``accepted``, is not looked at.
    """
    held = {}
    for topic, text in contracts.items():
        if topic in accepted or (before := published_text(target, topic)) == text:
            continue
        if too_much := excess(plan_contract(target, topic, text)):
            held[topic] = (before, too_much)
    return held


def _published(target: Target, topic: str) -> Contract | None:
    text = published_text(target, topic)
    try:
        return load_contract(text, topic) if text is not None else None
    except ContractError:  # `lean-ops doctor` says what is wrong with it
        return None
