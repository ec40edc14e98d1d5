"""An operator moves a checkpoint or a table back, and the pipeline brings every row forward again."""

import json
import warnings
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest
from click.testing import Result
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.table import Table

from common.lake.checkpoints import NOTHING
from common.runtime.errors import InvalidInput
from lean_ops.environment import audit
from lean_ops.environment.target import Target
from lean_ops.operate import checkpoints, leases, pipeline
from lean_ops.operate.checkpoints import MergedLayer
from lean_ops.simulate.history import History, Scenario

from ..support import tables

LeanOps = Callable[..., Result]
WHY = ("--reason", "a test")


@pytest.fixture(scope="module", autouse=True)
def history(target: Target, send: Callable[..., None]) -> Iterator[None]:
    """Three deliveries with a run after each; at the end no file is missing."""
    for seed in (1, 2, 3):
        hour = Scenario(events=30, days=1 / 24, late_rate=0.0, broken_rate=0.0, violation_rate=0.1, seed=seed)
        send(iter(History(hour)))
        run(target)
    yield
    for layer in ("curated", "semantic", "quarantine"):
        table = load(target, layer)
        assert tables.read(table).equals(tables.rows(table)), layer


def run(target: Target, *, force: bool = False) -> list[str]:
    arn = pipeline.start(target, "events", force=force)
    path = [visit.name for visit in pipeline.follow(target, arn)]
    outcome = pipeline.outcome(target, arn)
    assert outcome.succeeded, outcome
    return path


def load(target: Target, layer: str) -> Table:
    return target.catalog().load_table(target.settings.table(layer, "events"))


def rows(target: Target, layer: str) -> pa.Table:
    """All rows of a layer by key, without the numbers of merges (a quarantined row tells them too)."""
    found = tables.rows(load(target, layer))
    numbers = {"_merge_seq", "_source_merge_seq", "row_json"} & set(found.column_names)
    return found.drop_columns(sorted(numbers))


def merges(target: Target, layer: str) -> list[str]:
    """Snapshot ids of a layer, oldest first."""
    table = load(target, layer)
    return [str(s.snapshot_id) for s in table.snapshots()]


@pytest.fixture(autouse=True)
def done(target: Target) -> Iterator[dict[str, pa.Table]]:
    """The right rows of every layer; whatever a test did, they are there again after a run."""
    right = {layer: rows(target, layer) for layer in ("curated", "semantic", "quarantine")}
    yield right
    run(target)
    for layer, table in right.items():
        assert rows(target, layer).equals(table), layer


def refusal(result: Result) -> str:
    assert isinstance(result.exception, InvalidInput), result
    return str(result.exception)


def test_the_group_alone_shows_where_every_layer_stands(lean_ops: LeanOps) -> None:
    assert lean_ops("checkpoints").output == lean_ops("checkpoints", "show").output
    shown = json.loads(lean_ops("checkpoints", "show", "--json").output)
    assert [(x["layer"], x["snapshots_behind"]) for x in shown["layers"]] == [("curated", 0), ("semantic", 0)]


@pytest.mark.parametrize("layer", ["curated", "semantic"])
def test_a_reset_layer_reads_all_again_and_changes_no_right_row(
    target: Target, lean_ops: LeanOps, layer: str
) -> None:
    before = merges(target, layer)
    result = lean_ops("checkpoints", "reset", layer, *WHY)
    assert result.exit_code == 0, result
    assert checkpoints.read(target, "events", MergedLayer(layer)).counts.token == NOTHING  # type: ignore[union-attr] # recorded
    path = run(target)
    assert ("RunCurationJob" in path, "RunSemanticJob" in path) == (layer == "curated", layer == "semantic")
    assert merges(target, layer) == before
    assert checkpoints.read(target, "events", MergedLayer(layer)).snapshots_behind == 0


def test_a_row_that_was_lost_comes_back_after_a_reset(target: Target, lean_ops: LeanOps) -> None:
    table = target.catalog().load_table(target.settings.table("curated", "events"))
    key = table.scan(selected_fields=("idempotency_key",)).to_arrow()["idempotency_key"][0].as_py()
    for attempt in range(5):  # upkeep comes by once an hour, and may be the first to commit
        with warnings.catch_warnings(action="ignore"):  # pyiceberg says what it does not implement
            try:
                table.refresh().delete(f"idempotency_key = '{key}'")
                break
            except (CommitFailedException, ValidationException):
                assert attempt < 4
    run(target, force=True)
    assert key not in rows(target, "curated")["idempotency_key"].to_pylist()
    assert lean_ops("checkpoints", "reset", "curated", *WHY).exit_code == 0
    run(target)
    assert key in rows(target, "curated")["idempotency_key"].to_pylist()


def test_a_layer_reads_again_from_the_snapshot_it_is_set_to(target: Target, lean_ops: LeanOps) -> None:
    raw = merges(target, "raw")
    assert lean_ops("checkpoints", "set", "curated", "--to", raw[-2], *WHY).exit_code == 0
    found = checkpoints.read(target, "events", MergedLayer.CURATED)
    assert (found.counts.token, found.snapshots_behind) == (raw[-2], 1)  # type: ignore[union-attr] # recorded
    assert "RunCurationJob" in run(target)
    assert "NoNewData" in run(target)


def test_a_snapshot_that_does_not_exist_is_refused_with_the_nearest_that_do(
    target: Target, lean_ops: LeanOps
) -> None:
    raw = merges(target, "raw")
    mistyped = raw[1][:-1] + ("1" if raw[1][-1] != "1" else "2")
    message = refusal(lean_ops("checkpoints", "set", "curated", "--to", mistyped, *WHY))
    assert f"expected snapshot {mistyped}" in message
    assert raw[1] in message
    message = refusal(lean_ops("checkpoints", "set", "semantic", "--to", "17", *WHY))
    assert "nearest are" in message
    assert audit.entries(target)[0].outcome is audit.Outcome.FAILED
    assert leases.read(target, "events").hold == ""


def test_a_checkpoint_is_not_moved_forward_by_hand(target: Target, lean_ops: LeanOps) -> None:
    raw = merges(target, "raw")
    assert lean_ops("checkpoints", "reset", "curated", *WHY).exit_code == 0
    assert "would never be read" in refusal(lean_ops("checkpoints", "set", "curated", "--to", raw[-1], *WHY))


@pytest.mark.parametrize("layer", ["curated", "semantic"])
def test_a_rolled_back_table_is_as_it_was_and_comes_forward_with_the_next_run(
    target: Target, lean_ops: LeanOps, done: dict[str, pa.Table], layer: str
) -> None:
    listed = json.loads(lean_ops("rollback", layer, "--json").output)
    # A commit of older versions alone says nothing of how far the source was read.
    first = [snapshot for snapshot in listed if snapshot["checkpoint"] != "-"][-1]
    assert [s["current"] for s in listed] == [True] + [False] * (len(listed) - 1)
    result = lean_ops("rollback", layer, "--to", first["snapshot_id"], *WHY)
    assert result.exit_code == 0, result
    assert rows(target, layer).num_rows == first["rows"] < done[layer].num_rows
    counts = checkpoints.read(target, "events", MergedLayer(layer)).counts
    assert counts is not None
    assert counts.token == first["checkpoint"]
    run(target)
    assert rows(target, layer).equals(done[layer])


def test_a_rollback_with_hold_waits_until_the_operator_is_done(target: Target, lean_ops: LeanOps) -> None:
    first = json.loads(lean_ops("rollback", "semantic", "--json").output)[-1]
    assert lean_ops("rollback", "semantic", "--to", first["snapshot_id"], "--hold", *WHY).exit_code == 0
    assert run(target)[-1] == pipeline.BUSY
    shown = lean_ops("run").output
    assert "on hold since" in shown
    assert "lean-ops resume --topic events" in shown
    assert rows(target, "semantic").num_rows == first["rows"]
    assert "no longer on hold" in lean_ops("resume").output
    assert "was not on hold" in lean_ops("resume").output
    assert run(target)[-1] == "FullPipelineSuccess"


def test_a_rollback_to_what_is_not_in_the_history_is_refused(target: Target, lean_ops: LeanOps) -> None:
    listed = json.loads(lean_ops("rollback", "curated", "--json").output)
    assert "expected snapshot 17 in its history" in refusal(
        lean_ops("rollback", "curated", "--to", "17", *WHY)
    )
    current = listed[0]["snapshot_id"]
    assert "is current already" in lean_ops("rollback", "curated", "--to", current, *WHY).output
    assert "--reason" in refusal(lean_ops("rollback", "curated", "--to", listed[-1]["snapshot_id"]))
    assert lean_ops("rollback", "raw").exit_code == 2
    assert leases.read(target, "events").hold == ""


def test_a_topic_is_put_on_hold_once_and_says_by_whom(lean_ops: LeanOps) -> None:
    assert lean_ops("pause", "--reason", "INC-1").exit_code == 0
    again = lean_ops("pause", "--reason", "INC-2")
    assert again.exit_code == 0
    assert "INC-1" in again.output
    assert "INC-1" in lean_ops("checkpoints").output
    assert lean_ops("resume").exit_code == 0


def test_every_operation_is_on_record(target: Target) -> None:
    kinds = {entry.operation for entry in audit.entries(target)}
    expected = {"checkpoints.set", "checkpoints.reset", "rollback", "pipeline.pause", "pipeline.resume"}
    assert expected <= kinds
    assert all(e.reason for e in audit.entries(target) if e.operation != "pipeline.resume")
