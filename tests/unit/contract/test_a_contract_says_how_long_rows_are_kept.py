"""What ``slaProperties: retention`` may say, and what is refused with a sentence."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from common.contract.changes import review
from common.contract.contracts import lint, load_contract
from common.contract.retention import FOR_GOOD, LONGEST_DAYS, REPLAY_DAYS
from common.lake.specifications import LAYERS
from common.runtime.errors import ContractError

ALL = dict.fromkeys(LAYERS, 400)


def text(*entries: dict[str, Any], late: str | None = None, version: str = "1.0.0", **head: Any) -> str:
    document: dict[str, Any] = {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": "x",
        "version": version,
        "schema": [
            {
                "name": "t",
                "properties": [{"name": "a", "logicalType": "string", "description": "a text"}],
            }
        ],
        "slaProperties": list(entries),
        **head,
    }
    if late is not None:
        document["customProperties"] = [{"property": "lateEvents", "value": late}]
    return yaml.safe_dump(document)


def kept(value: Any = 400, unit: Any = "d", element: str | None = None, **more: Any) -> dict[str, Any]:
    named = {} if element is None else {"element": element}
    return {"property": "retention", "value": value, "unit": unit, **named, **more}


def errors(found: str) -> str:
    return "; ".join(f"{one.where}: {one.message}" for one in lint(found, "t") if one.severity == "error")


def warnings(found: str) -> str:
    return "; ".join(f"{one.where}: {one.message}" for one in lint(found, "t") if one.severity == "warning")


def test_a_contract_that_says_nothing_keeps_rows_for_good() -> None:
    assert load_contract(text(), "t").retention == FOR_GOOD


def test_an_entry_without_an_element_is_for_all_tables() -> None:
    assert load_contract(text(kept()), "t").retention.days == ALL


def test_entries_name_their_tables() -> None:
    found = load_contract(
        text(
            kept(element="raw_t"),
            kept(3, "y", "curated_t.publish_time, quarantine_t"),
            kept(2, "years", "semantic_t"),
        ),
        "t",
    )
    assert found.retention.days == {"raw": 400, "curated": 1095, "quarantine": 1095, "semantic": 730}


def test_the_default_element_of_a_contract_counts() -> None:
    assert load_contract(text(kept(), slaDefaultElement="raw_t"), "t").retention.days == {"raw": 400}


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ((kept(14),), f"expected more than {REPLAY_DAYS} days and at most {LONGEST_DAYS}, found 14"),
        ((kept(101, "y"),), f"at most {LONGEST_DAYS}, found 36865"),
        ((kept(0),), "expected a value that is a whole number above 0, found 0"),
        ((kept(-30),), "whole number above 0"),
        ((kept(30.5),), "whole number above 0, found 30.5"),
        ((kept("30"),), "whole number above 0, found '30'"),
        ((kept(value=True),), "whole number above 0"),
        (({"property": "retention", "unit": "d"},), "whole number above 0, found None"),
        ((kept(unit="m"),), "expected a unit of d, day, days, y, yr, year, years, found 'm'"),
        ((kept(unit=None),), "expected a unit of"),
        ((kept(element="t"),), "name tables of raw_t, curated_t, semantic_t, quarantine_t"),
        ((kept(element="semantic_u"),), "found 'semantic_u'"),
        ((kept(element="semantic_t.ingestion_ts"),), "found 'semantic_t.ingestion_ts'"),
        ((kept(element=" , "),), "expected element to name tables"),
        ((kept(), kept(30, element="raw_t")), "entry 2 (retention): expected each table once, found raw_t"),
        ((kept(element="raw_t,raw_t"),), "expected each table once"),
        ((kept(element="curated_t"),), "semantic_t to keep rows for at most the 400 days of curated_t"),
        ((kept(element="quarantine_t"),), "400 days of quarantine_t, which it is made from, found for good"),
        ((kept(element="curated_t"), kept(500, element="semantic_t")), "found for 500 days"),
        ((kept(schedule="0 20 * * *"),), "found schedule, which nothing reads"),
        ((kept(valueExt=3),), "found valueExt"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused_with_a_sentence(
    entries: tuple[dict[str, Any], ...], sentence: str
) -> None:
    assert sentence in errors(text(*entries))
    with pytest.raises(ContractError, match="slaProperties"):
        load_contract(text(*entries), "t")


def test_what_deserves_a_second_look_is_a_warning() -> None:
    found = warnings(text(kept(30, element="raw_t"), kept(element="curated_t,semantic_t")))
    assert (
        "raw_t keeps rows for 30 days: what the archive of dead letters holds for longer (until 104 days"
        in found
    )
    assert "a rebuild has to begin with --from" in found
    assert "quarantine_t: nothing said, so that rows are kept for good" in found
    assert warnings(text(kept())) == ""


def test_other_service_levels_are_said_not_to_be_enforced() -> None:
    found = warnings(text({"property": "frequency", "value": 1, "unit": "d"}))
    assert "slaProperties, frequency: documented to readers, not enforced by the pipeline" in found


def test_a_custom_property_that_nothing_reads_is_said() -> None:
    custom = [{"property": "lateEvent", "value": "refused"}]
    assert "customProperties, lateEvent: documented" in warnings(text(kept(), customProperties=custom))


def test_late_events_are_kept_in_raw_or_refused() -> None:
    assert not load_contract(text(kept()), "t").retention.refuses_late
    assert not load_contract(text(kept(), late="kept"), "t").retention.refuses_late
    assert load_contract(text(kept(), late="refused"), "t").retention.refuses_late
    assert "lateEvents: expected kept or refused, once, found ['lost']" in errors(text(kept(), late="lost"))
    assert "expected a retention of curated_t" in errors(text(late="refused"))


def test_keeping_rows_for_less_time_needs_a_major_version() -> None:
    def found(before: str, after: str) -> list[str]:
        return [str(finding) for finding in review(after, "t", before) if finding.severity == "error"]

    assert found(text(), text(kept(), version="1.1.0")) == [
        f"error: retention of {layer}_t: rows were kept for good and are kept for 400 days; "
        "this needs version 2.0.0"
        for layer in LAYERS
    ]
    assert not found(text(), text(kept(), version="2.0.0"))
    assert not found(text(kept()), text(kept(500), version="1.1.0"))
    assert "comes back with a rebuild" in str(review(text(kept(500), version="1.1.0"), "t", text(kept())))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10**9) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=3,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"property": st.just("retention") | JSON},
            optional={
                "value": st.integers(0, 2000) | JSON,
                "unit": st.sampled_from(["d", "y"]) | JSON,
                "element": st.sampled_from([f"{layer}_t" for layer in LAYERS]) | JSON,
            },
        ),
        max_size=4,
    )
)
def test_any_entry_is_read_or_refused_and_what_is_read_can_be_kept(entries: list[dict[str, Any]]) -> None:
    try:
        found = load_contract(text(*entries), "t").retention
    except ContractError:
        return
    assert all(REPLAY_DAYS < days <= LONGEST_DAYS for days in found.days.values())
    for layer in ("curated", "quarantine"):
        if layer in found.days:
            assert found.days["semantic"] <= found.days[layer]
