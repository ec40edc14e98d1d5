"""A rebuilt layer equals the one that the pipeline makes, whatever goes on; only the swap is seen."""

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import islice
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from click.testing import Result
from pyiceberg.types import DecimalType, StringType

from common.lake.closing import CLOSED_BEFORE
from common.runtime.errors import InvalidInput
from lean_ops.accounts.messages import Kind, Message
from lean_ops.environment import audit
from lean_ops.environment.repository import contract_files
from lean_ops.environment.target import Target
from lean_ops.operate import pipeline, rebuild
from lean_ops.operate.checkpoints import MergedLayer
from lean_ops.operate.rebuild import Rebuild, filling, swapping

from ..support.weather import readings

LeanOps = Callable[..., Result]
Send = Callable[[Iterator[Message]], None]
WHY = ("--topic", "weather", "--reason", "a test")


@cache
def sent() -> list[Message]:
    """Not at import: to read the year takes seconds, and every test process imports this file."""
    return list(readings(6, 7, every_days=5))


@pytest.fixture(scope="module", autouse=True)
def history(target: Target, send: Send) -> None:
    """Two deliveries, with a run after each; a third of the readings waits for the tests."""
    for turn in range(2):
        send(iter(sent()[turn::3]))
        run(target)


@pytest.fixture(scope="module")
def late() -> Iterator[Message]:
    """Readings that the tests send."""
    return iter(sent()[2::3])


def run(target: Target) -> list[str]:
    arn = pipeline.start(target, "weather")
    path = [visit.name for visit in pipeline.follow(target, arn)]
    assert pipeline.outcome(target, arn).succeeded
    return path


def table(target: Target, layer: str) -> Any:
    return target.catalog().load_table(target.settings.table(layer, "weather"))


def rows(target: Target, layer: str) -> pa.Table:
    """All rows by key, without the numbers of merges."""
    found: pa.Table = table(target, layer).scan().to_arrow()
    numbers = {"_merge_seq", "_source_merge_seq"} & set(found.column_names)
    return found.drop_columns(sorted(numbers)).sort_by("idempotency_key")


def keys_sent(target: Target) -> int:
    """Keys in RAW, whose rows may be there twice: on a busy machine the queue delivers again."""
    return len(set(rows(target, "raw")["idempotency_key"].to_pylist()))


def rebuilt(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, (result.output, result.exception)
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def begin(target: Target, layer: MergedLayer = MergedLayer.CURATED) -> Rebuild:
    return Rebuild.open(target, "weather", layer, first_day=None)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(target: Target) -> Iterator[None]:
    yield
    left = [rebuild.discard(target, "weather", layer) for layer in MergedLayer]
    assert left == [0, 0]
    listed = target.client("s3").list_objects_v2(Bucket=target.lake_bucket, Prefix="rebuild_")
    assert listed["KeyCount"] == 0


@pytest.mark.parametrize("layer", ["curated", "semantic"])
def test_a_rebuilt_layer_has_the_same_rows_and_every_reader_goes_on(
    target: Target, lean_ops: LeanOps, layer: str
) -> None:
    before, live = rows(target, layer), table(target, layer)
    done = rebuilt(lean_ops("rebuild", "--layer", layer, "--yes", "--json", *WHY))
    found = done["comparison"]
    assert found["live_rows"] == found["rebuilt_rows"] == before.num_rows
    assert (found["only_live"], found["only_rebuilt"], found["different"]) == (0, 0, 0)
    after = table(target, layer)
    assert (after.metadata.table_uuid, after.schema()) == (live.metadata.table_uuid, live.schema())
    assert str(after.current_snapshot().snapshot_id) == done["swapped"]["snapshot_id"]
    assert rows(target, layer).equals(before)
    assert "CatchUpSemantic" in run(target) if layer == "curated" else "NoNewData" in run(target)
    assert rows(target, "semantic").num_rows == before.num_rows
    assert "NoNewData" in run(target)


def test_a_rebuild_mends_rows_that_are_wrong_missing_or_too_many(target: Target, lean_ops: LeanOps) -> None:
    right, live = rows(target, "curated"), table(target, "curated")
    some = live.scan(limit=3).to_arrow().to_pylist()
    with warnings.catch_warnings(action="ignore"):  # pyiceberg says what it does not implement
        live.delete(f"idempotency_key in ('{some[0]['idempotency_key']}', '{some[1]['idempotency_key']}')")
        wrong = [{**some[0], "temperature_f": "-999"}, {**some[2], "idempotency_key": "nobody"}]
        live.append(pa.Table.from_pylist(wrong, schema=live.schema().as_arrow()))
    shown = lean_ops("rebuild", "--layer", "curated", *WHY)
    assert "takes 1 rows away, adds 1 and changes 1 (in temperature_f)" in shown.output
    assert "Nothing was swapped" in shown.output
    assert rows(target, "curated").num_rows == right.num_rows
    done = rebuilt(lean_ops("rebuild", "--layer", "curated", "--yes", "--json", *WHY))
    assert done["comparison"]["different"] == 1
    assert rows(target, "curated").equals(right)
    run(target)


def test_a_run_that_commits_before_the_swap_is_caught_up_with(
    target: Target, send: Send, late: Iterator[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin(target)
    for _ in rebuild.fill(target, begun, "r"):
        pass
    check, calls = swapping._check_partitions, []

    def overtaken(*tables: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            send(islice(late, 20))
            run(target)
        check(*tables)

    monkeypatch.setattr(swapping, "_check_partitions", overtaken)
    done = rebuild.swap(target, begun, "r")
    assert done.attempts == 2
    rebuild.discard(target, "weather", MergedLayer.CURATED)
    assert rows(target, "curated").num_rows == keys_sent(target)
    run(target)
    assert rows(target, "semantic").num_rows == keys_sent(target)


def test_a_rebuild_that_was_killed_leaves_the_live_table_and_goes_on(
    target: Target, lean_ops: LeanOps, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = table(target, "curated").current_snapshot().snapshot_id
    small: dict[str, Any] = {"batch_rows": 30, "batch_bytes": 2**30, "memory_budget_mb": 256}
    whole = filling.job_settings

    def settings(*arguments: Any) -> Any:
        return replace(whole(*arguments), **small)

    monkeypatch.setattr(filling, "job_settings", settings)
    begun = begin(target)
    portions: Any = rebuild.fill(target, begun, "r")  # a generator, closed as a killed process leaves it
    first = next(portion for portion in portions if portion.rows_read)  # after those only counted
    portions.close()
    assert 0 < first.rows_read < rows(target, "raw").num_rows
    assert table(target, "curated").current_snapshot().snapshot_id == before
    monkeypatch.setattr(filling, "job_settings", whole)
    done = rebuilt(lean_ops("rebuild", "--layer", "curated", "--yes", "--json", *WHY))
    counts = audit.entries(target, operation="rebuild")[0].counts
    assert counts["rows_read"] == rows(target, "raw").num_rows - first.rows_read
    assert done["swapped"] is not None
    run(target)


def test_a_rebuild_from_a_day_keeps_what_was_published_before(target: Target, lean_ops: LeanOps) -> None:
    right, live = rows(target, "curated"), table(target, "curated")
    by_time = live.scan().to_arrow().sort_by("publish_time").to_pylist()
    old, new = by_time[0], by_time[-1]
    with warnings.catch_warnings(action="ignore"):
        for row in (old, new):
            live.delete(f"idempotency_key = '{row['idempotency_key']}'")
            row["temperature_f"] = "-999"
        live.append(pa.Table.from_pylist([old, new], schema=live.schema().as_arrow()))
    rebuilt(lean_ops("rebuild", "--layer", "curated", "--from", "2010-07-01", "--yes", "--json", *WHY))
    kept = {row["idempotency_key"]: row["temperature_f"] for row in rows(target, "curated").to_pylist()}
    assert kept[old["idempotency_key"]] == "-999"
    assert kept[new["idempotency_key"]] != "-999"
    assert len(kept) == right.num_rows
    rebuilt(lean_ops("rebuild", "--layer", "curated", "--yes", "--json", *WHY))
    assert rows(target, "curated").equals(right)
    run(target)
    rebuilt(lean_ops("rebuild", "--layer", "semantic", "--from", "2010-07-01", "--yes", "--json", *WHY))
    assert rows(target, "semantic").num_rows == right.num_rows


def test_a_rebuild_is_gone_on_with_only_as_it_was_begun_and_can_be_discarded(
    target: Target, lean_ops: LeanOps
) -> None:
    begun = Rebuild.open(target, "weather", MergedLayer.CURATED, first_day=date(2010, 7, 1))
    # One that has no row yet is begun anew, whatever it was begun for.
    assert any(portion.rows_read for portion in rebuild.fill(target, begun, "r"))
    result = lean_ops("rebuild", "--layer", "curated", *WHY)
    assert isinstance(result.exception, InvalidInput)
    assert "--discard" in str(result.exception)
    assert "is removed" in lean_ops("rebuild", "--layer", "curated", "--discard", *WHY).output
    assert "no rebuild to remove" in lean_ops("rebuild", "--layer", "curated", "--discard", *WHY).output


def test_a_swap_is_undone_by_a_rollback(target: Target, lean_ops: LeanOps) -> None:
    before = rows(target, "curated")
    rebuilt(lean_ops("rebuild", "--layer", "curated", "--yes", "--json", *WHY))
    listed = json.loads(lean_ops("rollback", "curated", "--topic", "weather", "--json").output)
    assert listed[0]["run_id"].startswith("rebuild-")
    result = lean_ops("rollback", "curated", "--to", listed[1]["snapshot_id"], *WHY)
    assert result.exit_code == 0, result.exception
    assert rows(target, "curated").equals(before)
    run(target)


def test_a_rebuild_that_would_lose_what_raw_has_dropped_is_refused_and_says_the_day(
    target: Target, lean_ops: LeanOps
) -> None:
    raw = table(target, "raw")
    found: list[Any] = rows(target, "curated")["publish_time"].to_pylist()
    dropped = datetime.combine(sorted(found)[len(found) // 2], time(), UTC)
    with raw.transaction() as change:
        change.set_properties({CLOSED_BEFORE: dropped.isoformat()})
    before = rows(target, "curated")
    try:
        refused = lean_ops("rebuild", "--layer", "curated", *WHY)
        assert refused.exit_code != 0
        said = " ".join(str(refused.exception or refused.output).split())
        assert f"begin with --from {dropped.date()}" in said
        from_then = ("--from", str(dropped.date()), "--yes", "--json")
        rebuilt(lean_ops("rebuild", "--layer", "curated", *from_then, *WHY))
    finally:
        with table(target, "raw").transaction() as change:
            change.remove_properties(CLOSED_BEFORE)
    assert rows(target, "curated").equals(before)


def test_an_empty_rebuild_is_not_swapped_in(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    before = table(target, "curated").current_snapshot().snapshot_id
    begun = begin(target)
    monkeypatch.setattr(swapping, "fill", lambda *_: iter([filling.Filled(0, 0, None)]))
    with pytest.raises(InvalidInput, match="an empty table is not swapped in"):
        rebuild.swap(target, begun, "r")
    assert table(target, "curated").current_snapshot().snapshot_id == before
    rebuild.discard(target, "weather", MergedLayer.CURATED)


def test_semantic_keeps_a_good_row_whose_correction_is_bad(
    target: Target, lean_ops: LeanOps, send: Send
) -> None:
    good = sent()[0]
    event = json.loads(good.body)
    event["message_id"] = "bad-correction"
    event["publish_time"] = (datetime.fromisoformat(event["publish_time"]) + timedelta(minutes=1)).isoformat()
    event["payload"]["temperature_f"] = "broken"
    bad = msgspec.structs.replace(
        good, body=json.dumps(event), message_id="bad-correction", kind=Kind.CORRECTION
    )
    send(iter([bad]))
    run(target)
    before = rows(target, "semantic")
    assert good.key in before["idempotency_key"].to_pylist()
    assert good.key in rows(target, "quarantine")["idempotency_key"].to_pylist()
    done = rebuilt(lean_ops("rebuild", "--layer", "semantic", "--yes", "--json", *WHY))
    assert done["comparison"]["only_live"] == 0
    assert rows(target, "semantic").equals(before)


def test_a_column_whose_type_cannot_widen_is_replaced_by_a_rebuild(target: Target, lean_ops: LeanOps) -> None:
    s3, key = target.client("s3"), "contracts/weather.yaml"
    text = contract_files()["weather"].read_text()
    other = text.replace("version: 1.0.0", "version: 2.0.0").replace(
        "        physicalType: decimal(5,1)\n", ""
    )
    other = other.replace("logicalType: number", "logicalType: string")
    before = rows(target, "semantic")
    for contract, kind in ((other, StringType()), (text, DecimalType(5, 1))):
        s3.put_object(Bucket=target.lake_bucket, Key=key, Body=contract.encode())
        arn = pipeline.start(target, "weather", force=True)
        list(pipeline.follow(target, arn))
        rebuilt(lean_ops("rebuild", "--layer", "semantic", "--yes", "--json", *WHY))
        found = rows(target, "semantic")
        assert table(target, "semantic").schema().find_type("temperature_f") == kind
        assert "NoNewData" in run(target)
    kept = set(before["idempotency_key"].to_pylist()) - set(found["idempotency_key"].to_pylist())
    assert kept <= {sent()[0].key}, "a row that only the live table has cannot change its type"
