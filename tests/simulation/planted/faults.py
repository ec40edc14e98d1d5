"""One small fault each, planted into the running product: sequences that find none of them show nothing.

A fault is a function that patches by ``monkeypatch``; its docstring says what an operator would lose by it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pytest
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import AssertRefSnapshotId

from common.intake.queue_pass import QueuedMessage, QueuePass
from common.lake.checkpoints import Entry
from common.lake.merge import snapshot
from common.lake.upkeep import retention
from common.layers import upkeep as maintenance
from get_all_checkpoints import handler as looking_up
from get_all_checkpoints.lookup import look_up
from lean_ops.environment import audit
from lean_ops.operate import checkpoints, holds, leases, rollback
from lean_ops.operate.holds import Held, Hold, Place
from lean_ops.operate.rebuild import beside
from lean_ops.operate.replay import dead_letters
from lean_ops.operate.replay.intake import Outgoing

Plant = Callable[[pytest.MonkeyPatch], None]


class _Anything(AssertRefSnapshotId):
    """A requirement that holds whatever the table's snapshot is."""

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override] # as pyiceberg does
        pass


def checkpoints_are_looked_up_before_the_lease(plant: pytest.MonkeyPatch) -> None:
    """A rollback in between is not seen: the run reads on from where the table no longer is."""

    def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
        settings, dynamodb = looking_up._settings(), looking_up._client("dynamodb")
        found = look_up(
            event["topic"],
            settings=settings,
            catalog=vars(looking_up)["lake_catalog"](),
            dynamodb=dynamodb,
            s3=looking_up._client("s3"),
        )
        held = vars(looking_up)["acquire"](
            dynamodb,
            looking_up._client("stepfunctions"),
            table=settings.checkpoints_table,
            topic=event["topic"],
            execution_arn=event["execution_arn"],
            continued_from=event["continued_from"],
        )
        return {"lease": "held" if held else "busy", **found.as_json()}

    plant.setattr(looking_up, "handler", handler)


def runs_do_not_ask_for_the_lease(plant: pytest.MonkeyPatch) -> None:
    """A topic on hold is worked on."""
    plant.setattr(looking_up, "acquire", lambda *_, **__: True)


def operations_do_not_wait_for_the_run(plant: pytest.MonkeyPatch) -> None:
    """A run that is in progress commits into the middle of a rollback."""
    plant.setattr(leases, "_await_quiet", lambda *_: None)


def operations_place_no_hold(plant: pytest.MonkeyPatch) -> None:
    """A run begins in the middle of a rollback, and so does another operation."""

    @contextmanager
    def bare(place: Place, entry: audit.Entry, work: str, **_: float) -> Iterator[Held]:
        mine = Hold(entry.who, "", entry.reason, entry.operation_id, work)
        yield Held(place, mine, place.target.client("dynamodb"))

    plant.setattr(Place, "worked_on", bare)
    plant.setattr(Held, "check", lambda _: None)


def the_end_of_an_operation_lifts_every_hold(plant: pytest.MonkeyPatch) -> None:
    """Who had paused the topic finds it running."""
    remove = Place._remove

    def all_of_them(place: Place, holder: str, *condition: Any) -> bool:
        done = remove(place, holder, *condition)
        for hold in place.holds() if done else ():
            remove(place, hold.holder, "attribute_exists(#hold)")
        return done

    plant.setattr(Place, "_remove", all_of_them)


def resume_lifts_the_hold_of_an_operation(plant: pytest.MonkeyPatch) -> None:
    """A run begins while an operation works, or behind one that was killed in its middle."""
    resume = Place.resume

    def bluntly(place: Place, *, everybody: bool = False) -> tuple[tuple[Hold, ...], tuple[Hold, ...]]:
        place._remove("operation", "attribute_exists(#hold)")
        return resume(place, everybody=everybody)

    plant.setattr(Place, "resume", bluntly)


def resume_lifts_the_holds_of_others(plant: pytest.MonkeyPatch) -> None:
    """The topic runs although a colleague still mends it."""
    resume = Place.resume
    plant.setattr(Place, "resume", lambda place, **_: resume(place, everybody=True))


def nobody_takes_over_the_hold_of_a_killed_operation(plant: pytest.MonkeyPatch) -> None:
    """The topic stays on hold for good."""
    plant.setattr(holds._Watch, "gone", lambda *_: False)


def anybody_takes_over_the_hold_of_a_killed_operation(plant: pytest.MonkeyPatch) -> None:
    """A rollback stays half done: another operation has lifted the hold that said so."""
    claim = Place._claim

    def greedy(place: Place, entry: audit.Entry, work: str, wait_s: float) -> Hold:
        found = place._operation()
        if found is not None and found.worker is not None and found.worker.gone:
            place._remove("operation", "attribute_exists(#hold)")
        return claim(place, entry, work, wait_s)

    plant.setattr(Place, "_claim", greedy)


def two_rebuilds_fill_one_table(plant: pytest.MonkeyPatch) -> None:
    """Rows of one are removed by the other."""
    claim = Place._claim

    def beside_another(place: Place, entry: audit.Entry, work: str, wait_s: float) -> Hold:
        if place.kind != "lease" and place._operation() is not None:
            place._remove("operation", "attribute_exists(#hold)")
        return claim(place, entry, work, wait_s)

    plant.setattr(Place, "_claim", beside_another)


def a_rollback_leaves_the_checkpoints(plant: pytest.MonkeyPatch) -> None:
    """Recorded checkpoints speak of snapshots that were undone."""
    plant.setattr(checkpoints, "follow_table", lambda *_: None)


def a_rollback_leaves_the_schema(plant: pytest.MonkeyPatch) -> None:
    """A column that was replaced since reads as null in every row."""
    plant.setattr(rollback, "schema_of", lambda *_: None)


def a_rollback_commits_over_what_it_has_not_seen(plant: pytest.MonkeyPatch) -> None:
    """A compaction or a swap in between is undone without a word."""
    plant.setattr(rollback, "AssertRefSnapshotId", _Anything)


def a_reset_is_taken_back_by_the_next_look_up(plant: pytest.MonkeyPatch) -> None:
    """The command says done, and the layer reads nothing again."""

    def plain(*values: Any, **_: bool) -> Entry:
        return Entry(*values)

    plant.setattr(checkpoints, "Entry", plain)


def a_rebuild_is_swapped_in_twice(plant: pytest.MonkeyPatch) -> None:
    """A repetition puts old files back, and uses numbers of merges again."""
    plant.setattr(beside, "_swapped_in", lambda *_: "")
    plant.setattr(beside, "_of_use", lambda *_: True)


def merges_commit_over_what_they_have_not_seen(plant: pytest.MonkeyPatch) -> None:
    """Rows of a commit in between are in no file of the table any more."""
    plant.setattr(snapshot, "AssertRefSnapshotId", _Anything)


def maintenance_forgets_what_is_read_on_from(plant: pytest.MonkeyPatch) -> None:
    """Curated reads all of RAW again."""
    plant.setattr(maintenance, "_still_read", lambda *_: ())


def maintenance_forgets_what_it_has_not_seen(plant: pytest.MonkeyPatch) -> None:
    """Beside a rollback, the snapshot that has just become current expires, and the table with it."""
    plant.setattr(retention, "AssertRefSnapshotId", _Anything)


def letters_are_removed_before_they_are_sent(plant: pytest.MonkeyPatch) -> None:
    """A replay that is killed in between loses them."""
    move = dead_letters._Mover.move

    def early(mover: Any, letters: QueuePass, messages: Sequence[QueuedMessage]) -> None:
        letters.remove(messages)
        move(mover, letters, messages)

    plant.setattr(dead_letters._Mover, "move", early)


def letters_are_sent_without_the_mark_of_the_replay(plant: pytest.MonkeyPatch) -> None:
    """A letter that comes back at once is sent again and again."""
    plant.setattr(dead_letters, "outgoing", lambda message, _: Outgoing(message.body, {}))


def letters_are_counted_whether_or_not_they_are_sent(plant: pytest.MonkeyPatch) -> None:
    """The trail says that letters were sent which had come back."""
    choose = dead_letters._Mover.choose

    def counting(mover: Any, batch: Sequence[QueuedMessage], selection: Any) -> list[QueuedMessage]:
        chosen: list[QueuedMessage] = choose(mover, batch, selection)
        mover._entry.counts["sent"] += len(batch) - len(chosen)
        return chosen

    plant.setattr(dead_letters._Mover, "choose", counting)


FAULTS: Final[Mapping[str, Plant]] = {
    name: fault
    for name, fault in vars().items()
    if callable(fault) and getattr(fault, "__module__", "") == __name__ and name[0].islower()
}
