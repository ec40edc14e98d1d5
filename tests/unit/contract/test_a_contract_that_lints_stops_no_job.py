"""Generated contracts and generated rows: the linter has an answer to all, and what it passes can be cast.

Options and values are drawn from all that the standard has, sound or absurd, so that many contracts are
refused; those that pass meet rows of texts that devices send and that nobody would send.
"""

import string
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.contract.casting import cast_rows
from common.contract.changes import review
from common.contract.column_comments import LONGEST_BYTES
from common.contract.contracts import lint, load_contract
from common.contract.properties import ENVELOPE_MOMENTS, ENVELOPE_TEXTS, LOGICAL_TYPES, OPTIONS

from ...support.generated import cases

EXAMPLES = cases(100)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PAYLOAD = ("a", "b__c", "publish_day")
SOURCES = (*ENVELOPE_TEXTS, *ENVELOPE_MOMENTS, *PAYLOAD, "json_payload", "_merge_seq", "absent")
NUMBERS = st.one_of(
    st.integers(-5, 300),
    st.sampled_from(
        [10**23, -(10**400), 2**63, -(2**31), 1e308, -0.0, 0.1, 1e-320, float("nan"), float("inf")]
    ),
)
MOMENTS = st.sampled_from(
    ["2026-01-01", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "2020-01-01T00:00:00Z", "soon",
     "2020-01-01T00:00:00", "0001-01-01", "9999-12-31"]
)  # fmt: skip
FORMATS = st.one_of(
    st.sampled_from(
        ["i8", "i32", "u8", "u32", "u64", "f64", "yyyy-MM-dd", "dd.MM.yyyy HH:mm", "yyyyMMddHHmmss.SSSXXX",
         "yyyy-MM-dd'T'HH:mm:ssXXX", "yyyy-MM-dd[ HH:mm]", "'{'yyyy'}'MM''dd", "#yyyy-MM-dd"]
    ),
    st.text(alphabet="yMdHmsSX'[]{}#-: \n\\", max_size=12),
)  # fmt: skip
ANYTHING = st.one_of(NUMBERS, MOMENTS, FORMATS, st.none(), st.booleans())
VALUES = {
    "format": FORMATS,
    "pattern": st.sampled_from(["^a", "(?=a)", "[", "", "\\d+", "é"]),
    "minLength": NUMBERS,
    "maxLength": NUMBERS,
}
PII = [{"property": "piiTreatment", "value": treatment} for treatment in ("hash", "mask", "drop")]


PHYSICAL = {
    "integer": ["int", "long", "decimal(38,0)"],
    "number": ["double", "decimal(5,2)", "decimal(38,38)"],
}
LISTED = {
    "string": st.sampled_from(["a", "", "-0", "é", "1.10"]),
    "integer": st.one_of(st.integers(-2, 300), st.sampled_from([-0.0, 1.5, 2**70])),
    "number": NUMBERS,
}


@st.composite
def properties(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Mostly what the kind of property can have; one in ten of anything is absurd."""
    absurd = st.sampled_from([False] * 9 + [True])
    kind = draw(st.sampled_from(LOGICAL_TYPES))
    likely = {"date": MOMENTS, "timestamp": MOMENTS}.get(kind, NUMBERS)
    names = list(OPTIONS[kind]) or (["format"] if draw(absurd) else [])
    chosen = draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) if names else []
    of: dict[str, Any] = {
        "name": draw(st.sampled_from(["publish_day", "publish_time"])) if draw(absurd) else name,
        "logicalType": kind,
        "required": draw(st.booleans()),
        "criticalDataElement": draw(st.booleans()),
    }
    if chosen:
        of["logicalTypeOptions"] = {
            option: draw(ANYTHING if draw(absurd) else VALUES.get(option, likely)) for option in chosen
        }
    if draw(st.booleans()):
        of["transformSourceObjects"] = [draw(st.sampled_from(SOURCES))]
    if "format" not in chosen and kind in PHYSICAL and draw(st.booleans()):
        of["physicalType"] = draw(st.sampled_from(PHYSICAL[kind]))
    if kind in LISTED and draw(st.booleans()):
        listed = draw(st.lists(LISTED[kind], min_size=1, max_size=3, unique_by=str))
        of["enum"] = [{"value": value} for value in listed]
    if draw(st.integers(0, 2)) == 0:
        of |= {"classification": "PII", "customProperties": [draw(st.sampled_from(PII))]}
    if draw(st.booleans()):
        of["description"] = draw(st.sampled_from(["d", "word " * 90, "two\nlines\n", "é" * 300, "\t", " "]))
    return of


@st.composite
def contract_texts(draw: st.DrawFn, version: str = "1.0.0") -> str:
    listed = [draw(properties(name)) for name in draw(st.sampled_from([["p"], ["p"], ["p", "q"]]))]
    document = {
        "apiVersion": "v3.2.0", "kind": "DataContract", "id": "x", "version": version,
        "schema": [{"name": "t", "properties": listed}],
    }  # fmt: skip
    return yaml.safe_dump(document, allow_unicode=True)


TEXTS = st.one_of(
    st.none(),
    st.sampled_from(
        ["", "-0", "0.0", "1e400", "-1E-400", "1" * 60, "1.10", "true", "[]", "{}", "[1", "2026-02-30",
         "0000-01-01",
         "9999-12-31T23:59:59-01:00", "2026-01-01T00:00:00Z", "31.12.9999 23:59", "\x00", "٣", "NaN",
         "[" * 5_000]
    ),
    st.text(alphabet=string.printable + "é€😀", max_size=8),
)  # fmt: skip


@st.composite
def curated_rows(draw: st.DrawFn) -> pa.Table:
    count = draw(st.integers(0, 6))
    texts = st.lists(TEXTS, min_size=count, max_size=count)
    columns: dict[str, Any] = {
        name: pa.array(draw(texts), pa.string()) for name in (*ENVELOPE_TEXTS, "_rescued", *PAYLOAD)
    }
    for name in ENVELOPE_MOMENTS:
        columns[name] = pa.array([NOON] * count, pa.timestamp("us", tz="UTC"))
    columns["_merge_seq"] = pa.array(range(count), pa.int64())
    return pa.table(columns)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(contract_texts(), curated_rows())
def test_what_the_linter_passes_is_cast_whatever_the_rows_hold(text: str, rows: pa.Table) -> None:
    if any(finding.severity == "error" for finding in lint(text, "t")):
        return
    contract = load_contract(text, "t")
    found = cast_rows(rows, contract, b"key")
    assert found.good.num_rows + found.rejected.num_rows == rows.num_rows
    assert found.good.to_pylist() is not None  # every value has a Python form: no year 10000
    for column in contract.semantic_columns():
        assert len((column.doc or "").encode()) <= LONGEST_BYTES
        assert (column.doc or "").isprintable()


@settings(max_examples=EXAMPLES // 2, deadline=None, suppress_health_check=list(HealthCheck))
@given(contract_texts(), contract_texts("2.0.0"))
def test_two_contracts_that_lint_can_be_compared(old: str, new: str) -> None:
    if not any(finding.severity == "error" for finding in lint(old, "t")):
        assert isinstance(review(new, "t", old), list)


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(
    st.recursive(
        st.sampled_from(
            ["2026-02-30", "0001-01-01 00:00:00+01:00", "!!int x", "!!float x", "!!bool x", "!!timestamp x",
             "!!binary é", "0x" + "f" * 5_000, "-1e999", "1" * 5_000, "!!set {a}", "[1, a]", "{1: 2, b: 3}",
             "~", "name", "v3.2.0", "DataContract", "1.0.0", "t", "1.0", "!!omap [a]", "!!pairs [a]",
             "? [a]\n: b", "&a b", "*a", "!x y"]
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
            st.dictionaries(
                st.sampled_from(["schema", "kind", "name", "properties", "version", "enum"]),
                inner,
                max_size=3,
            ).map(lambda items: "{" + ", ".join(f"{k}: {v}" for k, v in items.items()) + "}"),
        ),
        max_leaves=6,
    ),
    st.sampled_from(["id", "version", "schema", "kind", "status", "customProperties", "tags"]),
)  # fmt: skip
def test_the_linter_has_an_answer_to_any_text(value: str, key: str) -> None:
    head = "apiVersion: v3.2.0\nkind: DataContract\nid: x\nversion: 1.0.0\n"
    for text in (
        value,
        f"{key}: {value}\n",
        f"{head}{key}s: {value}\n",
        f"{head}schema: [{{name: t, properties: {value}}}]",
    ):
        assert isinstance(lint(text, "t"), list)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"transformSourceObjects": ["publish_time"], "logicalType": "integer"}, "a moment of the envelope"),
        (
            {
                "transformSourceObjects": ["ingestion_ts"],
                "logicalType": "date",
                "logicalTypeOptions": {"format": "yyyy-MM-dd"},
            },
            "with a format",
        ),
        ({"name": "publish_day"}, "partition fields"),
        ({"name": "key_bucket"}, "partition fields"),
        ({"transformSourceObjects": ["json_payload"]}, "reserved name"),
        ({"transformSourceObjects": ["publish_day"]}, "reserved name"),
        *(
            (
                {
                    "transformSourceObjects": [source],
                    "classification": "PII",
                    "customProperties": [treatment],
                },
                "in clear",
            )
            for source in ("idempotency_key", "message_id", "correlation_id", "publish_time")
            for treatment in PII
        ),
        ({"logicalTypeOptions": {"maxLength": 10**23}}, "at most 2147483647"),
        ({"logicalTypeOptions": {"minLength": 4, "maxLength": 3}}, "minLength up to maxLength"),
        ({"logicalType": "integer", "logicalTypeOptions": {"minimum": -(10**400)}}, "a double holds"),
        ({"logicalType": "integer", "logicalTypeOptions": {"minimum": 1.2, "maximum": 1.8}}, "no value"),
        (
            {"logicalType": "integer", "logicalTypeOptions": {"exclusiveMinimum": 1, "exclusiveMaximum": 2}},
            "no value",
        ),
        ({"logicalType": "integer", "logicalTypeOptions": {"format": "u8", "minimum": 256}}, "no value"),
        ({"logicalType": "number", "logicalTypeOptions": {"minimum": 2, "maximum": 1}}, "no value"),
        ({"logicalType": "number", "logicalTypeOptions": {"minimum": 1, "exclusiveMaximum": 1}}, "no value"),
        ({"logicalType": "date", "logicalTypeOptions": {"exclusiveMinimum": "9999-12-31"}}, "no value"),
        (
            {"logicalType": "timestamp", "logicalTypeOptions": {"minimum": "0001-01-01T00:00:00+01:00"}},
            "years 1 to 9999",
        ),
        ({"logicalType": "integer", "enum": [{"value": 1.5}]}, "no value"),
        ({"enum": [{"value": "ab"}], "logicalTypeOptions": {"maxLength": 1}}, "no value"),
        ({"logicalType": "date", "logicalTypeOptions": {"format": "yyyy-MM-dd[ HH]"}}, "in quotes"),
        ({"logicalType": "date", "logicalTypeOptions": {"format": "yyyy#MM#dd"}}, "in quotes"),
    ],
)  # fmt: skip
def test_what_would_stop_every_run_or_promise_nothing_is_refused(
    fields: dict[str, Any], message: str
) -> None:
    document = {
        "apiVersion": "v3.2.0", "kind": "DataContract", "id": "x", "version": "1.0.0",
        "schema": [{"name": "t", "properties": [{"name": "a", "logicalType": "string"} | fields]}],
    }  # fmt: skip
    errors = [finding for finding in lint(yaml.safe_dump(document), "t") if finding.severity == "error"]
    assert [message in finding.message for finding in errors] == [True], errors
    assert errors[0].where == f"property {fields.get('name', 'a')}"
