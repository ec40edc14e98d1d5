"""After the contract was mended, the rows it refused reach Semantic: those that are still current, once."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from common.contract.contracts import Contract
from common.lake.checkpoints import SourceCheckpoint
from common.lake.specifications import LAYERS
from common.layers.rejudging import Appeal, Verdicts, judge_again
from common.runtime.errors import InvalidInput

from ...support.contracts import up_to
from ...support.lake import LocalLake

PERIOD = "2026-05"
START = datetime(2026, 5, 1, tzinfo=UTC)
DECIMAL = "decimal(10,2)"
WRONG = up_to(10, physical=DECIMAL)
MENDED = up_to(100, "1.1.0", DECIMAL)


class Lake(LocalLake):
    """Curated, Semantic and Quarantine of one topic."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, contract=WRONG)
        self.checkpoint: SourceCheckpoint | None = None

    def curate(self, rows: Mapping[str, str], version: int = 1, period: str = PERIOD) -> None:
        """Merge key → value into Curated; a greater version is a correction, days later."""
        self.merge(
            [
                {
                    "message_id": f"{key}-{version}",
                    "idempotency_key": key,
                    "topic_name": "t",
                    "period_reference": period,
                    "publish_time": START + timedelta(days=version),
                    "ingestion_ts": START + timedelta(days=version),
                    "value": value,
                }
                for key, value in rows.items()
            ]
        )

    def publish(self, under: Contract = WRONG) -> None:
        self.checkpoint = self.run_publication(under, self.checkpoint).checkpoint

    def judge_again(self, under: Contract = MENDED, period: str = PERIOD, **appeal: Any) -> Verdicts:
        return judge_again(
            under,
            Appeal(period, **appeal),
            "op",
            settings=self.settings,
            catalog=self.catalog,
            pii_key=b"key",
            record_replaced=lambda _columns: None,
        )

    def values(self) -> dict[str, Decimal]:
        return {key: row["value"] for key, row in self.by_key("semantic").items()}

    def snapshots(self) -> list[int]:
        return [len(self.table(layer).snapshots()) for layer in LAYERS]


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with closing(Lake(tmp_path)) as lake:
        yield lake


def test_rows_that_the_mended_contract_accepts_reach_semantic_and_the_others_stay(lake: Lake) -> None:
    lake.curate({"a": "1", "b": "50", "c": "5000", "d": "x"})
    lake.publish()
    assert lake.values() == {"a": 1}
    done = lake.judge_again()
    assert lake.values() == {"a": 1, "b": 50}
    assert (done.waiting, done.accepted, done.changed, done.refused) == (3, 1, 1, 2)
    assert done.reasons == {"value:maximum": 2, "value:type": 1}
    assert done.still == {"value:maximum": 1, "value:type": 1}


def test_without_the_appeal_a_mended_contract_changes_nothing(lake: Lake) -> None:
    lake.curate({"a": "50"})
    lake.publish()
    lake.publish(MENDED)
    assert lake.values() == {}


def test_judging_again_twice_changes_no_row_and_makes_no_commit(lake: Lake) -> None:
    lake.curate({"a": "50", "b": "5000"})
    lake.publish()
    lake.judge_again()
    before = lake.snapshots()
    again = lake.judge_again()
    assert (again.waiting, again.settled, again.changed, again.refused) == (1, 1, 0, 1)
    assert lake.snapshots() == before
    assert lake.values() == {"a": 50}


def test_a_row_that_was_corrected_meanwhile_is_left_to_its_correction(lake: Lake) -> None:
    lake.curate({"a": "50", "b": "60"})
    lake.publish()
    lake.curate({"a": "7"}, version=2)
    done = lake.judge_again()
    assert (done.waiting, done.superseded) == (1, 1)
    assert lake.values() == {"b": 60}
    lake.publish(MENDED)
    assert lake.values() == {"a": 7, "b": 60}


def test_a_good_older_version_gives_way_to_the_bad_correction_that_became_good(lake: Lake) -> None:
    lake.curate({"a": "1"})
    lake.publish()
    lake.curate({"a": "50"}, version=2)
    lake.publish()
    assert lake.values() == {"a": 1}
    lake.judge_again()
    assert lake.values() == {"a": 50}


def test_the_checkpoint_of_semantic_does_not_move(lake: Lake) -> None:
    lake.curate({"a": "50"})
    lake.publish()
    lake.curate({"b": "2"}, version=2)
    lake.judge_again()
    assert lake.values() == {"a": 50}
    lake.publish(MENDED)
    assert lake.values() == {"a": 50, "b": 2}


def test_columns_that_the_mended_contract_adds_are_there(lake: Lake) -> None:
    lake.curate({"a": "50"})
    lake.publish()
    extra = """\
      - name: extra
        description: New
        logicalType: string
        transformSourceObjects: [value]
"""
    lake.judge_again(up_to(100, "1.1.0", DECIMAL, extra))
    (row,) = lake.table("semantic").scan().to_arrow().to_pylist()
    assert (row["extra"], row["_contract_version"]) == ("50", "1.1.0")


def test_a_dry_run_counts_and_names_rows_without_their_values(lake: Lake) -> None:
    lake.curate({"a": "5077", "b": "50"})
    lake.publish()
    before = lake.snapshots()
    done = lake.judge_again(dry_run=True, samples=1)
    assert (done.waiting, done.accepted, lake.snapshots()) == (2, 0, before)
    assert done.oldest == done.newest == START + timedelta(days=1)
    assert len(done.samples) == 1
    assert "5077" not in str(done.as_json())


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"ids": frozenset({"b-1"})}, {"b"}),
        ({"ids": frozenset({"a", "c"})}, {"a", "c"}),
        ({"reasons": frozenset({"value:maximum"})}, {"a", "b", "c", "e"}),
        ({"reasons": frozenset({"other:maximum"})}, set()),
        ({"since": START + timedelta(days=2)}, {"c", "e"}),
        ({"until": START + timedelta(days=2)}, {"a", "b"}),
    ],
)
def test_only_selected_rows_are_judged(lake: Lake, filters: dict[str, Any], expected: set[str]) -> None:
    lake.curate({"a": "50", "b": "60"})
    lake.curate({"c": "70", "e": "80"}, version=2)
    lake.publish()
    lake.judge_again(**filters)
    assert lake.values().keys() == expected


def test_other_periods_are_left_alone(lake: Lake) -> None:
    lake.curate({"a": "50"})
    lake.curate({"b": "60"}, period="2026-04")
    lake.publish()
    lake.judge_again(period="2026-04")
    assert lake.values() == {"b": 60}
    assert lake.judge_again(period="2020-01").waiting == 0


@pytest.mark.parametrize(
    "event", [{}, {"period": "2026"}, {"period": "x' or 1==1"}, {"period": "2026-05", "since": "soon"}]
)
def test_an_appeal_that_cannot_be_read_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="quarantine: expected"):
        Appeal.from_event(event)
