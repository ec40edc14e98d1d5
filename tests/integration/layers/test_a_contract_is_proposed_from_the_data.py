"""A proposed contract lints, loses nothing of the rows that it was made from, and says its doubts."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.contract.contracts import lint, load_contract
from common.layers.planning import plan
from common.layers.proposing import Proposed, propose
from common.runtime.errors import InvalidInput

from ...support.generated import cases
from ...support.lake import LocalLake, merge_rows

START = datetime(2026, 5, 1, tzinfo=UTC)


class Lake(LocalLake):
    """Curated of one topic, filled column by column."""

    def fill(self, **columns: Sequence[str | None]) -> None:
        rows = len(next(iter(columns.values())))
        moments = pa.array([START + timedelta(seconds=n) for n in range(rows)], pa.timestamp("us", "UTC"))
        keys = [f"k{n}" for n in range(rows)]
        table = {
            "message_id": keys, "idempotency_key": keys, "topic_name": ["t"] * rows,
            "period_reference": ["2026-05"] * rows, "publish_time": moments, "ingestion_ts": moments,
        } | {name: pa.array(texts, pa.string()) for name, texts in columns.items()}  # fmt: skip
        merge_rows(self.catalog, self.identifier("curated"), pa.table(table).to_batches())

    def propose(self) -> Proposed:
        return propose("t", settings=self.settings, catalog=self.catalog)

    def properties(self) -> dict[str, dict[str, Any]]:
        (table,) = yaml.safe_load(self.propose().text)["schema"]
        return {said.get("transformSourceObjects", [said["name"]])[0]: said for said in table["properties"]}

    def lost(self, text: str) -> tuple[int, dict[str, float]]:
        found = plan(load_contract(text, "t"), None, settings=self.settings, catalog=self.catalog)
        return found.refused, found.losses()


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with closing(Lake(tmp_path, layers=("raw", "curated"))) as lake:
        yield lake


def test_every_type_is_the_narrowest_that_reads_all_of_its_texts(lake: Lake) -> None:
    lake.fill(
        whole=["1", "-20", "9223372036854775807"],
        huge=["1", "2", "18446744073709551615"],
        exact=["1", "2.50", "-0.125"],
        wide=["1.5", "2e100", "3"],
        flag=["true", "false", None],
        day=["2026-02-28", "2026-01-01", "2026-12-31"],
        german=["28.02.2026", "01.01.2026", "31.12.2026"],
        moment=["2026-02-28T12:00:00Z", "2026-02-28T12:00:00.5+01:00", None],
        naive=["2026-02-28 12:00:00", "2026-02-28 13:00:00", "2026-02-28 14:00:00"],
        listed=["[1, 2]", "[]", "[3]"],
        code=["007", "8", "9"],
    )
    found = {
        name: (p["logicalType"], p.get("physicalType"), p.get("logicalTypeOptions", {}).get("format"))
        for name, p in lake.properties().items()
    }
    assert found == {
        "whole": ("integer", None, None),
        "huge": ("integer", "decimal(38,0)", None),
        "exact": ("number", "decimal(18,3)", None),
        "wide": ("number", None, None),
        "flag": ("boolean", None, None),
        "day": ("date", None, None),
        "german": ("date", None, "dd.MM.yyyy"),
        "moment": ("timestamp", None, None),
        "naive": ("timestamp", None, "yyyy-MM-dd HH:mm:ss"),
        "listed": ("array", None, None),
        "code": ("string", None, None),
    }
    text = lake.propose().text
    assert lake.lost(text) == (0, {})
    assert "customProperties" not in text, "its tables are partitioned by day"
    assert "# missing in 1 of 3 rows (33.3%)" in text
    assert "# seen: -0.125 to 2.5" in text


def test_a_few_texts_that_occur_often_are_an_enum(lake: Lake) -> None:
    lake.fill(unit=["C", "NO"] * 30, note=[f"n{n}" for n in range(60)])
    found = lake.properties()
    assert [value["value"] for value in found["unit"]["enum"]] == ["C", "NO"]
    assert "enum" not in found["note"]


def test_texts_that_the_type_does_not_read_are_said_by_share_and_shape(lake: Lake) -> None:
    lake.fill(value=["1"] * 299 + ["off-Line7"], mixed=["1", "x"] * 150)
    text = lake.propose().text
    assert "# 1 of 300 values (0.33%) are none and would be null, such as" in text
    assert "aaa-Aaaa9" in text
    assert "off-Line7" not in text
    assert lake.properties()["mixed"]["logicalType"] == "string"
    assert lake.lost(text) == (0, {"value": 1 / 300})


def test_what_most_texts_would_be_read_as_is_said_and_left_to_a_person(lake: Lake) -> None:
    lake.fill(energy=[f"{n}.5" for n in range(290)] + ["n/a"] * 10, mixed=["1", "x"] * 150)
    text = lake.propose().text
    assert lake.properties()["energy"]["logicalType"] == "string"
    assert "# 290 of 300 values (96.67%) would be read as\n" in text
    assert "#   physicalType: decimal(18,1)" in text
    assert "a/a" in text
    assert "n/a" not in text
    assert text.count("would be read as") == 1, "half of the other column's texts are no number"
    assert lake.lost(text) == (0, {})


@pytest.mark.parametrize(
    ("texts", "word"),
    [
        (["1762000000", "1762000061"], "epoch-s"),
        (["1762000000.5", "1762000061"], "epoch-s"),
        (["1762000000000", "1762000061000"], "epoch-ms"),
        (["1762000000000000000", "1762000061000000000"], "epoch-ns"),
        (["12", "1762000061"], ""),
    ],
)
def test_numbers_that_may_be_moments_are_said_to_be(lake: Lake, texts: list[str], word: str) -> None:
    lake.fill(at=texts)
    text = lake.propose().text
    assert lake.properties()["at"]["logicalType"] in ("integer", "number")
    assert text.count("# a moment?") == (1 if word else 0)
    if word:
        assert f"logicalTypeOptions: {{format: {word}}} reads\n" in text
        assert "# 2025-11-01T12:26:40+00:00 to 2025-11-01T12:27:41+00:00" in text


def test_how_much_comes_and_how_exact_it_was_is_said(lake: Lake) -> None:
    lake.fill(price=["1.25", "3"])
    text = lake.propose().text
    assert "# These were published from 2026-05-01 to 2026-05-01, about 2 a day, which makes" in text
    assert "# 730 a year." in text
    assert "# with up to 2 digits after the point; more of them are not read" in text


def test_two_formats_that_read_the_same_are_both_named(lake: Lake) -> None:
    lake.fill(day=["01/02/2026", "03/04/2026"], epoch=["20260101", "20260102"])
    text = lake.propose().text
    assert "# reads as well as logicalType: date, format MM/dd/yyyy" in text
    assert "# reads as well as logicalType: date, format yyyyMMdd" in text


def test_what_looks_personal_is_said_without_a_value_and_not_classified(lake: Lake) -> None:
    lake.fill(
        contact=["eve@x.org", "bob@x.org"] * 30, owner_phone=["1", "2"] * 30, driver__name=["a", "b"] * 30
    )
    proposed = lake.propose()
    assert proposed.text.count("# personal data?") == 3
    assert "eve@" not in proposed.text
    assert all("classification" not in said for said in lake.properties().values())


def test_names_are_short_and_clash_with_nothing(lake: Lake) -> None:
    lake.fill(device__id=["a"], device_id=["b"], message__id=["c"], publish__day=["d"])
    names = {source: said["name"] for source, said in lake.properties().items()}
    assert names == {
        "device__id": "device_id", "device_id": "device_id_2", "message__id": "message__id",
        "publish__day": "publish__day",
    }  # fmt: skip
    assert lake.lost(lake.propose().text) == (0, {})


def test_nothing_is_proposed_from_nothing(lake: Lake) -> None:
    with pytest.raises(InvalidInput, match="expected rows with fields in Curated"):
        lake.propose()


TEXT = st.one_of(
    st.none(),
    st.integers(-(10**40), 10**40).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.sampled_from(
        ["true", "1e5", "", "2026-02-28", "2026-02-28T12:00:00Z", "28.02.2026", "[1]", "{}", "null"]
    ),
    st.text(max_size=5),
)
COLUMN = st.one_of(st.lists(TEXT, min_size=5, max_size=5), TEXT.map(lambda text: [text] * 5))


@settings(
    max_examples=cases(15),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.fixed_dictionaries({f"c{n}": COLUMN for n in range(4)}))
def test_whatever_curated_holds_the_proposal_lints_and_takes_nothing_away(
    tmp_path_factory: pytest.TempPathFactory, columns: dict[str, list[str | None]]
) -> None:
    with closing(Lake(tmp_path_factory.mktemp("lake"), layers=("raw", "curated"))) as lake:
        lake.fill(sure=["1"] * 5, **columns)
        text = lake.propose().text
        assert not [finding for finding in lint(text, "t") if finding.severity == "error"]
        assert lake.lost(text) == (0, {})
