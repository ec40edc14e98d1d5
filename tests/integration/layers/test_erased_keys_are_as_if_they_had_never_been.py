"""After an erasure tables are those of a history without these keys, and no file has a byte of them."""

import random
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.table.snapshots import Snapshot

from common.lake.checkpoints import READ_BEFORE_ERASURE, Entry, SourceCheckpoint, reconcile
from common.lake.history import committed, lineage, since_last_merge
from common.lake.incremental import Bounds, new_appends
from common.lake.merge import SnapshotCommit
from common.lake.specifications import LAYERS
from common.lake.upkeep import Doomed, TableErased, erase, foresee_erasure
from common.layers.curated import Curated
from common.layers.erased import NOTHING_ERASED, Erased, Erasure, Hasher
from common.layers.semantic import Published
from common.layers.upkeep import RULES
from common.runtime.errors import TableMismatch
from observation.arrival import Window, rows

from ...support.generated import cases
from ...support.oracle import Event, single_pass
from ...support.searching import files_with
from ...support.topic import DELETE, TopicLake, event
from .test_semantic_is_a_function_of_the_events import G1, G2, HISTORIES, B, expected

HASHER = Hasher(b"secret", "t")
LONG_AGO, LATER = datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)


class ErasingLake(TopicLake):
    """The tables of a topic, and what is remembered of erasures."""

    erased: Erased = NOTHING_ERASED

    def erase(self, *keys: str, until: datetime = LATER) -> dict[str, TableErased]:
        """Erase keys as the command does: remember, then take them out of table after table."""
        self.erased = Erased(HASHER, [Erasure("e", until, tuple(map(HASHER, keys)))])
        readers = [one for one in (self.raw_read, self.published and self.published.versions) if one]
        return {
            layer: erase(
                self.catalog,
                self.identifier(layer),
                rule,
                Doomed.of_keys(pa.array(keys, pa.string())),
                run_id="erasure",
                readers=readers if layer == "raw" else (),
            )
            for layer, rule in RULES.items()
            if layer in LAYERS
        }

    def run_curation(self, *arguments: Any, **options: Any) -> Curated:
        """As it is run beside a memory of erased keys."""
        return super().run_curation(*arguments, erased=self.erased, **options)

    def run_publication(self, *arguments: Any, **options: Any) -> Published:
        """As it is run beside a memory of erased keys."""
        return super().run_publication(*arguments, erased=self.erased, **options)

    def clear_texts(self, *texts: str) -> dict[Path, list[str]]:
        """Files of the warehouse with one of the texts."""
        return files_with(self.root / "warehouse", *texts)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[ErasingLake]:
    lake = ErasingLake(tmp_path)
    yield lake
    lake.close()


def person(message: str, minute: int, value: object = "Jo Doe of 12 Elm Street") -> Event:
    return event("person-4711", message, minute, value)


OTHERS = [event(f"k{number}", f"m{number}", number, number) for number in range(5)]


def test_no_table_no_snapshot_and_no_byte_has_the_key_or_a_value(lake: ErasingLake) -> None:
    lake.run(person("secret-message-1", 0, 7), *OTHERS[:3])
    lake.run(person("secret-message-2", 1), *OTHERS[3:])
    lake.run(person("secret-message-3", 2, 8))
    lake.compact_raw()
    before = lake.clear_texts("person-4711", "secret-message", "Elm Street")
    assert {"raw_t", "curated_t", "semantic_t", "quarantine_t"} <= {
        p.parts[len(lake.root.parts) + 2] for p in before
    }
    done = lake.erase("person-4711")
    assert lake.clear_texts("person-4711", "secret-message", "Elm Street") == {}
    assert all(erased.snapshot_id and erased.rows and erased.removed for erased in done.values())
    assert {layer: len(lake.table(layer).snapshots()) for layer in LAYERS} == dict.fromkeys(LAYERS, 1)
    assert sorted(row["idempotency_key"] for row in lake.rows("raw")) == [
        e["idempotency_key"] for e in OTHERS
    ]
    assert lake.semantic() == expected(OTHERS, 99)
    assert lake.rows("quarantine") == []


def test_a_second_erasure_finds_nothing_and_commits_nothing(lake: ErasingLake) -> None:
    lake.run(G1, G2, *OTHERS)
    lake.erase("k")
    before = {layer: lake.table(layer).metadata for layer in LAYERS}
    done = lake.erase("k", "nobody")
    assert {layer: lake.table(layer).metadata for layer in LAYERS} == before
    assert all(erased.snapshot_id is None and not erased.removed for erased in done.values())


def test_only_files_that_hold_such_a_row_are_written_again(lake: ErasingLake) -> None:
    for other in OTHERS:
        lake.append([other])
    lake.append([G1, OTHERS[0]])
    lake.settle()
    showing = foresee_erasure(lake.table("raw"), Doomed.of_keys(pa.array(["k"])))
    assert (showing.rows, len(showing.live), showing.past) == (1, 1, frozenset())
    before = {task.file.file_path for task in lake.table("raw").scan().plan_files()}
    done = lake.erase("k")["raw"]
    after = {task.file.file_path for task in lake.table("raw").scan().plan_files()}
    assert (done.rows, done.files_rewritten, len(before - after), len(after - before)) == (1, 1, 1, 1)


def test_a_row_that_a_merge_took_away_is_erased_from_the_files_that_still_hold_it(lake: ErasingLake) -> None:
    lake.run(event("k", "first-secret", 0, 1), *OTHERS)
    lake.run(event("k", "d", 5, DELETE))
    assert lake.clear_texts("first-secret")
    lake.erase("k")
    assert lake.clear_texts("first-secret") == {}


def test_a_key_that_only_an_old_snapshot_shows_goes_with_that_snapshot(lake: ErasingLake) -> None:
    lake.merge([_curated("k", 1), _curated("other", 1)])
    lake.merge([_curated("k", 2)])
    with warnings.catch_warnings(action="ignore"):  # pyiceberg says what it does not implement
        lake.table("curated").delete("idempotency_key == 'k'")
    assert foresee_erasure(lake.table("curated"), Doomed.of_keys(pa.array(["k"]))).past
    lake.erase("k")
    assert lake.clear_texts("secret-of-k") == {}
    assert [row["idempotency_key"] for row in lake.rows("curated")] == ["other"]


def _curated(key: str, minute: int) -> dict[str, Any]:
    published = datetime(2026, 5, 1, 0, minute, tzinfo=UTC)
    return {
        "idempotency_key": key, "message_id": f"secret-of-{key}", "topic_name": "t",
        "period_reference": "2026-05", "publish_time": published, "ingestion_ts": published,
    }  # fmt: skip


def test_a_reader_goes_on_with_what_is_younger_and_reads_nothing_else_again(lake: ErasingLake) -> None:
    lake.run(G1, *OTHERS[:2])
    lake.append([OTHERS[2]])
    since = lake.raw_read
    lake.erase("k")
    assert since is not None and lake.table("raw").snapshot_by_id(since.snapshot_id) is None
    assert READ_BEFORE_ERASURE in lake.table("raw").properties
    lake.append([OTHERS[3]])
    portion = new_appends(lake.table("raw"), since, Bounds(10**9, 10**12))
    assert (portion.rows, portion.backlog_rows, portion.fallback) == (2, 0, None)
    first = new_appends(lake.table("raw"), since, Bounds(1, 10**12))
    assert (first.rows, first.backlog_rows) == (1, 1)
    assert first.checkpoint is not None and "~" in first.checkpoint.token
    again = SourceCheckpoint.parse(first.checkpoint.token, first.checkpoint.position)
    assert again == first.checkpoint
    second = new_appends(lake.table("raw"), again, Bounds(10**9, 10**12))
    assert (second.rows, second.backlog_rows) == (1, 0)
    lake.settle()
    assert lake.semantic() == expected(OTHERS[:4], 99)


def test_a_checkpoint_of_a_table_of_the_same_name_before_is_not_noted(lake: ErasingLake) -> None:
    lake.run(G1)
    lake.raw_read, lake.published = SourceCheckpoint(4711, 1), None
    lake.erase("k")
    assert READ_BEFORE_ERASURE not in lake.table("raw").properties


def test_the_tables_own_checkpoint_survives(lake: ErasingLake) -> None:
    lake.run(G1, B, *OTHERS)
    before = {layer: committed(lake.table(layer)) for layer in ("curated", "semantic")}
    lake.erase("k")
    for layer, entry in before.items():
        after = committed(lake.table(layer))
        assert entry is not None and after is not None
        assert (after.token, after.position) == (entry.token, entry.position)


def test_a_record_that_spoke_of_a_forgotten_snapshot_still_speaks_of_the_newest_merge(
    lake: ErasingLake,
) -> None:
    """So that a checkpoint which an operator set back stays set back."""
    lake.run(G1, *OTHERS)
    current = lake.table("curated").current_snapshot()
    assert current is not None
    rewound = Entry("none", "000000000000000.000000", str(current.snapshot_id), rewound=True)
    for keys in (("k",), ("k0", "k1")):
        lake.erase(*keys)
        curated = lake.table("curated")
        assert curated.snapshot_by_id(current.snapshot_id) is None
        assert reconcile(committed(curated), rewound, since_last_merge(lineage(curated))) == rewound
    lake.run(event("new", "n", 9, 1))
    curated = lake.table("curated")
    assert reconcile(committed(curated), rewound, since_last_merge(lineage(curated))) == committed(curated)


def test_erased_rows_are_not_counted_as_missing(lake: ErasingLake) -> None:
    minute = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=2)
    recent = [
        {**one, "ingestion_ts": minute + timedelta(seconds=n)} for n, one in enumerate([G1, G2, *OTHERS])
    ]
    lake.run(*recent)
    window = Window(minute - timedelta(minutes=5), minute + timedelta(minutes=55))
    assert rows(lake.table("raw"), window) == 7
    lake.erase("k")
    lake.append([{**B, "ingestion_ts": minute}])
    lake.erase("k", "k0")
    assert len(lake.rows("raw")) == 4
    assert rows(lake.table("raw"), window) == 8
    assert rows(lake.table("raw"), Window(minute + timedelta(minutes=1), minute + timedelta(minutes=61))) == 0


def test_a_delivery_that_comes_first_stays_but_for_the_key(
    lake: ErasingLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.run(event("k", "early-secret", 0, 1), *OTHERS[:2])
    arriving = [[OTHERS[2], event("k", "arriving-secret", 1, 1)]]
    stage = SnapshotCommit.stage

    def after_a_delivery(commit: SnapshotCommit) -> Snapshot:
        if arriving and commit._table.name()[-1] == "raw_t":
            lake.append(arriving.pop())
        return stage(commit)

    monkeypatch.setattr(SnapshotCommit, "stage", after_a_delivery)
    assert lake.erase("k")["raw"].rows == 2
    assert [row["idempotency_key"] for row in lake.rows("raw")] == ["k0", "k1", "k2"]
    assert lake.clear_texts("early-secret", "arriving-secret") == {}
    lake.settle()
    assert lake.semantic() == expected(OTHERS[:3], 99)


def test_a_tag_that_keeps_old_snapshots_is_named_before_anything_is_done(lake: ErasingLake) -> None:
    lake.run(G1)
    raw = lake.table("raw")
    current = raw.current_snapshot()
    assert current is not None
    raw.manage_snapshots().create_tag(current.snapshot_id, "audit-2026").commit()
    before = lake.table("raw").metadata
    with pytest.raises(TableMismatch, match="audit-2026"):
        lake.erase("k")
    assert lake.table("raw").metadata == before


@pytest.mark.parametrize("lost", ["nothing", "checkpoint"])
def test_a_late_event_and_a_replay_bring_nothing_back(lake: ErasingLake, lost: str) -> None:
    lake.run(G1, *OTHERS)
    lake.erase("k")
    lake.append([G1, event("k", "came-later", 4, 1)])
    if lost == "checkpoint":
        lake.raw_read = lake.published = None
    done = lake.run_curation(lake.raw_read)
    assert done.erased == 2
    lake.settle()
    assert lake.semantic() == expected(OTHERS, 99)
    assert all("raw_t" in str(path) for path in lake.clear_texts("came-later"))
    erase(
        lake.catalog, lake.identifier("raw"), RULES["raw"], Doomed(lake.erased.among), run_id="late",
        readers=[lake.raw_read] if lake.raw_read else [],
    )  # fmt: skip
    assert lake.clear_texts("came-later") == {}


def test_what_is_published_after_the_erasure_is_a_new_life_of_the_key(lake: ErasingLake) -> None:
    until = G1["publish_time"] + timedelta(minutes=1)
    lake.run(G1, *OTHERS)
    lake.erase("k", until=until)
    lake.run(replace_time(G1, until), G2, B)
    assert lake.semantic() == expected([*OTHERS, G2, B], 99)


def replace_time(one: Event, moment: datetime) -> Event:
    return {**one, "publish_time": moment}


@settings(
    max_examples=cases(4),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(history=HISTORIES, keys=st.sets(st.integers(0, 8), max_size=4), data=st.data())
def test_any_history_ends_as_one_without_these_keys(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[tuple[int, int, int, object]],
    keys: set[int],
    data: st.DataObject,
) -> None:
    content: dict[tuple[int, int, int], object] = {}
    events = [
        event(f"k{key}", f"m{message}", minute, content.setdefault((message, key, minute), value), second)
        for second, (message, key, minute, value) in enumerate(history)
    ]
    gone = {f"k{key}" for key in keys}
    draw = random.Random(data.draw(st.integers(0, 2**16), label="order"))
    shuffled = draw.sample(events, len(events))
    erase_at = draw.randrange(len(events) + 1)
    lake = ErasingLake(tmp_path_factory.mktemp("lake"))
    while shuffled or erase_at >= 0:
        size = draw.randint(1, max(1, len(shuffled)))
        if shuffled:
            lake.append(shuffled[:size])
        shuffled = shuffled[size:]
        erase_at -= size
        if erase_at < 0 and not lake.erased:
            lake.erase(*sorted(gone))
            erase_at = -1
        if draw.random() < 0.7:
            lake.curate(draw.choice([1, 3, 10**9]))
        if draw.random() < 0.6:
            lake.publish(draw.choice([1, 3, 10**9]), lost=draw.random() < 0.3)
        if draw.random() < 0.1:
            lake.raw_read = None
        if draw.random() < 0.2:
            lake.compact_raw()
        if not gone:
            erase_at = min(erase_at, -1 if not shuffled else erase_at)
    lake.settle(draw.choice([1, 4, 10**9]))
    kept = [e for e in events if e["idempotency_key"] not in gone]
    assert lake.semantic() == expected(kept, 99)
    curated = {key: row["message_id"] for key, row in lake.by_key("curated").items()}
    assert curated == {key: e["message_id"] for key, e in single_pass(kept).items()}
    lake.close()
