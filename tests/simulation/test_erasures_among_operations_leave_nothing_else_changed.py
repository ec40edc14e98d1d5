"""Erasures among deliveries, runs and operations, killed and beside each other: in the end the keys are gone.

As in ``test_operations_end_as_if_nothing_had_happened``, with erasures between. At the end every key that
somebody wanted gone is erased once more, and the tables are those of events without these keys.
"""

import json
import os
from pathlib import Path

import pytest

from ..support.searching import files_with
from .sequences import CALLS, WHY, Sequence, Words
from .world import TOPIC, World, simulated

# An erasure takes longer than other operations: a fifth of their sequences.
SEQUENCES = int(os.environ.get("OPERATION_SEQUENCES", "5")) // 5
FIRST_SEED = int(os.environ.get("OPERATION_SEED", "1"))
SWAP_OR_LATE = ("--late", "--key", "--key", "--key")


class ErasingSequence(Sequence):
    """One with erasures."""

    def step(self) -> None:
        """An erasure, alone or beside something else, by a chance of one in three."""
        draw = self.random.random()
        if draw < 0.15:
            self.work([self.erase()])
        elif draw < 0.3:
            self.world.send(self.random.randrange(1, 4))
            self.work([self.erase(), self.random.choice((("run",), self.draw()))])
        elif draw < 0.36:
            self.work([self.erase()], killed=True)
            self.world.send(self.random.randrange(1, 4))
            self.work([self.draw()])
        else:
            super().step()

    def erase(self) -> Words:
        """An erasure of one key, or of what came late."""
        if self.random.choice(SWAP_OR_LATE) == "--late":
            return ("erase", "--late", "--yes", *WHY)
        key = f"k{self.random.randrange(6)}"
        self.world.erased.add(key)
        return ("erase", "--key", key, "--yes", *WHY)

    def erase_all(self) -> None:
        """Whatever became of the erasures: these keys are to be gone."""
        keys = [word for key in sorted(self.world.erased) for word in ("--key", key)]
        if keys:
            self.good(self.world.command("erase", *keys, "--yes", *WHY))


def check(world: World) -> None:
    """No key in a file, and all else as if there had never been one."""
    found = {row["idempotency_key"]: row["message_id"] for row in world.rows("curated")}
    assert found == {key: event["message_id"] for key, event in world.expected().items()}
    semantic = {row["idempotency_key"]: row["reading"] for row in world.rows("semantic")}
    assert semantic == world.published()
    kept = {event["message_id"] for event in world.kept()}
    gone = {event["message_id"] for event in world.sent if event["idempotency_key"] in world.erased} - kept
    assert files_with(world.folder / world.target.database, *gone) == {}
    assert {row["message_id"] for row in world.rows("raw")} == kept
    letters = json.dumps([message.body for message in world.queues.waiting["letters"].values()])
    assert not [name for name in gone if name in letters]
    world.watch.raise_faults()


CALLS |= {("erase",): 130}


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEQUENCES))
def test_erased_keys_are_gone_and_all_else_is_right(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with simulated(tmp_path / "lake", seed) as world:
        sequence = ErasingSequence(world)
        try:
            world.send(6)
            world.command("run")
            for _ in range(world.random.randrange(3, 8)):
                sequence.step()
            sequence.put_in_order()
            sequence.erase_all()
            sequence.settle()
            check(world)
        except BaseException as error:
            error.add_note(f"seed {seed}, topic {TOPIC}:\n" + "\n".join(world.history))
            raise
    capsys.readouterr()
