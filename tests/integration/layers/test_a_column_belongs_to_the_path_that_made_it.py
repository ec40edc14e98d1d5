"""Two paths of a payload that are spelled alike as columns never share one, whatever comes first.

``NO₂`` and ``NO₃`` would both be the column ``no_``: one of them owns it, which the column's comment says,
and the other is in ``_rescued``. Runs, replays, rebuilds and runs at the same time keep to that.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.types import LongType, StringType

from common.lake.checkpoints import SourceCheckpoint
from common.lake.incremental import Bounds, new_appends
from common.lake.merge import merge
from common.lake.specifications import TableSpec
from common.layers import curated as job
from common.payload.columns import DEFAULT_LIMITS, Columns, Limits, path_note
from common.payload.rescued import Rescued, Why
from common.runtime.errors import CommitConflict, InvalidInput
from lean_ops.environment.repository import TABLE_SPECIFICATIONS

from ...support.generated import cases
from ...support.lake import LocalLake, merge_rows

START = datetime(2026, 5, 31, 22, tzinfo=UTC)
Event = dict[str, Any]


class Lake(LocalLake):
    """RAW and Curated, and what runs told of columns."""

    def __init__(self, root: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(root, ["raw", "curated"])
        self.limits = limits
        self.found: list[tuple[dict[str, str], list[Rescued]]] = []
        self.renamed: dict[str, str] = {}

    def deliver(self, *events: Event) -> None:
        self.append(events)

    def run(
        self,
        since: SourceCheckpoint | None = None,
        rows: int = 10**9,
        contracted: frozenset[str] = frozenset(),
    ) -> job.Curated:
        def record(columns: Columns) -> None:
            self.found.append((dict(columns.new), list(columns.rescued)))
            self.renamed |= columns.renamed

        return self.run_curation(
            since, rows, record_columns=record, contracted=contracted, limits=self.limits
        )

    def owners(self) -> dict[str, str | None]:
        own = {field.name for field in TableSpec.load(TABLE_SPECIFICATIONS, "curated").schema.fields}
        return {
            field.name: field.doc for field in self.table("curated").schema().fields if field.name not in own
        }

    def payloads(self) -> dict[str, Event]:
        """By key, what the row has of its payload."""
        names = [*self.owners(), "_rescued"]
        return {
            key: {n: row[n] for n in names if row[n] is not None}
            for key, row in self.by_key("curated").items()
        }


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with closing(Lake(tmp_path)) as lake:
        yield lake


def event(number: int, payload: object, minute: int = 0) -> Event:
    published = START + timedelta(minutes=minute)
    return {
        "message_id": f"m{number:04}-{minute}",
        "idempotency_key": f"k{number}",
        "topic_name": "t",
        "period_reference": published.strftime("%Y-%m"),
        "correlation_id": None,
        "publish_time": published,
        "ingestion_ts": START + timedelta(days=1, seconds=number),
        "json_payload": payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False),
    }


def test_the_path_that_made_a_column_keeps_it(lake: Lake) -> None:
    lake.deliver(event(1, {"NO₃": 3}))
    since = lake.run().checkpoint
    lake.deliver(event(2, {"NO₂": 2, "NO₃": 33}), event(3, {"NO₂": 22}), event(4, {"no_": 4}))
    lake.run(since)
    assert lake.owners() == {"no_": path_note(("NO₃",))}
    assert lake.payloads() == {
        "k1": {"no_": "3"},
        "k2": {"no_": "33", "_rescued": '{"/NO₂":2}'},
        "k3": {"_rescued": '{"/NO₂":22}'},
        "k4": {"_rescued": '{"/no_":4}'},
    }
    assert lake.found[1:] == [({}, [Rescued(Why.OTHER_PATH, "no_")])]


def test_a_new_column_goes_to_the_path_of_its_spelling_or_to_the_most_used_whatever_comes_first(
    tmp_path: Path,
) -> None:
    payloads: list[Event] = [{"A.B": 1}, {"a b": 2, "C d": 1}, {"a_b": 3}, {"A.B": 4, "c.D": 2}, {"c.D": 3}]
    seen = []
    for turn in range(len(payloads)):
        (folder := tmp_path / str(turn)).mkdir()
        lake = Lake(folder)
        order = payloads[turn:] + payloads[:turn]
        lake.deliver(*(event(payloads.index(p), p) for p in order))
        lake.run()
        seen.append((lake.owners(), lake.payloads()))
        lake.close()
    assert seen[0][0] == {"a_b": path_note(("a_b",)), "c_d": path_note(("c.D",))}
    assert all(other == seen[0] for other in seen)


def test_a_column_from_before_owners_were_written_down_gets_one_in_the_commit_that_uses_it(
    lake: Lake,
) -> None:
    with lake.table("curated").update_schema() as update:
        update.add_column("no_", StringType())
        update.add_column("idle", StringType(), doc="a comment of somebody")
    lake.deliver(event(1, {"NO₂": 1}), event(2, {"NO₃": 1}), event(3, {"NO₃": 2}))
    lake.run()
    assert lake.owners() == {"no_": path_note(("NO₃",)), "idle": "a comment of somebody"}
    assert lake.payloads()["k1"] == {"_rescued": '{"/NO₂":1}'}
    assert lake.found == [({}, [Rescued(Why.OTHER_PATH, "no_")])]


def test_a_column_made_by_hand_is_left_alone(lake: Lake) -> None:
    with lake.table("curated").update_schema() as update:
        update.add_column("score", LongType())
        update.add_column("Level", StringType())
    lake.deliver(event(1, {"score": "high", "level": 3, "other": 1}))
    lake.run()
    assert lake.payloads() == {"k1": {"other": "1", "_rescued": '{"/level":3,"/score":"high"}'}}


def test_a_column_that_somebody_renamed_is_noticed_and_its_values_are_kept(lake: Lake) -> None:
    lake.deliver(event(1, {"a/b": {"c~d": 1}, "e": "x"}))
    since = lake.run().checkpoint
    assert lake.renamed == {}
    with lake.table("curated").update_schema() as update:
        update.rename_column("a_b__c_d", "better")
        update.update_column("e", doc='Payload path "broken')
    lake.deliver(event(2, {"a/b": {"c~d": 2}, "better": 3}))
    lake.run(since)
    assert lake.renamed == {"better": "a_b__c_d"}
    assert lake.payloads() == {
        "k1": {"better": "1", "e": "x"},
        "k2": {"a_b__c_d": "2", "_rescued": '{"/better":3}'},
    }


def test_a_run_that_found_another_owner_than_a_run_beside_it_starts_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.deliver(event(1, {"NO₂": 2}))

    def overtaken(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(job, "merge", merge)
        lake.deliver(event(2, {"NO₃": 3}), event(3, {"NO₃": 3}))
        lake.run()  # reads both events, and gives the column to the other path
        return merge(*arguments, **options)

    monkeypatch.setattr(job, "merge", overtaken)
    with pytest.raises(CommitConflict, match="run it again"):
        lake.run()
    lake.run()
    assert lake.owners() == {"no_": path_note(("NO₃",))}
    assert lake.payloads()["k1"] == {"_rescued": '{"/NO₂":2}'}


def test_columns_of_the_contract_are_admitted_when_stray_keys_have_filled_the_table(tmp_path: Path) -> None:
    lake = Lake(tmp_path, Limits(columns=4))
    lake.deliver(*(event(n, {f"stray{n}": n}) for n in range(5)))
    since = lake.run().checkpoint
    assert Rescued(Why.COLUMN_LIMIT) in lake.found[-1][1]
    lake.deliver(event(7, {"temperature": 21, "stray9": 1}))
    done = lake.run(since, contracted=frozenset({"temperature"}))
    assert lake.payloads()["k7"] == {"temperature": "21", "_rescued": '{"/stray9":1}'}
    assert done.columns_full
    assert lake.found[-1] == ({"temperature": path_note(("temperature",))}, [Rescued(Why.COLUMN_LIMIT)])
    lake.close()


def test_the_most_used_leaves_of_a_portion_are_admitted_first(tmp_path: Path) -> None:
    lake = Lake(tmp_path, Limits(columns=2))
    lake.deliver(*(event(n, {f"stray{n}": n, "b": 1} | ({"a": 1} if n > 2 else {})) for n in range(9)))
    lake.run()
    assert lake.owners().keys() == {"a", "b"}
    lake.close()


def test_leaves_named_like_partition_fields_have_no_column(lake: Lake) -> None:
    lake.deliver(event(1, {"publish_day": 1, "Key-Bucket": 2, "publish.month": 3, "period": {"": 1}}))
    lake.run()
    assert lake.payloads() == {
        "k1": {"period__": "1", "_rescued": '{"/Key-Bucket":2,"/publish.month":3,"/publish_day":1}'}
    }
    assert set(lake.found[0][1]) == {
        Rescued(Why.RESERVED_NAME, name) for name in ("publish_day", "key_bucket", "publish_month")
    }


def test_the_merge_engine_refuses_a_new_column_that_is_named_like_a_partition_field(lake: Lake) -> None:
    rows = pa.table({**{k: [v] for k, v in event(1, {}).items() if k != "json_payload"}, "key_bucket": ["x"]})
    with pytest.raises(InvalidInput, match="partition fields, found 'key_bucket'"):
        texts = [f.with_type(pa.string()) if pa.types.is_null(f.type) else f for f in rows.schema]
        merge_rows(lake.catalog, "lake.curated_t", rows.cast(pa.schema(texts)).to_batches())


def test_a_column_that_only_the_look_up_of_ties_brings_is_told_of(lake: Lake) -> None:
    def message(name: str, second: int, payload: Event) -> Event:
        return event(1, payload) | {"message_id": name, "ingestion_ts": START + timedelta(seconds=second)}

    lake.deliver(message("c", 3, {"only_here": 1}))
    passed_by = new_appends(lake.table("raw"), None, Bounds(1, 1)).checkpoint
    lake.deliver(message("b", 5, {"a": 2}))
    since = lake.run(passed_by).checkpoint
    assert lake.payloads() == {"k1": {"a": "2"}}
    # A copy that was ingested earlier makes b the older of the two: c, which was never merged, wins.
    lake.deliver(message("b", 0, {"a": 2}))
    lake.run(since)
    assert lake.payloads() == {"k1": {"only_here": "1"}}
    assert lake.found[-1] == ({"only_here": path_note(("only_here",))}, [])
    assert lake.owners()["only_here"] == path_note(("only_here",))


# ---- generated

NAMES = st.sampled_from(["NO₂", "NO₃", "no_", "a.b", "a b", "A_B", "a_b", "c", "publish_day", "_x", "d"])
PAYLOADS = st.dictionaries(
    NAMES | st.just("a"), st.integers(0, 9) | st.fixed_dictionaries({"b": st.just(1)}), max_size=4
)


@settings(
    max_examples=cases(12),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    payloads=st.lists(PAYLOADS, min_size=1, max_size=8),
    cuts=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    columns=st.integers(1, 6),
    contracted=st.frozensets(st.sampled_from(["a_b", "c", "no_"])),
)
def test_every_value_is_under_the_path_that_owns_its_column(
    tmp_path_factory: pytest.TempPathFactory,
    payloads: list[Event],
    cuts: list[int],
    columns: int,
    contracted: frozenset[str],
) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"), Limits(columns=columns))
    since = None
    waiting = [event(number, payload) for number, payload in enumerate(payloads)]
    for cut in [*cuts, len(payloads)]:
        if waiting[:cut]:
            lake.deliver(*waiting[:cut])
        waiting = waiting[cut:]
        if lake.table("raw").current_snapshot():
            since = lake.run(since, contracted=contracted).checkpoint
    owners = lake.owners()
    notes = {name: note for name, note in owners.items() if note}
    assert notes.keys() == owners.keys()
    assert len(owners.keys() - contracted) <= columns
    told = {name for new, _ in lake.found for name in new}
    assert told == owners.keys()
    before = lake.payloads()
    for number, payload in enumerate(payloads):
        expected, rescued = {}, {}
        for path, value in paths_of(payload):
            owned = [name for name, note in notes.items() if note == path_note(path)]
            if owned:
                expected[owned[0]] = str(value)
            else:
                rescued["/" + "/".join(path)] = value
        found = dict(before[f"k{number}"])
        # A path that came to own a column later is in `_rescued` of the rows from before.
        for pointer, value in json.loads(found.pop("_rescued", "{}")).items():
            name = next(
                (n for n, note in notes.items() if note == path_note(tuple(pointer[1:].split("/")))), ""
            )
            assert rescued.pop(pointer, None) == value or expected.pop(name, None) == str(value)
        assert not rescued
        assert found == expected
    lake.run(None, contracted=contracted)
    assert lake.payloads() == before
    lake.close()


def paths_of(payload: Event) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in payload.items():
        if isinstance(value, dict):
            yield from (((key, *path), inner) for path, inner in paths_of(value))
        else:
            yield (key,), value
