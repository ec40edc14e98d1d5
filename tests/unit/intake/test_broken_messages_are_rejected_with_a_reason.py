"""Every way in which a message can break the event contract has its code, and the reason quotes no value."""

import json

import pytest

from common.intake.events import MAX_NESTING, MAX_RECORD_BYTES, EventParser
from common.runtime.errors import RejectedEvent

SENT_US = 1_780_000_000_000_000  # 2026-05-28T20:26:40Z
CANARY = "canary-7f3a"
PARSER = EventParser(frozenset({"events"}))
GOOD = {
    "message_id": "m-1",
    "idempotency_key": "k-1",
    "topic_name": "events",
    "publish_time": "2026-05-28T10:00:00Z",
    "payload": {"secret": CANARY},
}


def with_(**fields: object) -> str:
    return json.dumps({**GOOD, **fields})


def without(field: str) -> str:
    return json.dumps({k: v for k, v in GOOD.items() if k != field})


def raw_payload(text: str) -> str:
    return with_(payload="@").replace('"@"', text)


BROKEN = {
    "NOT_JSON": {
        "empty": "",
        "text": "hello",
        "truncated": json.dumps(GOOD)[:-9],
        "two objects": json.dumps(GOOD) * 2,
        "NaN": raw_payload('{"v": NaN}'),
        "leading zero": raw_payload('{"v": 01}'),
        "single quotes": str(GOOD),
        "lone surrogate escape": raw_payload('{"v": "\\ud800"}'),
        "lone surrogate": raw_payload('{"v": "\ud800"}'),
        "raw control character": raw_payload('{"v": "a\nb"}'),
        "nested too deep": raw_payload('{"v":' * 20_000 + "1" + "}" * 20_000),
        "nested a level too deep": raw_payload(
            '{"v":' + "[" * (MAX_NESTING - 1) + "]" * (MAX_NESTING - 1) + "}"
        ),
        **{f"{n} levels, none closed": '{"payload":' + "[" * n for n in (400, 501, 970, 985, 989, 20_000)},
    },
    "NOT_AN_OBJECT": {"array": f'["{CANARY}"]', "number": "7", "string": f'"{CANARY}"', "null": "null"},
    "MISSING_FIELD": {f: without(f) for f in GOOD},
    "MALFORMED_FIELD": {
        "null id": with_(message_id=None),
        "numeric id": with_(message_id=7),
        "empty id": with_(message_id=""),
        "id of 129": with_(message_id="x" * 129),
        "empty key": with_(idempotency_key=""),
        "key of 257": with_(idempotency_key="x" * 257),
        "time without offset": with_(publish_time="2026-05-28T10:00:00"),
        "impossible date": with_(publish_time="2026-02-30T10:00:00Z"),
        "epoch number": with_(publish_time=1780000000),
        "word for a time": with_(publish_time=CANARY),
        "period in year 0": with_(period_reference="0000-12"),
        "period in other digits": with_(period_reference="٢٠٢٦-01"),
        "leap second": with_(publish_time="2016-12-31T23:59:60Z"),
        "hour 24": with_(publish_time="2016-12-31T24:00:00Z"),
        "offset of a day": with_(publish_time="2026-05-28T10:00:00+24:00"),
        "time in other digits": with_(publish_time="٢٠٢٦-05-28T10:00:00Z"),
        "id true": with_(message_id=True),
        "period 2026-13": with_(period_reference="2026-13"),
        "period with a tail": with_(period_reference="2026-01-01"),
        "period with a line end": with_(period_reference="2026-01\n"),
        "correlation number": with_(correlation_id=5),
        "payload text": with_(payload=CANARY),
        "payload list": with_(payload=[CANARY]),
        "payload null": with_(payload=None),
    },
    "REPEATED_FIELD": {
        "payload": f'{{"payload":{{"lost":"{CANARY}"}},' + json.dumps(GOOD)[1:],
        "id": json.dumps(GOOD)[:-1] + ',"message_id":"m-2"}',
        "the same value": json.dumps(GOOD)[:-1] + ',"topic_name":"events"}',
        "null, then a value": '{"correlation_id":null,' + with_(correlation_id="c")[1:],
        "an escaped name": '{"p\\u0061yload":{},' + json.dumps(GOOD)[1:],
        "beside a payload of 499 levels": with_(payload="@", more=[1]).replace(
            '"@"', '{"v":' + "[" * 498 + "]" * 498 + "}"
        )[:-1]
        + ',"payload":{}}',
        "beside a long number": json.dumps(GOOD)[:-1] + f',"more":{"1" * 10_000},"payload":{{}}}}',
    },
    "UNKNOWN_TOPIC": {
        "other": with_(topic_name=CANARY),
        "hostile": with_(topic_name='x"; drop table'),
        "empty": with_(topic_name=""),
    },
    "TIME_OUT_OF_RANGE": {
        "1970": with_(publish_time="1970-01-01T00:00:00Z"),
        "just before 2000": with_(publish_time="1999-12-31T23:59:59.999999Z"),
        "a day and a second ahead": with_(publish_time="2026-05-29T20:26:41Z"),
        "year 9999": with_(publish_time="9999-12-31T23:59:59-14:00"),
        "year 1": with_(publish_time="0001-01-01T00:00:00+14:00"),
    },
    "TOO_LARGE": {"payload": raw_payload('{"v": "' + "x" * MAX_RECORD_BYTES + '"}')},
}
CASES = [
    pytest.param(code, body, id=f"{code}: {name}")
    for code, bodies in BROKEN.items()
    for name, body in bodies.items()
]


@pytest.mark.parametrize(("code", "body"), CASES)
def test_the_reason_has_a_stable_code_and_quotes_nothing(code: str, body: str) -> None:
    with pytest.raises(RejectedEvent) as caught:
        PARSER.parse(body, SENT_US)
    assert caught.value.code == code
    assert CANARY not in caught.value.detail
    assert caught.value.detail


def test_exactly_one_day_ahead_and_the_first_moment_of_2000_are_accepted() -> None:
    PARSER.parse(with_(publish_time="2026-05-29T20:26:40Z"), SENT_US)
    PARSER.parse(with_(publish_time="2000-01-01T00:00:00Z"), SENT_US)


def test_ids_and_keys_of_the_longest_allowed_length_are_accepted() -> None:
    PARSER.parse(with_(message_id="x" * 128, idempotency_key="y" * 256), SENT_US)
