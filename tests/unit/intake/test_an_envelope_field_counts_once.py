"""An envelope that names a field twice is refused, whatever is between; a payload may name what it likes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.intake.events import EventParser
from common.runtime.errors import RejectedEvent

PARSER = EventParser(frozenset({"events"}))
SENT_US = 1_780_000_000_000_000
VALUES = {
    "message_id": '"m"',
    "idempotency_key": '"k"',
    "topic_name": '"events"',
    "publish_time": '"2026-05-28T10:00:00Z"',
    "payload": '{"payload":1,"payload":"\\"payload\\""}',
    "period_reference": '"2026-05"',
    "correlation_id": '"\\"message_id\\""',
}
FOREIGN = {"more": '{"payload":{},"message_id":"x"}', "payloads": '"payload"', "": "[]", "topic": "1"}
REQUIRED = list(VALUES)[:5]


@st.composite
def envelopes(draw: st.DrawFn) -> str:
    """Members in any order, names escaped or not, values of optional fields null or not, blanks anywhere."""
    names = [
        *REQUIRED,
        *draw(st.lists(st.sampled_from([*VALUES, *FOREIGN]), max_size=4)),
    ]
    members = []
    for name in draw(st.permutations(names)):
        escaped = draw(st.sampled_from([name, name.replace("a", "\\u0061"), name.replace("_", "\\u005F")]))
        optional = name in {"period_reference", "correlation_id"}
        value = "null" if optional and draw(st.booleans()) else {**VALUES, **FOREIGN}[name]
        blank = draw(st.sampled_from(["", " ", "\n\t"]))
        members.append(f'{blank}"{escaped}"{blank}:{blank}{value}{blank}')
    return "{" + ",".join(members) + "}" + draw(st.sampled_from(["", "\n"]))


@given(envelopes())
def test_a_message_is_refused_as_repeated_exactly_when_a_field_is_named_twice(body: str) -> None:
    pairs: list[tuple[str, object]] = json.loads(body, object_pairs_hook=lambda members: members)
    names = [name for name, _ in pairs]
    if any(names.count(name) > 1 for name in VALUES):
        with pytest.raises(RejectedEvent) as caught:
            PARSER.parse(body, SENT_US)
        assert caught.value.code == "REPEATED_FIELD"
    else:
        assert json.loads(PARSER.parse(body, SENT_US)[1])["json_payload"] == VALUES["payload"]
