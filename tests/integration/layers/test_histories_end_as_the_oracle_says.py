"""Whatever happens to a topic, each key ends in all layers as one pass over what counts of its events gives.

A history is what is sent of one key. Many share a lake, and so the runs, the upkeep, the mishaps and the
operations in between; no key knows of another. ``make test`` goes through 192 of them, ``make
test-histories-long`` through thousands.
"""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from common.contract.retention import Retention
from common.lake.merge import committing
from common.lake.upkeep import CompactionPolicy, RowRetention
from common.runtime.retrying import RetryPolicy

from ...support.contracts import up_to
from ...support.generated import cases
from ...support.oracle import Event, newest_good, single_pass, waiting
from ...support.reconciled import reconciled
from ...support.topic import DELETE, STRICT, alive, event, first_versions
from .test_erased_keys_are_as_if_they_had_never_been import ErasingLake

MENDED: Final = up_to(999, "1.1.0")
KEYS: Final = 64
KEPT: Final = 20
"""Days."""
DAY: Final = 24 * 60
EAGER: Final = CompactionPolicy(files=1)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "RETRY", RetryPolicy(attempts=6, base_s=0.0))


def sent(draw: random.Random, *, ties: bool) -> list[Event]:
    """Few messages, days and minutes a key: copies, corrections, deletes and ``ties`` are common."""
    content: dict[tuple[object, ...], object] = {}
    found: list[Event] = []
    for key in range(KEYS):
        for _ in range(draw.randint(1, 6)):
            minute = DAY * draw.randint(0, 10) + draw.choice([0, 60, 61])
            message = draw.randint(0, 2) if ties else minute
            value = draw.choice([1, 1, 500, "bad", "bad", DELETE])
            # Copies carry the same payload (the event contract).
            value = content.setdefault((key, message, minute), value)
            found.append(event(f"k{key}", f"m{message}", minute, value, len(found)))
    return draw.sample(found, len(found))


class Story:
    """One lake, and what happened to it. ``day``: of the latest upkeep, after the first of June.

    ``short``: RAW keeps rows for less time than the others. Then what it has dropped is in no rebuild, and
    cannot be judged again; and no event ties with another, which RAW would have to be asked about.
    """

    def __init__(self, folder: Path, draw: random.Random, *, short: bool) -> None:
        self.lake, self.draw, self.short = ErasingLake(folder, STRICT), draw, short
        self.maximum, self.day, self.gone = 99, 0, set[str]()
        raw = KEPT // 2 if short else draw.choice([KEPT, 2 * KEPT])
        self.retention = Retention({"raw": raw, "curated": KEPT, "semantic": KEPT, "quarantine": KEPT})

    @property
    def now(self) -> datetime:
        return datetime(2026, 6, 1, 20, tzinfo=UTC) + timedelta(days=self.day)

    @property
    def since(self) -> datetime | None:
        """What was published before is past, once upkeep has come by."""
        return RowRetention(KEPT, self.now).before if self.day else None

    def curate(self) -> None:
        self.lake.curate(self.draw.choice([1, 7, 10**9]))

    def publish(self) -> None:
        self.lake.publish(self.draw.choice([1, 7, 10**9]), lost=self.draw.random() < 0.3)

    def read_again(self) -> None:
        setattr(self.lake, self.draw.choice(["raw_read", "published"]), None)

    def roll_back(self) -> None:
        self.lake.roll_back(self.draw.choice(["curated", "semantic"]), self.draw.randint(0, 3))

    def keep_up(self) -> None:
        self.lake.retention = self.retention
        self.day = max(self.day, (KEPT // 2 if self.short else KEPT) + self.draw.randint(1, 7))
        self.lake.keep_up(self.now, compaction=EAGER)

    def two_at_once(self) -> None:
        things = [self.curate, self.publish, self.keep_up, self.lake.compact_raw]
        self.lake.beside(*self.draw.sample(things, 2))

    def mend(self) -> None:
        """The contract is mended, and what it had refused is judged again, once everything has been read."""
        if self.short:
            return
        self.lake.settle()
        self.lake.contract, self.maximum = MENDED, 999
        self.lake.judge_again()

    def erase(self) -> None:
        key = f"k{self.draw.randrange(KEYS)}"
        self.gone.add(key)
        self.lake.erase(*self.gone)

    def goes_on(self) -> None:
        """Something happens."""
        usual = [self.curate, self.publish, self.curate, self.publish, self.two_at_once]
        rare = [self.read_again, self.roll_back, self.keep_up, self.mend, self.erase, self.lake.compact_raw]
        self.draw.choice(usual if self.draw.random() < 0.65 else rare)()

    def faults(self) -> dict[Any, int]:
        """What a reconciliation of everything finds wrong; whatever happened, it is to be nothing."""
        return reconciled(self.lake).faults

    def ends(self, events: list[Event]) -> None:
        """Everything is read, and upkeep has come by."""
        self.lake.settle(self.draw.choice([5, 10**9]))
        if self.day:
            self.lake.keep_up(self.now, compaction=EAGER)
            self.lake.settle()
        if self.maximum == 999:
            self.lake.judge_again()

        def is_good(payload: dict[str, Any]) -> bool:
            return isinstance(payload["value"], int) and payload["value"] <= self.maximum

        newest = single_pass(events, since=self.since, erased=self.gone)
        upserts = [e for e in newest.values() if e["json_payload"] is not None]
        good = newest_good(events, is_good, since=self.since, erased=self.gone)
        bad = waiting(events, is_good, since=self.since, erased=self.gone)
        assert self.lake.versions("curated") == first_versions(upserts)
        assert self.lake.versions("semantic") == first_versions(good.values())
        held = self.lake.versions("quarantine")
        assert first_versions(bad.values()).items() <= held.items()
        assert not self.faults()
        if self.short:
            return
        # Made anew they are the same: tables are functions of what was sent.
        assert alive(self.lake.rebuilt("curated")) == first_versions(upserts)
        assert alive(self.lake.rebuilt("semantic")) == first_versions(good.values())


@pytest.mark.parametrize("seed", range(cases(3)))
def test_every_key_ends_as_one_pass_over_its_events_gives(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    short = seed % 3 == 2
    events = left = sent(draw, ties=not short)
    story = Story(tmp_path, draw, short=short)
    while left:
        size = draw.randint(1, len(left))
        story.lake.append(left[:size])
        left = left[size:]
        for _ in range(draw.randint(0, 4)):
            story.goes_on()
        assert not story.faults()
    story.ends(events)
    story.lake.close()
