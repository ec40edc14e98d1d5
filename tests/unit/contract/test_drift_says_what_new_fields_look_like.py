"""An entry about a new column shows the shape of a value, never the value, and the change of the contract."""

import json

import pyarrow as pa

from common.contract.drift import missing_contract, new_column
from common.payload.columns import Columns
from common.payload.flattening import flatten_rows


def raw(*payloads: object) -> pa.RecordBatch:
    texts = [None if payload is None else json.dumps(payload) for payload in payloads]
    return pa.record_batch(
        {"idempotency_key": ["k"] * len(texts), "json_payload": pa.array(texts, pa.string())}
    )


def test_a_new_column_has_the_first_of_its_texts_as_a_sample() -> None:
    columns = Columns(owners={"known": None})
    rows = [{"known": 1}, {"mail": "ada@example.org", "known": 2}, {"mail": "x" * 1000}]
    assert sum(batch.num_rows for batch in flatten_rows([raw(*rows), raw({"late": "7"})], columns)) == 4
    assert columns.samples == {"mail": "ada@example.org", "late": "7"}
    long = Columns()
    list(flatten_rows([raw(*({"a": "x" * 1000} for _ in range(40)))], long))
    assert long.samples == {"a": "x" * 100}


def test_columns_of_parts_keep_their_samples_together() -> None:
    parts = [Columns(), Columns()]
    for part, payload in zip(parts, ({"a": "1"}, {"b": "2"}), strict=True):
        list(flatten_rows([raw(payload)], part))
    assert Columns().put_together(parts).samples == {"a": "1", "b": "2"}


def test_the_entry_shows_a_shape_and_the_command_that_takes_the_field_in() -> None:
    detail = new_column("events", "mail", "run-1", "ada@example.org").detail
    assert "such as aaa@aaaaaaa.aaa; `lean-ops contract promote mail --topic events`" in detail
    assert "ada" not in detail
    assert "such as" not in new_column("events", "mail", "run-1").detail
    assert "`lean-ops contract init --topic events`" in missing_contract("events", "r").detail
