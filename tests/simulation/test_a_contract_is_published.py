"""A contract in place, and the rows of before brought along: what is personal now stands as it says."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from common.contract.casting import MASK
from common.contract.store import put_contract
from common.runtime.errors import InvalidInput, LeanOpsError, ServiceFailure
from lean_ops.operate import publishing
from lean_ops.operate.rebuild import Comparison, doing

from .conftest import done
from .services import TOPIC
from .world import CONTRACT, Process, World

WHY: Final = ("--reason", "INC-1", "--json")
HASH: Final = re.compile(r"[0-9a-f]{64}\Z")
PERSONAL: Final = """, classification: PII, customProperties: [{{property: piiTreatment, value: {pii}}}]}}"""


def next_version(world: World, version: str, kind: str = "integer", pii: str = "") -> str:
    """A file with a contract of that version."""
    text = CONTRACT.format(version=version, kind=kind).rstrip()
    if pii:
        text = text.removesuffix("}") + PERSONAL.format(pii=pii)
    file = world.folder / "next.yaml"
    file.write_text(text + "\n")
    return str(file)


@pytest.fixture
def in_place(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world that keeps any contract that is put there, as it is."""
    texts = [world.contract_text()]
    monkeypatch.setattr(world, "contract_text", lambda: texts[-1])
    monkeypatch.setattr(world, "take_contract", texts.append)
    return world


def publish(world: World, file: str, *options: str) -> Process:
    return world.command("contract", "publish", file, *options, *WHY)


def readings(world: World) -> set[Any]:
    return {row["reading"] for row in world.rows("semantic")}


def refused(world: World) -> list[dict[str, Any]]:
    return [json.loads(row["row_json"]) for row in world.rows("quarantine")]


def refuse(world: World) -> None:
    """A row that the contract of the beginning refuses."""
    broken = {**world.event(), "json_payload": '{"reading": "broken"}', "operation": None}
    broken["idempotency_key"] = "refused"
    world.deliver([broken])
    done(world.command("run"))


def test_rows_of_semantic_and_of_quarantine_are_treated_as_the_new_contract_says(in_place: World) -> None:
    refuse(in_place)
    clear = readings(in_place)
    assert all(isinstance(reading, int) for reading in clear)
    assert [row["reading"] for row in refused(in_place) if row["idempotency_key"] == "refused"] == ["broken"]
    done(publish(in_place, next_version(in_place, "2.0.0", pii="hash"), "--accept"))
    assert all(HASH.match(reading) for reading in readings(in_place))
    assert len(readings(in_place)) == len(clear), "equal values still join"
    assert all(HASH.match(row["reading"]) for row in refused(in_place))
    assert {row["_contract_version"] for row in in_place.rows("semantic")} == {"2.0.0"}
    # Rows that come from now on are treated the same way, and the same command has nothing left to do.
    in_place.send(3)
    done(in_place.command("run"))
    before = in_place.snapshots("semantic")
    done(publish(in_place, str(in_place.folder / "next.yaml"), "--accept"))
    assert in_place.snapshots("semantic") == before
    assert all(HASH.match(reading) for reading in readings(in_place))


def test_a_stricter_treatment_of_what_was_hashed_leaves_no_hash(in_place: World) -> None:
    refuse(in_place)
    done(publish(in_place, next_version(in_place, "2.0.0", pii="hash"), "--accept"))
    done(publish(in_place, next_version(in_place, "3.0.0", pii="mask"), "--accept"))
    assert readings(in_place) == {MASK}
    assert {row["reading"] for row in refused(in_place)} == {MASK}
    done(publish(in_place, next_version(in_place, "4.0.0", pii="drop"), "--accept"))
    assert all("reading" not in row for row in refused(in_place))


def test_rows_that_show_what_is_personal_are_not_left(in_place: World) -> None:
    ended = publish(in_place, next_version(in_place, "2.0.0", pii="hash"), "--accept", "--leave-rows")
    assert isinstance(ended.error, InvalidInput)
    assert "publish without --leave-rows" in str(ended.error)
    assert "1.0.0" in in_place.contract_text(), "nothing was put in place"


def test_rows_may_be_left_where_nothing_is_personal(in_place: World) -> None:
    before = in_place.rows("semantic")
    done(publish(in_place, next_version(in_place, "2.0.0", "string"), "--accept", "--leave-rows"))
    assert {row["_contract_version"] for row in in_place.rows("semantic")} == {"1.0.0"}
    assert len(in_place.rows("semantic")) == len(before)
    done(publish(in_place, str(in_place.folder / "next.yaml"), "--accept"))
    assert {row["_contract_version"] for row in in_place.rows("semantic")} == {"2.0.0"}


def test_a_contract_that_only_describes_rebuilds_nothing(in_place: World) -> None:
    file = Path(next_version(in_place, "1.0.1"))
    file.write_text(file.read_text().replace("required: true", "required: true, description: What it reads"))
    before = in_place.snapshots("semantic")
    done(publish(in_place, str(file)))
    assert in_place.snapshots("semantic") == before
    assert "1.0.1" in in_place.contract_text()


def test_a_rebuild_that_was_begun_under_the_contract_of_before_is_given_up(in_place: World) -> None:
    done(in_place.command("rebuild", "--layer", "semantic", *WHY))
    assert any("rebuild" in name[-1] for name in in_place.catalog.list_tables(in_place.target.database))
    done(publish(in_place, next_version(in_place, "2.0.0", pii="hash"), "--accept"))
    assert all(HASH.match(reading) for reading in readings(in_place))


def test_of_two_at_once_one_is_in_place_whole(in_place: World) -> None:
    """Whoever was second is told that the first one was there, and publishes again if it is still wanted."""
    files = []
    for number, pii in ((2, "hash"), (3, "mask")):
        file = Path(next_version(in_place, f"{number}.0.0", pii=pii))
        files.append(str(file.rename(in_place.folder / f"{pii}.yaml")))
    both = in_place.beside([("contract", "publish", file, "--accept", *WHY) for file in files])
    told = [process.error for process in both if process.error is not None]
    assert len(told) <= 1
    assert all(isinstance(error, LeanOpsError) for error in told)
    version = publishing.known(in_place.target, TOPIC)
    masked = "3.0.0" in in_place.contract_text()
    assert readings(in_place) == {MASK} if masked else all(HASH.match(one) for one in readings(in_place))
    assert "1.0.0" in version


class Reader:
    """Somebody who reads Semantic after every external call of whoever works, and notes what it saw."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.seen = world, set[tuple[str, str]]()
        self._last = ""
        external = world.external

        def watched(call: Any, what: str = "a call") -> Any:
            answer = external(call, what)
            if not world.inside:
                with world.unseen():
                    self.look()
            return answer

        monkeypatch.setattr(world, "external", watched)

    def look(self) -> None:
        table = self.world.catalog.load_table(self.world.target.settings.table("semantic", TOPIC))
        if table.metadata_location == self._last:
            return
        self._last = table.metadata_location
        for row in self.world.rows("semantic"):
            reading = row["reading"]
            kind = "hash" if HASH.match(str(reading)) else type(reading).__name__
            self.seen.add((row["_contract_version"], kind))


@pytest.mark.parametrize("change", [{"kind": "string"}, {"pii": "hash"}, {"pii": "mask"}])
def test_readers_see_all_rows_by_the_old_version_or_all_by_the_new(
    in_place: World, monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
) -> None:
    """Also while runs go on beside it, which type what is new; and nobody ever sees an empty column."""
    file = next_version(in_place, "2.0.0", **change)
    in_place.send(3)
    reader = Reader(in_place, monkeypatch)
    both = in_place.beside([("contract", "publish", file, "--accept", *WHY), ("run",)])
    assert both[0].error is None
    in_place.send(2)
    done(in_place.command("run"))
    new = "hash" if change.get("pii") == "hash" else "str"
    assert reader.seen == {("1.0.0", "int"), ("2.0.0", new)}


def test_a_publication_that_is_killed_is_whole_or_was_not_there(
    in_place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever call it is killed at, and whatever runs come then, readers see one version."""
    file = next_version(in_place, "2.0.0", "string")
    reader = Reader(in_place, monkeypatch)
    at = 40
    while (
        killed := in_place.beside([("contract", "publish", file, "--accept", *WHY)], {0: (at, False)})[0]
    ).killed:
        in_place.send(1)
        in_place.command("run")
        versions = {row["_contract_version"] for row in in_place.rows("semantic")}
        assert len(versions) == 1, f"killed at call {at}"
        at += 29
    done(killed)
    done(in_place.command("run"))
    assert reader.seen == {("1.0.0", "int"), ("2.0.0", "str")}


def test_one_that_ended_after_its_swap_takes_nothing_from_the_next(
    in_place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it left beside is no rebuild under the next contract."""

    def dies(*_: object) -> None:
        raise ServiceFailure("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(doing, "discard", dies)
        failed = publish(in_place, next_version(in_place, "2.0.0", "string"), "--accept")
        assert failed.error is not None
    done(publish(in_place, next_version(in_place, "3.0.0", pii="hash"), "--accept"))
    done(in_place.command("run"))
    assert {row["_contract_version"] for row in in_place.rows("semantic")} == {"3.0.0"}
    assert all(HASH.match(reading) for reading in readings(in_place))
    assert not any("rebuild" in name[-1] for name in in_place.catalog.list_tables(in_place.target.database))


def test_a_contract_that_would_lose_rows_leaves_what_is_there(
    in_place: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was made anew is looked at before anything is put in place."""
    lacking = Comparison(live_rows=100, rebuilt_rows=90, only_live=10, samples=("a",))
    with monkeypatch.context() as patch:
        patch.setattr(doing, "compare", lambda *_: lacking)
        publish(in_place, next_version(in_place, "2.0.0", "string"))
    said = " ".join(capsys.readouterr().err.split())
    assert "what is in place stays, and so do the rows: the rebuilt table lacks 10 of 100 rows" in said
    assert "1.0.0" in in_place.contract_text()
    assert {row["_contract_version"] for row in in_place.rows("semantic")} == {"1.0.0"}
    assert not any("rebuild" in name[-1] for name in in_place.catalog.list_tables(in_place.target.database))


def test_the_same_one_twice_at_once_is_one(in_place: World) -> None:
    file = next_version(in_place, "2.0.0", pii="hash")
    both = in_place.beside([("contract", "publish", file, "--accept", *WHY)] * 2)
    assert [process.error for process in both] == [None, None]
    assert all(HASH.match(reading) for reading in readings(in_place))


def test_a_version_has_the_date_on_which_it_was_put_there(in_place: World) -> None:
    for number in (2, 3, 3):
        done(publish(in_place, next_version(in_place, f"{number}.0.0", pii="hash"), "--accept"))
        in_place.clock += 3600
    dates = {one.version: one.at for one in publishing.kept(in_place.target, TOPIC)}
    assert (dates["3.0.0"] - dates["2.0.0"]).total_seconds() >= 3600
    before = dates["3.0.0"]
    done(publish(in_place, next_version(in_place, "4.0.0", pii="hash"), "--accept"))
    assert {one.version: one.at for one in publishing.kept(in_place.target, TOPIC)}["3.0.0"] == before


def test_what_terraform_puts_there_in_the_same_second_stays(
    in_place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Terraform asks for no lease: it may write between the look and the put of a publication."""
    other = Path(next_version(in_place, "1.5.0")).read_text()
    mine = next_version(in_place, "2.0.0", pii="hash")

    def after_terraform(*arguments: Any, **options: Any) -> bool:
        in_place.take_contract(other)
        return put_contract(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "put_contract", after_terraform)
        raced = publish(in_place, mine, "--accept")
    assert "another was put there meanwhile" in str(raced.error)
    assert in_place.contract_text() == other
    done(publish(in_place, mine, "--accept"))
    assert "2.0.0" in in_place.contract_text()
    assert all(HASH.match(reading) for reading in readings(in_place))


def test_kept_versions_say_how_rows_of_them_were_treated(
    in_place: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, pii in ((2, "hash"), (3, "mask")):
        done(publish(in_place, next_version(in_place, f"{number}.0.0", pii=pii), "--accept"))
        in_place.clock += 60
    kept = publishing.kept(in_place.target, TOPIC)
    assert sorted(one.version for one in kept) == ["1.0.0", "2.0.0", "3.0.0"]
    known = publishing.known(in_place.target, TOPIC)
    assert [known[version].properties[0].pii for version in sorted(known)] == [None, "hash", "mask"]
    capsys.readouterr()
    done(in_place.command("contract", "history"))
    said = capsys.readouterr().out
    assert "property reading: clear values become hash" in said
    assert "no description" not in said, "that is no change"
    done(in_place.command("contract", "show", "--json"))
