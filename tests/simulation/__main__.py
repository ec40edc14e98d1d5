"""``make simulate``, ``make soak``, ``make simulate-planted``: play many seeds, say what they came by.

    python -m tests.simulation seeds --first 1 --number 300
    python -m tests.simulation seeds --first 1 --number 40 --kinds versions,letters
    python -m tests.simulation seed 42 [--steps 0,2] [--calm 2]
    python -m tests.simulation soak --minutes 60
    python -m tests.simulation planted --budget 60

A seed that fails is shrunk: steps are left out, then what breaks in the others, as long as it fails in the
same way. What is left is printed in words, with the command that plays exactly that again.
"""

import argparse
import contextlib
import functools
import gc
import io
import itertools
import os
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from common.runtime.errors import LeanOpsError

from .clock import UnmodelledError
from .machine import branches
from .planted import faults, meets
from .sequences import KINDS, Cut, play, whole
from .world import FAULTS

Covered = Counter[tuple[str, str]]


@dataclass
class Played:
    """How the history of a seed went. ``digest``: of every call of it; ``error``: its kind, empty if none.

    ``own``: the error is one of the simulation or of what it plants, not of the product's behaviour.
    """

    seed: int
    cut: Cut
    digest: str = ""
    history: list[str] = field(default_factory=list)
    covered: Covered = field(default_factory=Counter)
    error: str = ""
    words: str = ""
    own: bool = False


def once(seed: int, cut: Cut | None = None, fault: str = "") -> Played:
    """Play a seed, with a fault planted where one is named."""
    cut = cut or whole(seed)
    if fault:
        cut = replace(cut, kinds=meets(fault))
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    _collect_less()
    played = Played(seed, cut)
    with (
        tempfile.TemporaryDirectory(dir=_fast()) as folder,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        pytest.MonkeyPatch.context() as patch,
    ):
        if fault:
            faults()[fault](patch)
        try:
            world = play(Path(folder) / "lake", seed, cut)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            played.error, played.own = _kind(error), of_its_own(error)
            played.words = "".join(traceback.format_exception_only(error))
        else:
            played.digest, played.history = world.calls.hexdigest(), world.history
            played.covered = world.covered
    return played


@functools.cache
def _collect_less() -> None:
    """Let the collection of garbage pass by what was imported: it took a tenth of a seed."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def _fast() -> str | None:
    """A folder in memory, where there is one: thousands of small files are written and removed."""
    return "/dev/shm" if Path("/dev/shm").is_dir() and os.access("/dev/shm", os.W_OK) else None


def _kind(error: BaseException) -> str:
    """What went wrong, without what differs from history to history."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = re.sub("[0-9a-f]*[0-9][0-9a-f]*", "N", str(error).partition("\n")[0])[:120]
    return f"{type(error).__name__} in {Path(last.filename).name} {last.name}: {said}"


# What services answer, and stores: where they are stood in for, it comes from the simulation's own code.
_ANSWERS = (BotoCoreError, ClientError, LeanOpsError, OSError)
# Code that does not fit together.
_UNFIT = (AttributeError, ImportError, NameError, TypeError, UnmodelledError)


def of_its_own(error: BaseException) -> bool:
    """Whether the simulation failed, or a fault that does not fit the product any more: that finds nothing.

    What must hold is asserted. Any other error of the simulation's code is its own, unless it is what a
    service answers; and so is one that says that names or arguments do not fit, wherever it comes from.
    """
    if isinstance(error, (AssertionError, *_ANSWERS)):
        return False
    last = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    foreign = type(error).__module__.startswith("pyiceberg")
    return isinstance(error, _UNFIT) or (Path(__file__).parent in last.parents and not foreign)


def shrink(failed: Played) -> Played:
    """The least of a history that fails in the same way."""
    best = failed
    for step in failed.cut.steps:
        less = replace(best.cut, steps=tuple(one for one in best.cut.steps if one != step))
        if (again := once(failed.seed, less)).error == failed.error:
            best = again
    for step in best.cut.steps:
        calmer = replace(best.cut, calm=best.cut.calm | {step})
        if (again := once(failed.seed, calmer)).error == failed.error:
            best = again
    return best


def tell(played: Played) -> None:
    """A history in words, and how to play it again."""
    if not played.error:
        print(f"seed {played.seed} (calls {played.digest[:16]}):", *played.history, sep="\n")
        return
    steps = ",".join(map(str, played.cut.steps))
    calm = f" CALM={','.join(map(str, sorted(played.cut.calm)))}" if played.cut.calm else ""
    kinds = f" KINDS={','.join(played.cut.kinds)}" if played.cut.kinds else ""
    print(f"\n{played.words}\nagain: make simulate SEED={played.seed} STEPS={steps or 'none'}{calm}{kinds}\n")


def tell_coverage(covered: Covered, seeds: int, seconds: float) -> None:
    """What histories have come by."""
    print(f"\n{seeds:,} seeds in {seconds:,.0f} s")
    for kind in ("actor", "fault"):
        found = {what: count for (of, what), count in sorted(covered.items()) if of == kind}
        print(f"{kind}s:", ", ".join(f"{what} {count:,}" for what, count in found.items()))
    missing = sorted(FAULTS.keys() - {what for kind, what in covered if kind == "fault"})
    print("faults that never happened:", ", ".join(missing) or "none")
    every, taken = branches(), {what for kind, what in covered if kind == "branch"}
    print(f"branches of the state machine: {len(taken & every)} of {len(every)}")
    print("not taken:", "; ".join(sorted(every - taken)) or "none")


def many(seeds: Iterable[int], processes: int, kinds: tuple[str, ...] = ()) -> Iterator[Played]:
    """Play seeds, a few at the same time; ``kinds`` as of a ``Cut``."""
    play_one = functools.partial(_of_kinds, kinds)
    if processes == 1:
        yield from map(play_one, seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        for some in _batched(seeds, 8 * processes):
            yield from pool.map(play_one, some)


def _of_kinds(kinds: tuple[str, ...], seed: int) -> Played:
    return once(seed, replace(whole(seed), kinds=kinds))


def _batched(seeds: Iterable[int], size: int) -> Iterator[tuple[int, ...]]:
    left = iter(seeds)
    while some := tuple(itertools.islice(left, size)):
        yield some


def run(seeds: Iterable[int], processes: int, until: float | None = None, kinds: tuple[str, ...] = ()) -> int:
    """Play seeds, all of them or ``until`` a time and the first that fails; the exit code.

    Says each that fails as it comes, and how far it is every five hundred; the first of them is shrunk.
    """
    began, covered, count = time.monotonic(), Counter[tuple[str, str]](), 0
    failed: list[Played] = []
    for played in many(seeds, processes, kinds):
        count += 1
        covered += played.covered
        if played.error:
            failed.append(played)
            print(f"seed {played.seed} failed: {played.error}", flush=True)
        if count % 500 == 0:
            print(f"{count:,} seeds in {time.monotonic() - began:,.0f} s, {len(failed)} failed", flush=True)
        if until is not None and (failed or time.monotonic() > until):
            break
    tell_coverage(covered, count, time.monotonic() - began)
    if not failed:
        return 0
    print(f"\nfailed: {', '.join(str(one.seed) for one in failed)}; shrinking {failed[0].seed}", flush=True)
    tell(shrink(failed[0]))
    return 1


def plant(budget: int, names: Iterable[str]) -> int:
    """Plant every fault; a seed within the budget is to find it. Prints the score.

    A seed that fails without the fault too has found something else: it does not count.
    """
    every = faults()
    names = list(names) or sorted(every)
    missed = []
    print("| fault | found by seed | as |\n|---|---|---|")
    for name in names:
        found, outcome = _find(name, budget)
        print(f"| {name.replace('_', ' ')} | {outcome} |", flush=True)
        if not found:
            missed.append(name)
    count = len(names) - len(missed)
    print(f"\n{count} of {len(names)} found ({100 * count / len(names):.0f} %)")
    return 0 if count >= 0.95 * len(names) else 1


def _find(name: str, budget: int) -> tuple[bool, str]:
    for seed in range(1, budget + 1):
        played = once(seed, fault=name)
        if played.own:
            return False, f"does not fit ({seed}) | {played.error[:110]}"
        if not played.error:
            continue
        if (without := _of_kinds(meets(name), seed)).error:
            print(f"seed {seed} of {name} fails without the fault: {without.error}", file=sys.stderr)
            continue
        return True, f"{seed} | {played.error[:110]}"
    return False, f"not within {budget} |"


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(",") if one and one != "none")


def _kinds_of_steps(text: str) -> tuple[str, ...]:
    kinds = tuple(word for word in text.split(",") if word)
    if unknown := set(kinds) - KINDS.keys():
        raise argparse.ArgumentTypeError(
            f"expected kinds among {', '.join(sorted(KINDS))}, found {', '.join(sorted(unknown))}"
        )
    return kinds


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    kinds = parser.add_subparsers(dest="kind", required=True)
    of = kinds.add_parser("seeds")
    of.add_argument("--first", type=int, default=1)
    of.add_argument("--number", type=int, default=300)
    of.add_argument("--processes", type=int, default=2)
    of.add_argument("--kinds", default=(), type=_kinds_of_steps)
    of = kinds.add_parser("seed")
    of.add_argument("seed", type=int)
    of.add_argument("--steps", default="")
    of.add_argument("--calm", default="")
    of.add_argument("--kinds", default=(), type=_kinds_of_steps)
    of.add_argument("--fault", default="")
    of = kinds.add_parser("soak")
    of.add_argument("--minutes", type=float, required=True)
    of.add_argument("--first", type=int, default=0)
    of.add_argument("--processes", type=int, default=2)
    of = kinds.add_parser("planted")
    of.add_argument("--budget", type=int, default=60)
    of.add_argument("names", nargs="*")
    asked = parser.parse_args()
    match asked.kind:
        case "seeds":
            seeds = range(asked.first, asked.first + asked.number)
            return run(seeds, asked.processes, kinds=asked.kinds)
        case "soak":
            first = asked.first or int(time.time())
            print(f"from seed {first}")
            return run(itertools.count(first), asked.processes, time.monotonic() + 60 * asked.minutes)
        case "planted":
            return plant(asked.budget, asked.names)
    cut = whole(asked.seed)
    if asked.steps:
        cut = Cut(_numbers(asked.steps), frozenset(_numbers(asked.calm)))
    if asked.kinds:
        cut = replace(cut, kinds=asked.kinds)
    played = once(asked.seed, cut, asked.fault)
    tell(played)
    return 1 if played.error else 0


if __name__ == "__main__":
    sys.exit(main())
