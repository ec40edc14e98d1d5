"""The simulator's claims of good and violating readings hold against the contract of the repository."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice

import msgspec
import pytest
from pyiceberg.types import DecimalType

from common.contract.contracts import Contract, load_contract
from common.contract.properties import Property
from lean_ops.accounts.messages import Kind
from lean_ops.environment.repository import CONTRACTS
from lean_ops.simulate.devices import DEVICE_TYPES, OUTSIDE_ENUM
from lean_ops.simulate.history import History, Scenario
from lean_ops.simulate.readings import weather_station_readings


def contract(topic: str) -> Contract:
    return load_contract((CONTRACTS / f"{topic}.yaml").read_text(), topic)


def leaves(payload: dict[str, msgspec.Raw], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(Curated column, JSON text) of every leaf."""
    for name, raw in payload.items():
        text = bytes(raw).decode()
        if text.startswith("{"):
            yield from leaves(msgspec.json.decode(text, type=dict[str, msgspec.Raw]), f"{prefix}{name}__")
        else:
            yield f"{prefix}{name}", text


def rows(topic: str) -> Iterator[tuple[dict[str, str], str]]:
    """(columns, claimed violation) of what is sent to a topic."""
    scenario = Scenario(events=6_000, end=datetime(2026, 3, 1, tzinfo=UTC), violation_rate=0.05)
    stream = History(scenario) if topic == "events" else islice(weather_station_readings(), 2_000)
    for message in stream:
        if message.kind is not Kind.BROKEN and not message.deletes:
            body = msgspec.json.decode(message.body, type=dict[str, msgspec.Raw])
            yield (
                dict(leaves(msgspec.json.decode(body["payload"], type=dict[str, msgspec.Raw]))),
                message.violation,
            )


def keeps(rule: Property, text: str | None) -> bool:
    """Whether a JSON text fits a property, judged the plain way."""
    if text is None or text == "null":
        return not rule.required
    if rule.logical_type in {"number", "integer"}:
        try:
            number = Decimal(text)
        except ArithmeticError:
            return False
        fits = True
        if isinstance(rule.value_type, DecimalType):
            limit = Decimal(10) ** (rule.value_type.precision - rule.value_type.scale)
            exponent = number.as_tuple().exponent
            fits = abs(number) < limit and isinstance(exponent, int) and exponent >= -rule.value_type.scale
        return fits
    value = msgspec.json.decode(text)
    return isinstance(value, str) and (not rule.enum or value in rule.enum)


@pytest.mark.parametrize("topic", ["events", "weather"])
def test_every_column_of_the_contract_is_sent(topic: str) -> None:
    sent = {column for columns, _ in rows(topic) for column in columns}
    assert {rule.source for rule in contract(topic).properties} <= sent


@pytest.mark.parametrize("topic", ["events", "weather"])
def test_a_row_breaks_the_contract_exactly_where_it_claims_to(topic: str) -> None:
    rules = contract(topic).properties
    for columns, violation in rows(topic):
        broken = {rule.source for rule in rules if not keeps(rule, columns.get(rule.source))}
        claimed = violation.partition(":")[0].replace(".", "__")
        assert broken == ({claimed} if topic == "events" and violation else set())


def test_violations_concern_critical_elements() -> None:
    critical = {rule.source for rule in contract("events").properties if rule.critical}
    assert {"reading__value", "device__type"} <= critical


def test_the_device_types_are_those_of_the_contract() -> None:
    (rule,) = (rule for rule in contract("events").properties if rule.source == "device__type")
    assert set(rule.enum) == {kind.name for kind in DEVICE_TYPES}
    assert OUTSIDE_ENUM not in rule.enum
