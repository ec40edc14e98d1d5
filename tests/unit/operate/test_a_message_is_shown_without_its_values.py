"""The doctor shows the form of a message that no source is for: kinds and names of fields, no value."""

import base64
import json
from typing import Any

import pytest

from common.intake.queue_pass import QueuedMessage
from lean_ops.operate.doctor.sources import _form_of, masked


def test_values_are_kinds_and_names_that_may_be_somebodys_are_numbered() -> None:
    body: dict[str, Any] = {
        "ts": 1792483200, "ok": True, "none": None, "user": "jane@example.org",
        "boiler-7": {"temp": 21.5}, "values": [{"v": 1}, {"v": 2}, {"v": 3}],
    }  # fmt: skip
    assert masked(body) == {
        "ts": "number", "ok": True, "none": None, "user": "text",
        "name 5": {"temp": "number"}, "values": [{"v": "number"}, {"v": "number"}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "form"),
    [
        ('{"a":"secret"}', '{"a": "text"}'),
        ("secret", "no JSON"),
        ("[" * 5000, "no JSON"),
        ('{"a":' + "9" * 5000 + "}", '{"a": "number"}'),
        (
            json.dumps({"data": base64.b64encode(b'{"a":1}').decode(), "mqtt_topic": "secret/x"}),
            '{"a": "number"} on an MQTT topic of 2 levels',
        ),
        (
            json.dumps({"data": base64.b64encode(b"\xff").decode(), "mqtt_topic": "x"}),
            "no JSON on an MQTT topic of 1 levels",
        ),
    ],
)
def test_the_form_of_a_letter_has_no_value(body: str, form: str) -> None:
    found = _form_of(QueuedMessage("m", body, 0))
    assert found == form
    assert "secret" not in found


def test_a_deep_or_wide_message_has_a_short_form() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = {"a": [deep]}
    wide = {f"field_{'x' * (i % 20)}{'y' * (i // 20)}": i for i in range(300)}
    for body in (deep, wide):
        assert len(_form_of(QueuedMessage("m", json.dumps(body), 0))) <= 300
