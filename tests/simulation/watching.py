"""What must hold at every moment of a sequence, whatever it ends like: watched from beside the product.

nobody works beside an operation    no run commits to a table of the topic that an operation has to itself
one operation at a time             neither two on a topic nor two that fill one rebuild
half-done work keeps the topic      no run commits behind an operation that was killed, or that failed
                                    half-way, before it is repeated or given up
one swap a rebuild                  its rows become the live table's once
numbers are given once              no two commits of a table carry the same merge sequence
nothing is committed unseen         a commit to a table's rows is made on the state that its process has seen
one run at a time                   nobody gets the lease, nor a topic to itself, while a run that was given
                                    the lease goes on
under the lease                     a run that gets the lease has it before it looks at any table, and when it
                                    commits
held while it works                 an operation has its hold until its work is done, and what it leaves half
                                    done is held until it is repeated or given up
holds of persons                    one that was placed is there until somebody lifts it
times in order                      no commit leaves a table that Iceberg's Java library refuses to read, or
                                    to commit to, for its times
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, cast
from unittest.mock import patch

from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation, Snapshot

from common.lake.checkpoints import MERGE_SEQ
from common.lake.upkeep import ERASED_ROWS
from lean_ops.environment.audit import Entry
from lean_ops.environment.target import Target
from lean_ops.operate import leases
from lean_ops.operate.holds import Held, Hold, HoldLost, Kind, Place
from lean_ops.operate.rebuild.beside import SWAPPED_IN

from ..support.java_metadata import of_times

if TYPE_CHECKING:
    from .world import Process, World

MERGED = ("curated", "semantic")


@dataclass
class Watch:
    """``on_hold``: a person holds the topic, from before a step to behind it. ``faults``: what must not be.

    They are told at the end of a step, not where they happen.

    Raised there, it would be an error of the product, which may retry it.
    """

    world: "World"
    faults: list[str] = field(default_factory=list)
    on_hold: bool = False
    alone: dict[str, tuple["Process", str]] = field(default_factory=dict)
    swaps: set[str] = field(default_factory=set)
    numbers: dict[str, int] = field(default_factory=dict)
    seen: dict[tuple[int, str], int | None] = field(default_factory=dict)
    early: dict[int, str] = field(default_factory=dict)
    at_work: set[str] = field(default_factory=set)  # executions that were given the lease
    parents: dict[int, int | None] = field(default_factory=dict)  # of snapshots, those that expired included

    def raise_faults(self) -> None:
        """Fail with the first thing that was seen."""
        assert not self.faults, self.faults[0]

    def forebears(self, snapshot: Snapshot) -> Iterator[int]:
        """Ids of the snapshots that one is made on, whether they are kept or have expired."""
        parent = self.parents.get(snapshot.snapshot_id, snapshot.parent_snapshot_id)  # expiry takes it away
        while parent is not None:
            yield parent
            parent = self.parents.get(parent)

    def enters(self, place: str, work: str) -> None:
        """The current process has ``place`` to itself, for this work."""
        process = self.world.process
        if process is None:
            return
        if found := self.alone.get(place):
            before, its_work = found
            if not before.ended:
                self.faults.append(f"{process.what} works on {place} beside {before.what}")
            elif work != its_work:
                self.faults.append(f"{process.what} goes over {before.what}, which left {place} half done")
        self.alone[place] = (process, work)
        if place == "lease":
            self._nobody_runs(process)

    def _nobody_runs(self, process: "Process", *but: str) -> None:
        """No execution that was given the lease goes on, ``but`` for some."""
        statuses, lost = self.world.stepfunctions.statuses, self.world.covered["actor", "lose-lease"]
        self.at_work = {arn for arn in self.at_work if statuses[arn] == "RUNNING"}
        if not lost and (others := sorted(self.at_work.difference(but))):
            self.faults.append(f"{process.what} has the topic while {others[0]} works on it")

    @contextmanager
    def inside(self, place: str, work: str, held: Held) -> Iterator[None]:
        """The current process works on ``place``; what fails half-way leaves it to its repetition."""
        self.enters(place, work)
        self._is_held(place, held, "began")
        try:
            yield
        except BaseException as error:
            # Not by what the product decides of it: that is what is watched.
            if not held.half_done or isinstance(error, HoldLost):
                self.leaves(place)
            raise
        self._is_held(place, held, "ended")
        self.leaves(place)

    def _is_held(self, place: str, held: Held, when: str) -> None:
        process = self.world.process
        if process is None or process.killed:
            return
        mine = held._hold.operation_id
        if mine not in {hold.operation_id for hold in self._holds(place)}:
            self.faults.append(f"{process.what} {when} its work on {place} without a hold")

    def _holds(self, place: str) -> tuple[Hold, ...]:
        with self.world.unseen():
            return Place(self.world.target, "events", cast("Kind", place)).holds()

    def after_a_step(self) -> None:
        """Look at what is left half done: its hold keeps everybody else away."""
        for place, (process, _) in self.alone.items():
            if process.ended and not any(hold.operation_id for hold in self._holds(place)):
                self.faults.append(f"{process.what} left {place} half done, and nobody holds it")

    def leaves(self, place: str) -> None:
        """The current process has done its work, or failed; one that was killed does not come here."""
        process = self.world.process
        if process is not None and not process.killed and self.alone.get(place, (None,))[0] is process:
            del self.alone[place]

    def given_up(self, place: str) -> None:
        """The work of a process that was killed is nobody's any more."""
        if place in self.alone and self.alone[place][0].ended:
            del self.alone[place]

    def loads(self, table: Table) -> None:
        """A process has been given a table, as it is now."""
        process, name = self.world.process, table.name()[-1]
        if process is None:
            return
        self.seen[process.number, name] = table.metadata.current_snapshot_id
        execution = self.world.looking_up
        lost = self.world.covered["actor", "lose-lease"]  # by hand: then a run may have had it
        if execution is not None and process.number not in self.early and not lost:
            holder = self.world.lease_holder()
            self.early[process.number] = (
                "" if holder == execution else f"{name}, with the lease of {holder!r}"
            )

    def looks_up(self, process: "Process") -> None:
        """A run begins to look everything up: what a try that failed has seen is of no use to it."""
        self.early.pop(process.number, None)

    def looked_up(self, process: "Process", asked: Mapping[str, str], *, held: bool) -> None:
        """A run has looked everything up, and has the lease or not; ``asked``: by whom, and who began it."""
        early = self.early.pop(process.number, "")
        if held and early:
            self.faults.append(f"{process.what} looked at {early} before it had its own")
        if held:
            self._nobody_runs(process, asked["execution_arn"], asked["continued_from"])
            self.at_work.add(asked["execution_arn"])
            self.at_work.discard(asked["continued_from"])  # it does nothing any more

    def commits(self, before: Table, after: TableMetadata) -> None:
        """A process has committed to a table."""
        process, name = self.world.process, before.name()[-1]
        if process is not None:
            self._over_what_it_has_seen(process, before, after)
        if said := refused_by_java(after, self.world.now):
            self.faults.append(f"{process.what if process else 'somebody'} committed to {name}: {said[0]}")
        known = {snapshot.snapshot_id for snapshot in before.metadata.snapshots}
        new = [s for s in after.snapshots if s.snapshot_id not in known]
        self.parents |= {s.snapshot_id: s.parent_snapshot_id for s in new}
        holder = self.alone.get("lease")
        live = not name.startswith("rebuild") and name.startswith(MERGED)
        if process is None or not live or not new:
            return
        # What its client has given up on nobody can call back: the state that it was planned on decides.
        if process.what.startswith(("run", "execution")) and not self.world.landing:
            if self.on_hold:
                self.faults.append(f"{process.what} committed to {name}, which a person holds")
            if holder is not None:
                self.faults.append(f"{process.what} committed to {name} beside {holder[0].what}")
            self._under_the_lease(process, name)
        self._numbered(process, name, new)

    def _under_the_lease(self, process: "Process", name: str) -> None:
        execution, lost = self.world.works_for, self.world.covered["actor", "lose-lease"]
        if execution is not None and not lost and (holder := self.world.lease_holder()) != execution.arn:
            self.faults.append(f"{process.what} committed to {name} under the lease of {holder!r}")

    def _numbered(self, process: "Process", name: str, new: Iterable[Snapshot]) -> None:
        for snapshot in new:
            summary = snapshot.summary.additional_properties if snapshot.summary else {}
            if mark := summary.get(SWAPPED_IN):
                if mark in self.swaps:
                    self.faults.append(f"{process.what} swapped a rebuild into {name} that was swapped in")
                self.swaps.add(mark)
            replaces = snapshot.summary is not None and snapshot.summary.operation == Operation.REPLACE
            # An erasure takes rows away and numbers none.
            if MERGE_SEQ in summary and not replaces and ERASED_ROWS not in summary:
                number = int(summary[MERGE_SEQ])
                if number <= self.numbers.get(name, 0):
                    self.faults.append(f"{process.what} gave {name} the merge sequence {number} again")
                self.numbers[name] = max(number, self.numbers.get(name, 0))

    def _over_what_it_has_seen(self, process: "Process", before: Table, after: TableMetadata) -> None:
        name, was = before.name()[-1], before.metadata.current_snapshot_id
        kept = {snapshot.snapshot_id for snapshot in after.snapshots}
        forgets = any(s.snapshot_id not in kept for s in before.metadata.snapshots)
        changes = forgets or after.current_snapshot_id != was
        if changes and self.seen.get((process.number, name), was) != was:
            self.faults.append(f"{process.what} committed to {name} over what it has not seen")
        self.seen[process.number, name] = after.current_snapshot_id


@dataclass
class Persons:
    """Which persons hold the topic for sure, by the commands that they gave."""

    world: "World"
    sure: set[str] = field(default_factory=set)

    def gave(self, given: Sequence[tuple["Process", tuple[str, ...]]]) -> None:
        """Commands were run, at the same time if there are more; hold the holds to them."""
        for process, words in given:
            if words[0] == "resume" and "--operation" not in words:
                self.sure = set() if "--everybody" in words else self.sure - {process.person}
        lifted = any(words[0] == "resume" for _, words in given)
        for process, words in given:
            holds = words[0] == "pause" or (words[0] == "rollback" and "--hold" in words)
            if holds and not lifted and process.error is None:
                self.sure.add(process.person)
        found = {hold.by for hold in self.place.holds() if not hold.operation_id}
        assert found >= self.sure, f"expected a hold of {self.sure - found}, which nobody lifted"

    @property
    def place(self) -> Place:
        """What is held."""
        return Place(self.world.target, "events")


@contextmanager
def watched(world: "World") -> Iterator[None]:
    """Let ``world.watch`` see who enters and leaves, and who commits."""
    exclusively, worked_on, give_up = leases.exclusively, Place.worked_on, Place.give_up

    @contextmanager
    def alone(
        target: Target, topic: str, entry: Entry, work: str, *, wait_s: float, keep_hold: bool = False
    ) -> Iterator[Held]:
        with (
            exclusively(target, topic, entry, work, wait_s=wait_s, keep_hold=keep_hold) as held,
            world.watch.inside("lease", work, held),
        ):
            yield held

    @contextmanager
    def filling(place: Place, entry: Entry, work: str, *, wait_s: float) -> Iterator[Held]:
        with worked_on(place, entry, work, wait_s=wait_s) as held:
            if place.kind == "lease":
                yield held
                return
            with world.watch.inside(place.kind, work, held):
                yield held

    def given_up(place: Place, operation_id: str) -> bool:
        world.watch.given_up(place.kind)  # also where the call that does it is the last of a process
        return give_up(place, operation_id)

    with ExitStack() as patches:
        patches.enter_context(patch.object(leases, "exclusively", alone))
        patches.enter_context(patch.object(Place, "worked_on", filling))
        patches.enter_context(patch.object(Place, "give_up", given_up))
        yield


def refused_by_java(metadata: TableMetadata, now: datetime) -> list[str]:
    """What Iceberg's Java library says of a table's times.

    ``now``: of a machine whose clock is right, such as Firehose's, whose next commit is refused as well where
    the table is ahead of it.
    """
    logs = [[one.timestamp_ms for one in log] for log in (metadata.snapshot_log, metadata.metadata_log)]
    ahead = of_times([[metadata.last_updated_ms]], now.timestamp() * 1000)
    return [*of_times(logs, metadata.last_updated_ms), *ahead]
