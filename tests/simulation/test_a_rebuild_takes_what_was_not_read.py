"""A rebuild that keeps rows of before a day takes late events that Curated has not read yet.

What Curated has read says a snapshot of RAW, which an erasure makes the table forget.
"""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from lean_ops.operate.rebuild import filling

from .clock import START
from .conftest import done
from .world import World

WHY = ("--reason", "INC-1")
DAY = timedelta(days=1)


def version(world: World, key: str, reading: int, hours: float) -> dict[str, object]:
    """A version of a key that was published before June, and arrives after so many hours."""
    return {
        **world.event(),
        "idempotency_key": key,
        "json_payload": json.dumps({"reading": reading}),
        "operation": None,
        "publish_time": START - DAY + timedelta(hours=hours / 100),
        "ingestion_ts": START + timedelta(hours=hours),
    }


@pytest.mark.parametrize("forgotten", [(), ("before",), ("between",), ("before", "between")])
@pytest.mark.parametrize("portion", [1, 10**9])
def test_late_events_that_no_run_has_read_count(
    world: World, forgotten: tuple[str, ...], portion: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = filling.job_settings
    monkeypatch.setattr(filling, "job_settings", lambda *of: replace(given(*of), batch_rows=portion))
    world.erased = {"person-1", "person-2"}
    world.deliver([version(world, "person-1", 1, 0), version(world, "person-2", 1, 0)])
    world.deliver([version(world, "late1", 1, 0), version(world, "late2", 1, 0)])
    done(world.command("run"))
    if "before" in forgotten:
        done(world.command("erase", "--key", "person-1", "--yes", "--json", *WHY))
    world.deliver([version(world, "late1", 2, 1), version(world, "late3", 2, 1)])
    rebuild = ("rebuild", "--layer", "curated", "--from", "2026-06-01", "--json", *WHY)
    if "between" in forgotten:
        done(world.command(*rebuild))
        done(world.command("erase", "--key", "person-2", "--yes", "--json", *WHY))
        world.deliver([version(world, "late2", 3, 2)])
    done(world.command(*rebuild, "--yes"))
    done(world.command("run"))
    found = {row["idempotency_key"]: row["reading"] for row in world.rows("curated")}
    newest = {"late1": "2", "late2": "3" if "between" in forgotten else "1", "late3": "2"}
    assert {key: reading for key, reading in found.items() if key.startswith("late")} == newest
