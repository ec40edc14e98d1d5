"""A person's CSV, NDJSON and Parquet files become events, exactly, and the rows that cannot are named."""

import gzip
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.runtime.errors import InvalidInput
from lean_ops.accounts.ledger import Ledger
from lean_ops.accounts.messages import Message
from lean_ops.simulate.readings import BadRow, Guess, ReadingMapping, messages, preview, rows

from ...support.generated import cases

MAPPING = ReadingMapping("events", key=("device", "at"), time="at")
Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def read(path: Path, mapping: ReadingMapping = MAPPING) -> tuple[list[Message], list[BadRow]]:
    bad: list[BadRow] = []
    return list(messages(path, mapping, bad.append)), bad


def payload(message: Message) -> str:
    """The payload's exact text."""
    return bytes(msgspec.json.decode(message.body, type=dict[str, msgspec.Raw])["payload"]).decode()


def test_cells_keep_their_exact_text(write: Write) -> None:
    path = write(
        "r.csv",
        "device,at,value,serial,note\n"
        'a,2026-01-02T03:04:05Z,1.10,98765432109876543210,"say ""hi"", é"\n'
        "b,2026-01-02T03:04:06Z,-0.0,007,\n",
    )
    sent, bad = read(path)
    assert bad == []
    assert payload(sent[0]) == (
        '{"device":"a","at":"2026-01-02T03:04:05Z","value":1.10,"serial":98765432109876543210,'
        '"note":"say \\"hi\\", é"}'
    )
    assert payload(sent[1]) == (
        '{"device":"b","at":"2026-01-02T03:04:06Z","value":-0.0,"serial":"007","note":null}'
    )
    assert [m.key for m in sent] == ["a:2026-01-02T03:04:05Z", "b:2026-01-02T03:04:06Z"]
    assert sent[0].publish_us == 1_767_323_045_000_000


@pytest.mark.parametrize("text", ["1", "-1.50", "1e5", "1E-3", "0", "0.10", "123456789012345678901234567890"])
def test_json_numbers_stay_numbers(write: Write, text: str) -> None:
    sent, _ = read(write("r.csv", f"device,at,v\na,2026-01-01,{text}\n"))
    assert payload(sent[0]).endswith(f'"v":{text}}}')


@pytest.mark.parametrize(
    "text", ["+1", "01", ".5", "1.", "0x1F", "NaN", "1_000", " 1", "true", "1e", "\u0661"]
)
def test_other_text_becomes_a_string(write: Write, text: str) -> None:
    sent, _ = read(write("r.csv", f"device,at,v\na,2026-01-01,{text}\n"))
    assert msgspec.json.decode(payload(sent[0]))["v"] == text


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_are_told_apart_by_the_header(write: Write, delimiter: str) -> None:
    lines = [["device", "at", "v"], ["a", "2026-01-01", "1"]]
    sent, _ = read(write("r.csv", "\ufeff" + "\r\n".join(delimiter.join(line) for line in lines)))
    assert payload(sent[0]) == '{"device":"a","at":"2026-01-01","v":1}'


def test_a_zipped_file_is_read_as_it_is(write: Write) -> None:
    plain = b"device,at\na,2026-01-01\n"
    assert read(write("r.csv.gz", gzip.compress(plain))) == read(write("r.csv", plain))


def test_ndjson_values_are_taken_over_character_by_character(write: Write) -> None:
    path = write(
        "r.ndjson",
        '{"device": {"id": "a", "no": 1}, "at": 1767323045, "v": 1.10, "list": [1, 2.0, {"x": null}]}\n\n'
        '{"device": {"id": "b"}, "at": 1767323045123, "s": "\\u00e9\\n"}\n',
    )
    sent, bad = read(path, ReadingMapping("events", key=("device.id",), time="at"))
    assert bad == []
    assert [m.key for m in sent] == ["a", "b"]
    assert payload(sent[0]) == (
        '{"device":{"id": "a", "no": 1},"at":1767323045,"v":1.10,"list":[1, 2.0, {"x": null}]}'
    )
    assert payload(sent[1]) == '{"device":{"id": "b"},"at":1767323045123,"s":"\\u00e9\\n"}'


def test_parquet_values_are_written_from_their_types(tmp_path: Path) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
    table = pa.table(
        {
            "device": ["a"],
            "at": pa.array([at], pa.timestamp("us", "UTC")),
            "ns": pa.array([1_767_323_045_123_456_789], pa.timestamp("ns", "UTC")),
            "amount": pa.array([Decimal("1.10")], pa.decimal128(10, 2)),
            "big": pa.array([2**63], pa.uint64()),
            "share": [0.1],
            "none": pa.array([float("nan")]),
            "day": [date(2026, 1, 2)],
            "raw": [b"\x00\xff"],
            "nested": [{"x": [1, None], "ok": True}],
        }
    )
    path = tmp_path / "r.parquet"
    pq.write_table(table, path)
    sent, bad = read(path)
    assert bad == []
    assert sent[0].publish_us == 1_767_323_045_123_456
    assert payload(sent[0]) == (
        '{"device":"a","at":"2026-01-02T03:04:05.123456Z","ns":"2026-01-02T03:04:05.123456Z","amount":1.10,'
        '"big":9223372036854775808,"share":0.1,"none":null,"day":"2026-01-02","raw":"AP8=",'
        '"nested":{"x":[1,null],"ok":true}}'
    )


def test_columns_are_renamed_nested_dropped_and_added(write: Write) -> None:
    mapping = ReadingMapping(
        "weather",
        key=("station.id", "date"),
        time="date",
        timezone="-08:00",
        rename={"temp": "reading.value", "date": "local_time"},
        drop=frozenset({"noise"}),
        constants={"station.id": "seattle", "reading.unit": "degF"},
    )
    sent, _ = read(write("r.csv", "date,temp,noise\n2010/01/01 00:00,39.40,x\n"), mapping)
    assert payload(sent[0]) == (
        '{"local_time":"2010/01/01 00:00","reading":{"value":39.40,"unit":"degF"},"station":{"id":"seattle"}}'
    )
    assert sent[0].key == "seattle:2010/01/01 00:00"
    assert '"publish_time":"2010-01-01T08:00:00Z"' in sent[0].body


def test_rows_that_cannot_be_sent_are_named_and_left_out(write: Write) -> None:
    path = write(
        "r.csv",
        "device,at,v\n"
        "a,2026-01-01,1\n"
        ",2026-01-01,2\n"
        "b,,3\n"
        "c,soon,4\n"
        "d,1999-12-31,5\n"
        "e,2999-01-01,6\n"
        "f,2026-01-01\n"
        f"{'k' * 300},2026-01-01,8\n"
        "\n"
        '"g\nh",2026-01-01,9\n',
    )
    sent, bad = read(path, ReadingMapping("events", key=("device",), time="at"))
    assert [m.key for m in sent] == ["a", "g\nh"]
    assert [row.number for row in bad] == [3, 4, 5, 6, 7, 8, 9]
    reasons = [row.reason for row in bad]
    assert reasons[0] == "'device': expected a value, found none"
    assert reasons[1] == "'at': expected a value, found none"
    assert "expected RFC 3339" in reasons[2]
    assert reasons[3].startswith("TIME_OUT_OF_RANGE")
    assert reasons[4].startswith("TIME_OUT_OF_RANGE")
    assert reasons[5] == "expected 3 cells, found 2"
    assert reasons[6].startswith("MALFORMED_FIELD")


def test_broken_lines_of_ndjson_are_named_and_left_out(write: Write) -> None:
    good = '{"device":"a","at":"2026-01-01"}'
    path = write(
        "r.jsonl", f'{good}\n[1]\n{{"device":\n{good[:-1]},"x":NaN}}\n'.encode() + b'{"device":"\xff"}\n'
    )
    sent, bad = read(path)
    assert len(sent) == 1
    assert [row.number for row in bad] == [2, 3, 4, 5]


def test_a_cell_beyond_what_csv_readers_take_costs_its_line_only(write: Write) -> None:
    path = write("r.csv", f"device,at\n{'x' * 200_000},2026-01-01\nb,2026-01-01\n")
    sent, bad = read(path)
    assert [m.key for m in sent] == ["b:2026-01-01"]
    assert [row.number for row in bad] == [2]
    assert "field larger than field limit" in bad[0].reason


def test_a_row_too_large_for_the_pipeline_is_named_and_left_out(write: Write) -> None:
    path = write("r.ndjson", f'{{"device":"a","at":"2026-01-01","note":"{"x" * 1_030_000}"}}\n')
    sent, bad = read(path)
    assert sent == []
    assert bad[0].reason.startswith("TOO_LARGE")


def test_columns_that_claim_one_place_are_named(write: Write) -> None:
    path = write("r.csv", "device,at,a,a.b\nx,2026-01-01,1,2\n")
    _, bad = read(path)
    assert bad == [
        BadRow(2, "expected a place of its own in the payload for 'a.b', found it taken; rename it")
    ]


def test_a_mapping_to_columns_that_do_not_exist_says_so(write: Write) -> None:
    _, bad = read(write("r.csv", "id,at\nx,2026-01-01\n"))
    assert bad == [BadRow(2, "'device': expected a value, found no such column")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.xlsx", b"PK", "found .xlsx"),
        ("r.csv", b"", "one distinct name a column"),
        ("r.csv", b"a,a\n1,2\n", "one distinct name a column"),
        ("r.csv", "device,at\nK\xf6ln,2026-01-01\n".encode("latin-1"), "text in UTF-8, found byte 0xf6"),
        ("r.parquet", b"no parquet", "expected a Parquet file"),
        ("r.csv.gz", b"no gzip", "expected a readable file"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(write: Write, name: str, content: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read(write(name, content))


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    for name in ("r.csv", "r.parquet"):
        with pytest.raises(InvalidInput, match="expected a"):
            read(tmp_path / name)


def test_a_mapping_needs_a_key() -> None:
    with pytest.raises(InvalidInput, match="at least one column"):
        ReadingMapping("events", key=(), time="at")


def test_the_same_file_gives_the_same_messages_and_a_changed_row_another_id(write: Write) -> None:
    first, _ = read(write("r.csv", "device,at,v\na,2026-01-01,1\n"))
    again, _ = read(write("again.csv", "device,at,v\na,2026-01-01,1\n"))
    changed, _ = read(write("r.csv", "device,at,v\na,2026-01-01,2\n"))
    assert first == again
    assert changed[0].key == first[0].key
    assert changed[0].message_id != first[0].message_id


@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    deadline=None,
    max_examples=cases(60),
)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(lambda t: "\0" not in t))
def test_any_text_survives(write: Write, text: str) -> None:
    cell = '"' + text.replace('"', '""') + '"'
    sent, bad = read(write("r.csv", f"device,at,v\na,2026-01-01,{cell}\n"))
    assert bad == []
    value = msgspec.json.decode(payload(sent[0]), type=dict[str, msgspec.Raw])["v"]
    raw = bytes(value).decode()
    assert (raw == "null" and text == "") or raw == text or msgspec.json.decode(raw) == text
    assert not {"\ufffe", "\uffff"} & set(sent[0].body)


def test_a_dry_run_shows_columns_events_and_bad_rows(write: Write) -> None:
    path = write(
        "r.csv",
        "device,at,v,n,on,empty,code\n"
        "a,2026-01-01 10:00,1,1.5,true,,7\n"
        "b,2026-01-01 11:00,2,2,false,,x\n"
        ",2026-01-01 12:00,3,3,true,,8\n",
    )
    seen = preview(path, MAPPING, events=1)
    assert [(c.name, c.guess) for c in seen.columns] == [
        ("device", Guess.TEXT),
        ("at", Guess.TIME),
        ("v", Guess.INTEGER),
        ("n", Guess.NUMBER),
        ("on", Guess.TEXT),
        ("empty", Guess.EMPTY),
        ("code", Guess.MIXED),
    ]
    assert (seen.rows, seen.columns[0].filled, seen.columns[0].distinct) == (3, 2, 2)
    assert seen.columns[1].example == '"2026-01-01 10:00"'
    assert [m.key for m in seen.messages] == ["a:2026-01-01 10:00"]
    assert [row.number for row in seen.bad_rows] == [4]


def test_a_dry_run_without_mapping_shows_the_columns_only(write: Write) -> None:
    seen = preview(write("r.ndjson", '{"a":[1],"b":true}\n'))
    assert [(c.name, c.guess) for c in seen.columns] == [("a", Guess.NESTED), ("b", Guess.BOOLEAN)]
    assert seen.messages == ()


def test_only_the_same_file_and_mapping_are_one_source(write: Write, tmp_path: Path) -> None:
    path = write("r.csv", "device,at\na,2026-01-01\n")
    ledger = Ledger(tmp_path / "ledger")
    ledger.begin(MAPPING.source(path))
    ledger.resume(MAPPING.source(path))
    with pytest.raises(InvalidInput, match="unfinished run"):
        ledger.resume(ReadingMapping("weather", key=("device",), time="at").source(path))
    write("r.csv", "device,at\nb,2026-01-01\nc,2026-01-01\n")
    with pytest.raises(InvalidInput, match="unfinished run"):
        ledger.resume(MAPPING.source(path))


def test_a_byte_order_mark_is_no_part_of_the_first_line(write: Write) -> None:
    line = '{"device":"a","at":"2026-01-02T03:04:05Z"}\n'
    for name, content in {"r.ndjson": line, "r.csv": "device,at\na,2026-01-02T03:04:05Z\n"}.items():
        sent, bad = read(write(name, b"\xef\xbb\xbf" + content.encode()))
        assert (len(sent), bad) == (1, [])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_lines_in_another_encoding_are_refused_with_its_name(write: Write, encoding: str) -> None:
    path = write("r.ndjson", '{"device":"a","at":"2026-01-02T03:04:05Z"}\n'.encode(encoding))
    with pytest.raises(InvalidInput, match=f"found the mark of {encoding.upper()}"):
        read(path)


@pytest.mark.parametrize("kind", ["ndjson", "csv", "cells.csv"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_line_without_end_is_one_bad_row_and_takes_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, zipped: bool
) -> None:
    monkeypatch.setattr(rows, "MAX_LINE", 10_000)
    filler = b"a," * 100 if kind == "cells.csv" else b"a" * 200
    good = b'{"device":"b","at":"2026-01-01"}\n' if kind == "ndjson" else b"b,2026-01-01\n"
    path = tmp_path / f"r.{kind}{'.gz' if zipped else ''}"
    with gzip.open(path, "wb") if zipped else path.open("wb") as file:
        file.write(b"" if kind == "ndjson" else b"device,at\n")
        file.write(good)
        file.writelines(filler for _ in range(5_000))  # a megabyte
        file.write(b"\n" + good)
    tracemalloc.start()
    sent, bad = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000
    assert len(sent) == 2
    assert [row.number for row in bad] == ([2] if kind == "ndjson" else [3])
    assert "line" in bad[0].reason
    assert "aaa" not in bad[0].reason


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    table = pa.table({"device": [f"{n}" for n in range(50_000)], "at": ["2026-01-01"] * 50_000})
    pq.write_table(table, path, compression="none", row_group_size=1_000, use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[200_000:300_000] = b"\xff" * 100_000
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"r\.parquet: expected readable rows"):
        read(path)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    column = pa.array(["2026-01-01"])
    pq.write_table(pa.Table.from_arrays([column, column], names=["at", "at"]), path)
    with pytest.raises(InvalidInput, match="found at again"):
        read(path)


def test_whoever_sends_is_told_of_times_that_two_readings_may_share(write: Write) -> None:
    path = write("r.csv", "device,at\na,2026-10-25 02:30\nb,2026-10-25 04:30\nc,2026-10-25T02:30+01:00\n")
    mapping = replace(MAPPING, timezone="Europe/Berlin")
    told: list[int] = []
    assert len(list(messages(path, mapping, fail, lambda row: told.append(row.number)))) == 3
    assert told == [2]
    assert preview(path, mapping).ambiguous_times == 1


def fail(row: BadRow) -> None:
    raise AssertionError(row)
