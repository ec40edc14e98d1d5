"""What names keys to erase is read, never run; what is wrong with it is one sentence without a key."""

from pathlib import Path

import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField, StringType, TimestamptzType

from common.runtime.errors import InvalidInput
from lean_ops.operate.erase.selection import condition, given_keys, keys_in

CURATED = Schema(
    NestedField(1, "idempotency_key", StringType()),
    NestedField(2, "device__id", StringType()),
    NestedField(3, "publish_time", TimestamptzType()),
)


@pytest.mark.parametrize(
    "text",
    [
        "device__id = 'd-17'",
        "device__id in ('a', 'b') and not idempotency_key = 'x'",
        "device__id like 'd-%' or publish_time < '2020-01-01T00:00:00+00:00'",
        "device__id is not null",
        "\"device__id\" = 'it''s'",
    ],
)
def test_a_condition_on_columns_is_taken(text: str) -> None:
    assert condition(text, CURATED)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("true", "names one"),
        ("1 = 1", "from character 1 on"),
        ("", "from character 1 on"),
        ("device__id", "from character"),
        ("device__id = 'secret'; drop table raw_events", "from character"),
        ("device__id = 'secret' -- ", "from character"),
        ("device__id = (select 'secret')", "from character"),
        ("device.id = 'secret'", "DESCRIBE"),
        ("nobody = 'secret'", "DESCRIBE"),
        ("device__id = 1", "columns of payloads are texts"),
        ("publish_time > 'secret'", "does not fit"),
        ("device__id = 'secret' or true", "does not fit"),
        ("device__id = '" + "x" * 2_000 + "'", "--keys"),
    ],
)
def test_what_is_no_condition_is_refused_without_a_value(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match="--where") as refused:
        condition(text, CURATED)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_file_has_a_key_a_line_and_quoted_ones_may_hold_anything(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b'k1\r\n\nk 2 \n"k\\n3"\nk1\n')
    assert keys_in(path).keys == ("k1", "k 2 ", "k\n3")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected keys"),
        (b"\n \n", "expected keys"),
        (b"secret\xff", "UTF-8"),
        (b'k1\n"secret', "line 2"),
        (b"k1\n" + b"secret" * 50, "line 2"),
        (b'""', "line 1"),
    ],
)
def test_a_file_that_is_none_of_keys_is_named_by_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="--keys") as refused:
        keys_in(path)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_key_that_no_event_can_have_is_refused() -> None:
    for key in ("", "k" * 257):
        with pytest.raises(InvalidInput, match="--key"):
            given_keys(["k", key])
    assert given_keys(["k", "k", "l"]).keys == ("k", "l")
