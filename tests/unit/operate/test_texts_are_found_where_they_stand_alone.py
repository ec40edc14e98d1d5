"""Many texts at once, found where each stands alone, however long it is and wherever it lies."""

import json

from hypothesis import given
from hypothesis import strategies as st

from lean_ops.operate.erase.terms import Terms, stands_alone


def found(content: str | bytes, *texts: str) -> set[str]:
    whole = content.encode() if isinstance(content, str) else content
    return {texts[number] for number in Terms(texts).standing_alone(whole)}


def test_a_name_within_a_longer_one_is_another() -> None:
    assert found("sensor-12 sensor-1a xsensor-1 my-sensor-1 sensor-1/2 a:sensor-1", "sensor-1") == set()
    assert found("sensor-1", "sensor-1") == {"sensor-1"}
    assert found('{"k":"sensor-1"}', "sensor-1") == {"sensor-1"}
    assert found("seen by sensor-1.", "sensor-1") == {"sensor-1"}
    assert found("(sensor-1), then", "sensor-1") == {"sensor-1"}


def test_what_json_escapes_is_found_once_and_twice_escaped() -> None:
    text = 'Jo "the\\Fox" Döe\n'
    once = json.dumps({"note": text})
    assert found(once, text) == {text}
    assert found(json.dumps({"note": text}, ensure_ascii=False), text) == {text}
    assert found(json.dumps({"body": once}), text) == {text}


def test_a_short_key_is_looked_for_with_its_quotes() -> None:
    assert found('{"key": "k"}', "k") == {"k"}
    assert found(json.dumps({"body": '{"key": "k1"}'}), "k1") == {"k1"}
    assert found("k k1 bulk", "k", "k1") == set()
    assert Terms(["k", "long enough"]).tiny == {"k": 0}


def test_avro_writes_a_text_behind_its_length() -> None:
    terms = Terms(["sensor-1", "x" * 100])
    assert terms.after_their_length(b"\x02\x10sensor-1\x02") == {0}
    assert terms.after_their_length(b"\x02\x12sensor-12\x02") == set()
    assert terms.after_their_length(b"\xc8\x01" + b"x" * 100) == {1}


NAMES = st.text("ab-é1", min_size=4, max_size=12)


@given(
    st.lists(NAMES, min_size=1, max_size=6),
    st.lists(st.tuples(st.text(' ",a1', max_size=3), NAMES), max_size=8),
)
def test_it_finds_what_a_plain_search_finds(texts: list[str], content: list[tuple[str, str]]) -> None:
    whole = "".join(before + name for before, name in content).encode()
    terms = Terms(texts)

    def plain(text: str) -> bool:
        form, first = text.encode(), -1
        while (first := whole.find(form, first + 1)) >= 0:
            if stands_alone(whole, first, first + len(form)):
                return True
        return False

    # What JSON escapes is found by that form as well.
    assert {n for n, text in enumerate(terms.texts) if plain(text)} == terms.standing_alone(whole)
