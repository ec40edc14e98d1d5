"""Generated histories on real Iceberg tables, against one pass over all events in plain Python."""

import shutil

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def single_pass(events):
    """The oracle: first copy of every message, then the greatest of every key."""
    first = {}
    for event in events:
        name = (event["idempotency_key"], event["message_id"])
        if name not in first or event["ingestion_ts"] < first[name]["ingestion_ts"]:
            first[name] = event
    best = {}
    for event in first.values():
        kept = best.setdefault(event["idempotency_key"], event)
        if order(event) > order(kept):
            best[event["idempotency_key"]] = event
    return best


def order(event):
    return event["publish_time"], event["ingestion_ts"], event["message_id"]


def visible(row):
    return row["idempotency_key"], row["message_id"], row["publish_time"], row["ingestion_ts"], row["leaf"]


@st.composite
def batches_of_events(draw):
    """(key, message, publish hour, ingestion second): corrections move between days and months, and tie."""
    keys = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=12))
    events = [
        (key, f"m{number}", publish, draw(st.integers(0, 5)))
        for number, key in enumerate(keys)
        for publish in [draw(st.sampled_from([0, 1, 30, 24 * 20]))]
        for _ in range(draw(st.integers(1, 3)))
    ]
    events = draw(st.permutations(events))
    cuts = sorted(draw(st.sets(st.integers(1, len(events)), max_size=3)))
    batches = [events[a:b] for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    return [*batches, *draw(st.lists(st.sampled_from(batches), max_size=1))]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=batches_of_events(), budget=st.sampled_from([0, 256]))
def test_any_split_order_and_replay_gives_the_rows_of_a_single_pass(lake_factory, batches, budget):
    lake = lake_factory()
    seen = []

    def history(keys, publish_times):
        wanted = set(zip(keys.to_pylist(), publish_times.to_pylist(), strict=True))
        found = [e for e in seen if (e["idempotency_key"], e["publish_time"]) in wanted]
        return pa.Table.from_batches(lake.reader(found), lake.reader(found).schema)

    for batch in batches:
        events = [lake.event(k, m, publish=p, ingestion=i, leaf=f"{k}-{m}") for k, m, p, i in batch]
        seen += events
        lake.merge(events, history=history, memory_budget_mb=budget)
    expected = single_pass(seen)
    assert [visible(r) for r in lake.rows()] == [visible(expected[k]) for k in sorted(expected)]
    assert [visible(r) for r in lake.duckdb_rows()] == [visible(expected[k]) for k in sorted(expected)]
    shutil.rmtree(lake.root)
