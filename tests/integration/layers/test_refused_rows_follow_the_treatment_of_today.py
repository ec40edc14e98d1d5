"""What a contract makes personal stands nowhere in Quarantine as it stood before, whatever came before it."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.contract.casting import MASK
from common.contract.contracts import Contract, load_contract
from common.layers.retreating import Treatment, foresee_retreat, retreat

from ...support.generated import cases
from ...support.lake import LocalLake

START: Final = datetime(2026, 5, 1, tzinfo=UTC)
KEY: Final = b"key"
HASH_LIKE: Final = "0f" * 32
OWNERS: Final = ("Ada Lovelace", "Grace Hopper", HASH_LIKE, "مريم", "***", "")


def contract(version: int, treatment: str | None) -> Contract:
    """``owner`` treated so; ``value`` is refused above 10."""
    personal = (
        "        classification: PII\n        customProperties:\n"
        f"          - property: piiTreatment\n            value: {treatment}\n"
        if treatment
        else ""
    )
    return load_contract(
        f"apiVersion: v3.2.0\nkind: DataContract\nid: t\nversion: {version}.0.0\nstatus: active\nschema:\n"
        "  - name: t\n    properties:\n"
        "      - name: value\n        description: A value\n        logicalType: integer\n"
        "        transformSourceObjects: [value]\n        criticalDataElement: true\n"
        "        logicalTypeOptions: {maximum: 10}\n"
        "      - name: owner\n        description: Whose it is\n        logicalType: string\n"
        f"        transformSourceObjects: [owner]\n{personal}",
        "t",
    )


class Lake(LocalLake):
    """Curated, Semantic and Quarantine of one topic."""

    def refuse(self, number: int, owner: str, under: Contract, since: Any) -> Any:
        """One more row that the contract refuses; gives how far Curated is read."""
        self.merge(
            [
                {
                    "message_id": f"m{number}",
                    "idempotency_key": f"k{number}",
                    "topic_name": "t",
                    "period_reference": "2026-05",
                    "publish_time": START + timedelta(hours=number),
                    "ingestion_ts": START + timedelta(hours=number),
                    "value": "11",
                    "owner": owner,
                    "owner__second": owner,
                    "_rescued": json.dumps({"Owner": owner}),
                }
            ]
        )
        return self.run_publication(under, since).checkpoint

    def shown(self) -> dict[str, dict[str, Any]]:
        return {key: json.loads(row["row_json"]) for key, row in self.by_key("quarantine").items()}


@pytest.fixture
def lakes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Lake]:
    return lambda: Lake(tmp_path_factory.mktemp("lake"), contract=contract(1, None))


def data_files(lake: Lake) -> set[Path]:
    folder = Path(lake.table("quarantine").location().removeprefix("file://")) / "data"
    return set(folder.rglob("*.parquet"))


@settings(max_examples=cases(6), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([None, "hash", "mask", "drop"]),
            st.lists(st.sampled_from(OWNERS), max_size=2),
            st.booleans(),
        ),
        min_size=2,
        max_size=4,
    )
)
def test_after_any_sequence_of_contracts_the_last_one_holds(lakes: Callable[[], Lake], steps: Any) -> None:
    """Some of the contracts before are not known any more, as where Terraform put them in place."""
    lake, since, number = lakes(), None, 0
    earlier: dict[str, Contract] = {}
    clear: dict[str, str] = {}
    for version, (treatment, owners, known) in enumerate(steps, start=1):
        now = contract(version, treatment)
        for owner in owners:
            since = lake.refuse(number, owner, now, since)
            clear[f"k{number}"] = owner
            number += 1
        treat = Treatment(now, earlier, KEY)
        before = lake.shown()
        retreat(lake.catalog, lake.settings, "t", treat, "op")
        after = lake.shown()
        assert before.keys() == after.keys() == clear.keys(), "no row is lost"
        for key, row in after.items():
            for column in ("owner", "owner__second"):
                said = row.get(column)
                if treatment is None:
                    assert said == before[key].get(column), "nothing is made less strict"
                elif treatment == "drop":
                    assert said is None
                elif treatment == "mask":
                    assert said in (MASK, None)
                else:
                    assert said in (None, MASK) or (len(said) == len(HASH_LIKE) and said != clear[key])
            if treatment is not None:
                assert row["_rescued"] == MASK
            assert row["value"] == "11"
        again = retreat(lake.catalog, lake.settings, "t", treat, "op")
        assert again.snapshot_id is None, "done again it changes nothing"
        assert not foresee_retreat(lake.catalog, lake.settings, "t", treat).anywhere
        if known:
            earlier[now.version] = now
    shutil.rmtree(Path(lake.table("quarantine").location().removeprefix("file://")).parent)


def test_no_file_and_no_snapshot_shows_what_stood_before(lakes: Callable[[], Lake]) -> None:
    lake = lakes()
    since = lake.refuse(0, "Ada Lovelace", contract(1, None), None)
    lake.refuse(1, "Grace Hopper", contract(1, None), since)
    files = data_files(lake)
    treat = Treatment(contract(2, "hash"), {"1.0.0": contract(1, None)}, KEY)
    assert foresee_retreat(lake.catalog, lake.settings, "t", treat).rows == 2
    done = retreat(lake.catalog, lake.settings, "t", treat, "op")
    assert done.rows == 2
    assert not files & data_files(lake)
    assert len(lake.table("quarantine").snapshots()) == 1
    shown = lake.shown()
    assert {len(row["owner"]) for row in shown.values()} == {64}
    assert shown["k0"]["owner"] != shown["k1"]["owner"]
    # Written under the contract of now, the row has the same hash: rows can still be held against each other.
    lake.refuse(2, "Ada Lovelace", contract(2, "hash"), since)
    shown = lake.shown()
    assert shown["k2"]["owner"] == shown["k0"]["owner"]


def test_a_text_like_a_hash_is_masked_where_nobody_knows_what_it_is(lakes: Callable[[], Lake]) -> None:
    lake = lakes()
    lake.refuse(0, HASH_LIKE, contract(1, None), None)
    retreat(lake.catalog, lake.settings, "t", Treatment(contract(2, "hash"), {}, KEY), "op")
    assert lake.shown()["k0"]["owner"] == MASK
