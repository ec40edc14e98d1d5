"""Whatever row makes the work on rows fail: it is set aside, its neighbours are worked on, in order."""

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from common.contract import casting
from common.contract.casting import UNPROCESSABLE, WHOLE_ROW, cast_or_set_aside
from common.contract.contracts import Contract, load_contract
from common.lake.setting_aside import by_halves, most_of
from common.runtime.errors import CommitConflict, InternalFault, LeanOpsError, ServiceFailure, TableMismatch

from ...support.generated import cases

CANARY = "c4n4ry"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def rows(count: int) -> pa.Table:
    return pa.table({"n": pa.array(range(count), pa.int64())})


@settings(max_examples=cases(60), deadline=None)
@given(
    st.integers(0, 70).flatmap(
        lambda count: st.tuples(st.just(count), st.sets(st.integers(0, max(0, count - 1))))
    )
)
def test_the_rows_that_fail_are_set_aside_and_all_others_are_worked_on_in_order(
    drawn: tuple[int, set[int]],
) -> None:
    count, poison = drawn
    poison &= set(range(count))
    calls = []

    def work(part: pa.Table) -> list[int]:
        calls.append(part.num_rows)
        found: list[Any] = part["n"].to_pylist()
        if poison & set(found):
            raise ValueError(f"cannot take {CANARY}")
        return found

    outcomes, aside = by_halves(rows(count), work, "testing")
    assert [n for outcome in outcomes for n in outcome] == [n for n in range(count) if n not in poison]
    assert [row.row["n"].to_pylist() for row in aside] == [[n] for n in sorted(poison)]
    assert all("found ValueError at" in row.found and CANARY not in row.found for row in aside)
    # Each failing row costs two parts a halving at most, beside the first try and the one without rows.
    assert len(calls) <= 2 + 2 * len(poison) * (count.bit_length() + 1)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError("disk"), ServiceFailure),
        (CommitConflict("other"), CommitConflict),
        (TableMismatch("column"), TableMismatch),
    ],
)
def test_what_no_row_causes_rises(error: Exception, raised: type[LeanOpsError]) -> None:
    def work(part: pa.Table) -> None:
        if part.num_rows:
            raise error

    with pytest.raises(raised):
        by_halves(rows(9), work, "testing")


def test_what_happens_without_any_row_rises() -> None:
    def work(_part: pa.Table) -> None:
        raise ValueError(CANARY)

    with pytest.raises(InternalFault, match=r"^testing: expected it to succeed, found ValueError") as raised:
        by_halves(rows(9), work, "testing")
    assert CANARY not in str(raised.value)


def test_a_fault_of_the_code_is_not_hidden_by_setting_a_topic_aside() -> None:
    def work(part: pa.Table) -> None:
        if part.num_rows:
            raise ValueError

    assert len(by_halves(rows(100), work, "testing")[1]) == most_of(100) == 100
    with pytest.raises(InternalFault):
        by_halves(rows(101), work, "testing")


def test_one_device_cannot_stop_a_busy_topic() -> None:
    def work(part: pa.Table) -> int:
        if pc.any(pc.less(part["n"], pa.scalar(400))).as_py():
            raise ValueError
        return part.num_rows

    outcomes, aside = by_halves(rows(2_000), work, "testing")
    assert (sum(outcomes), len(aside)) == (1_600, 400)
    with pytest.raises(InternalFault):
        by_halves(rows(1_999), work, "testing")


def contract() -> Contract:
    listed: list[dict[str, Any]] = [
        {"name": "a", "logicalType": "integer"},
        {
            "name": "mail",
            "logicalType": "string",
            "classification": "PII",
            "customProperties": [{"property": "piiTreatment", "value": "mask"}],
        },
    ]
    document = {
        "apiVersion": "v3.2.0", "kind": "DataContract", "id": "x", "version": "1.0.0",
        "schema": [{"name": "t", "properties": listed}],
    }  # fmt: skip
    return load_contract(yaml.safe_dump(document), "t")


@pytest.mark.parametrize("json_fails", [False, True])
def test_a_row_that_cannot_be_typed_goes_to_quarantine_and_its_neighbours_to_semantic(
    monkeypatch: pytest.MonkeyPatch, json_fails: bool
) -> None:
    honest = vars(casting)["read_texts"]

    def read(texts: Any, *of: Any) -> Any:
        if pc.any(pc.equal(texts, pa.scalar("poison"))).as_py():
            raise ArithmeticError(f"nobody thought of {CANARY}")
        return honest(texts, *of)

    def fail(*_of: Any) -> Any:
        raise TypeError(CANARY)

    monkeypatch.setattr(casting, "read_texts", read)
    if json_fails:
        monkeypatch.setattr(casting, "_rows_as_json", fail)
    texts = ["1", "poison", "3", None, "x"]
    names = pa.array([f"k{n}" for n in range(len(texts))])
    moments = pa.array([NOON] * len(texts), pa.timestamp("us", tz="UTC"))
    envelope = ("message_id", "idempotency_key", "topic_name", "period_reference", "correlation_id")
    curated = pa.table(
        dict.fromkeys(envelope, names)
        | {"publish_time": moments, "ingestion_ts": moments, "_merge_seq": pa.array(range(len(texts)))}
        | {"a": pa.array(texts), "mail": pa.array([CANARY] * len(texts))}
    )
    found = cast_or_set_aside(curated, contract(), b"key")
    assert found.good["a"].to_pylist() == [1, 3, None, None]
    assert found.nulled == {("a", "type"): 1}
    assert found.set_aside == 1
    (row,) = found.rejected.to_pylist()
    (reason,) = json.loads(row["reasons"])
    assert (row["idempotency_key"], row["_source_merge_seq"]) == ("k1", 1)
    assert (reason["column"], reason["rule"]) == (WHOLE_ROW, UNPROCESSABLE)
    assert "ArithmeticError at" in reason["found"]
    assert CANARY not in str(row)
    assert ("poison" in row["row_json"]) != json_fails
