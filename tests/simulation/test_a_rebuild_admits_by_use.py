"""A rebuild of Curated gives columns to the leaves that are used most, whoever filled the table before."""

import json
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType

from common.lake import views
from common.layers.curated import curate
from common.payload.columns import DEFAULT_LIMITS, Limits, leaf_columns, path_note
from common.runtime.errors import ContractError, InvalidInput
from curation import handler
from lean_ops.commands import rebuild as command
from lean_ops.operate.checkpoints import MergedLayer
from lean_ops.operate.rebuild import Comparison, Rebuild, admission, columns_to_go, filling
from lean_ops.operate.rebuild.admission import admitted, columns_to_decide

from ..support.generated import cases
from .clock import START
from .services import TOPIC
from .world import Process, World, simulated

WHY = ("--reason", "INC-1")
CURATED = ("rebuild", "--layer", "curated", *WHY)
SWAP = (*CURATED, "--yes")
STRAYS = 20
LIMITS = Limits(columns=STRAYS)
REAL = ("humidity", "pressure", "wind")


def ok(process: Process) -> None:
    assert process.error is None, process.error


def deliver(world: World, payloads: list[dict[str, Any]]) -> None:
    """Events with these payloads, each with a key of its own."""
    first = len(world.sent)
    world.deliver(
        [
            {
                "message_id": f"m{number:06}",
                "idempotency_key": f"k{number}",
                "topic_name": TOPIC,
                "period_reference": "2026-06",
                "correlation_id": None,
                "publish_time": START + timedelta(minutes=number),
                "ingestion_ts": START + timedelta(days=1, seconds=number),
                "json_payload": json.dumps(payload),
            }
            for number, payload in enumerate(payloads, first)
        ]
    )


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Two events filled Curated with stray keys; what devices measure came later."""
    small_limits(monkeypatch, LIMITS)
    with simulated(tmp_path / "lake", seed=0) as world:
        deliver(world, [{f"stray{i:03}": i for i in range(10 * n, 10 * n + 10)} for n in range(2)])
        ok(world.command("run"))
        deliver(world, [dict.fromkeys(REAL, n) | {"reading": n} for n in range(10)])
        ok(world.command("run"))
        assert set(leaves(world)) == {*(f"stray{i:03}" for i in range(STRAYS)), "reading"}
        assert sum(row["_rescued"] is not None for row in world.rows("curated")) == 10
        yield world


def small_limits(monkeypatch: pytest.MonkeyPatch, limits: Limits) -> None:
    for module in (handler, filling):
        monkeypatch.setattr(module, "curate", partial(curate, limits=limits))
    monkeypatch.setattr(admission, "LIMITS", limits)


def schema(world: World) -> Schema:
    return world.catalog.load_table(world.target.settings.table("curated", TOPIC)).schema()


def leaves(world: World) -> dict[str, str]:
    return leaf_columns(schema(world))


def viewed(world: World) -> set[str]:
    """The columns of Athena's view of Curated."""
    found = world.views[f"curated_{TOPIC}{views.CURRENT}"]
    return {column["Name"] for column in found["StorageDescriptor"]["Columns"]}


def whole(world: World) -> None:
    """Every payload can be put together again, from columns and `_rescued`, as it was sent."""
    columns = leaves(world)
    sent = {e["idempotency_key"]: json.loads(e["json_payload"]) for e in world.expected().values()}
    for row in world.rows("curated"):
        found = {f"/{name}": row[name] for name in columns if row[name] is not None}
        rescued = json.loads(row["_rescued"] or "{}")
        assert not found.keys() & rescued.keys()
        payload = found | {pointer: str(value) for pointer, value in rescued.items()}
        assert payload == {f"/{name}": str(value) for name, value in sent[row["idempotency_key"]].items()}
    assert len(world.rows("curated")) == len(sent)


def admitted_by_use(world: World) -> None:
    """The real leaves and the contract's have columns; of the strays the first in order take what is left."""
    strays = [f"stray{i:03}" for i in range(STRAYS - len(REAL) - 1)]
    assert set(leaves(world)) == {*REAL, "reading", *strays}
    whole(world)


def test_strays_give_way_to_what_is_used_more_and_no_value_is_lost(full: World) -> None:
    ids = {field.name: field.field_id for field in schema(full).fields}
    ok(full.command("maintain"))
    assert viewed(full) >= {"stray019"}
    ok(full.command(*SWAP))
    admitted_by_use(full)
    assert viewed(full) == {field.name for field in schema(full).fields} - {"_merge_seq", "_tombstone"}
    kept = {field.name: field.field_id for field in schema(full).fields if field.name in ids}
    assert kept.items() <= ids.items()
    assert {row["humidity"] for row in full.rows("curated")} == {None, *map(str, range(10))}
    for _ in range(6):
        ok(full.command("run"))
    assert full.idle
    assert sorted(row["reading"] for row in full.rows("semantic")) == list(range(10))
    deliver(full, [{"stray019": 1, "wind": 7, "reading": 11}])
    ok(full.command("run"))
    assert full.rows("semantic")
    admitted_by_use(full)


def test_all_strays_go_where_enough_is_used_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_limits(monkeypatch, Limits(columns=4))
    with simulated(tmp_path / "lake", seed=0) as world:
        deliver(world, [{f"stray{n}": n} for n in range(4)])
        ok(world.command("run"))
        deliver(world, [dict.fromkeys(REAL, n) | {"reading": n} for n in range(20)])
        ok(world.command("run"))
        ok(world.command(*SWAP))
        assert set(leaves(world)) == {*REAL, "reading"}
        assert sum(row["_rescued"] is not None for row in world.rows("curated")) == 4
        whole(world)


def test_a_rollback_brings_the_dropped_columns_back(full: World) -> None:
    before, columns = full.snapshots("curated")[0], leaves(full)
    rows = full.rows("curated")
    ok(full.command(*SWAP))
    ok(full.command("rollback", "curated", "--to", before, *WHY))
    assert columns.items() <= leaves(full).items()
    names = rows[0].keys()
    again = [{name: row[name] for name in names} for row in full.rows("curated")]
    assert sorted(again, key=lambda r: r["idempotency_key"]) == sorted(
        rows, key=lambda r: r["idempotency_key"]
    )


def test_a_first_day_keeps_every_column(full: World) -> None:
    columns = leaves(full)
    ok(full.command(*SWAP, "--from", "2026-05-31"))
    assert columns.items() <= leaves(full).items()
    whole(full)


def test_columns_of_somebody_stay(full: World) -> None:
    live = full.catalog.load_table(full.target.settings.table("curated", TOPIC))
    with live.update_schema() as update:
        update.add_column("score", LongType())
        update.add_column("note", StringType())
        update.rename_column("stray019", "better")
    ok(full.command(*SWAP))
    assert {"score", "note", "better"} <= set(schema(full).column_names)
    assert "stray018" not in schema(full).column_names


def test_the_columns_that_would_go_are_named_with_how_to_keep_one(
    full: World, capsys: pytest.CaptureFixture[str]
) -> None:
    ok(full.command(*CURATED))
    begun = Rebuild.open(full.target, TOPIC, MergedLayer.CURATED, first_day=None)
    tables = (full.catalog.load_table(name) for name in (begun.live, begun.beside))
    to_go = columns_to_go(begun, *tables)
    assert to_go == ("stray016", "stray017", "stray018", "stray019")
    capsys.readouterr()
    command._show(Comparison(12, 12, to_go=to_go))
    said = " ".join(capsys.readouterr().out.split())
    assert f"drops 4 columns of leaves that are used less than those admitted: {', '.join(to_go)};" in said
    assert "To keep one, name it in the contract" in said


def test_a_column_that_the_contract_names_meanwhile_is_not_left_in_rescued(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok(full.command(*CURATED))
    text = full.contract_text() + "      - {name: stray019, logicalType: integer}\n"
    monkeypatch.setattr(full, "contract_text", lambda: text)
    process = full.command(*SWAP)
    assert isinstance(process.error, InvalidInput)
    assert "found stray019; remove it with `lean-ops rebuild --discard`" in str(process.error)
    ok(full.command(*CURATED, "--discard"))
    ok(full.command(*SWAP))
    assert "stray019" in leaves(full)
    whole(full)


def test_nothing_is_decided_while_the_contract_cannot_be_read(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = leaves(full)
    with monkeypatch.context() as patch:
        patch.setattr(full, "contract_text", lambda: "no: contract")
        assert isinstance(full.command(*SWAP).error, ContractError)
    assert leaves(full) == columns
    ok(full.command(*SWAP))
    admitted_by_use(full)


@pytest.mark.parametrize("answered", [False, True])
def test_killed_at_any_commit_and_repeated_it_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    small_limits(monkeypatch, Limits(columns=4))
    with simulated(tmp_path / "lake", seed=0) as world:
        deliver(world, [{f"stray{n}": n} for n in range(4)])
        ok(world.command("run"))
        deliver(world, [dict.fromkeys(REAL, n) | {"reading": n} for n in range(10)])
        ok(world.command("run"))
        for call in count(6, step=8):
            process = world.command(*SWAP, kill_at=call, answered=answered)
            whole(world)
            if not process.killed:
                break
        ok(process)
        deliver(world, [{"stray9": 1, "wind": 1, "reading": 5}])
        ok(world.command("run"))
        ok(world.command(*SWAP))
        assert set(leaves(world)) == {*REAL, "reading"}
        whole(world)


# ---- generated

NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f"])


@settings(max_examples=cases(60), deadline=None)
@given(
    live=st.frozensets(NAMES),
    uses=st.lists(st.dictionaries(NAMES, st.integers(1, 5), max_size=6), max_size=5),
    contracted=st.frozensets(NAMES, max_size=3),
    limit=st.integers(1, 6),
)
def test_admitted_are_the_contracts_then_the_most_used_in_whatever_order_they_were_counted(
    live: frozenset[str], uses: list[dict[str, int]], contracted: frozenset[str], limit: int
) -> None:
    table = Schema(
        *(
            NestedField(i, name, StringType(), required=False, doc=path_note((name,)))
            for i, name in enumerate(sorted(live), 1)
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admission, "LIMITS", Limits(columns=limit))
        columns = columns_to_decide(table, frozenset(), contracted)
    total: dict[str, int] = dict.fromkeys(live, 0)
    for step in uses:
        columns.look_at({(name,): rows for name, rows in step.items()})
        for name, rows in step.items():
            total[name] = total.get(name, 0) + rows
    first = contracted & total.keys()
    ranked = sorted(total.keys() - first, key=lambda name: (-total[name], name))
    expected = first | set(ranked[: max(0, limit - len(first))])
    assert admitted(columns).keys() | (contracted & live) == expected


def test_no_other_path_takes_the_name_of_a_column() -> None:
    table = Schema(NestedField(1, "no_", StringType(), required=False, doc=path_note(("NO₃",))))
    columns = columns_to_decide(table, frozenset(), frozenset())
    columns.look_at({("NO₂",): 9})
    columns.look_at({("NO₃",): 1})
    assert admitted(columns) == {"no_": path_note(("NO₃",))}
    assert DEFAULT_LIMITS.columns == admission.LIMITS.columns
