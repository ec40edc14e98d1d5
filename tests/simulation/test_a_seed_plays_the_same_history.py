"""From one seed comes one history, call by call: in this process, in another, and in a part of it."""

import os
import subprocess
import sys
from pathlib import Path

from .__main__ import once
from .sequences import Cut, whole

ROOT = Path(__file__).parents[2]
SEED = 7


def test_a_seed_is_played_twice_call_by_call() -> None:
    first, second = once(SEED), once(SEED)
    assert not first.error, first.words
    assert (first.digest, first.history) == (second.digest, second.history)
    assert once(SEED + 1).digest != first.digest


def test_another_process_plays_the_same_history_in_words() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.simulation", "seed", str(SEED)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    first, *history = done.stdout.splitlines()
    played = once(SEED)
    assert played.digest[:16] in first
    assert history == played.history


def test_a_part_of_a_history_is_drawn_as_in_the_whole() -> None:
    last = whole(SEED).steps[-1]
    part = once(SEED, Cut((last,), calm=frozenset({last})))
    assert not part.error, part.words
    assert f"step {last}:" in part.history
    assert not [line for line in part.history if line.endswith("]")], "something broke in a calm step"
