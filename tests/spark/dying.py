"""Work of shards that ends its process, finds its disk full, or is late; tasks can import this module."""

import errno
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from common.lake.merge import LiveFiles, ShardDone, ShardWork


@dataclass(frozen=True)
class _Instead:
    """Stands in for ``work``."""

    work: ShardWork

    @property
    def table(self) -> Any:
        return self.work.table

    def near(self, live: LiveFiles, shards: int) -> list[LiveFiles]:
        return self.work.near(live, shards)


@dataclass(frozen=True)
class Dying(_Instead):
    """``work`` of which the first ``times`` tasks are killed when their files are written."""

    folder: Path
    times: int

    def __call__(self, rows: pa.Table, live: LiveFiles, attempt: str) -> ShardDone:
        done = self.work(rows, live, attempt)
        for number in range(self.times):
            try:
                (self.folder / str(number)).touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        return done


@dataclass(frozen=True)
class Full(_Instead):
    """``work`` whose disk is full once files are written, whoever does it."""

    def __call__(self, rows: pa.Table, live: LiveFiles, attempt: str) -> ShardDone:
        self.work(rows, live, attempt)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@dataclass(frozen=True)
class Late(_Instead):
    """``work`` of which one task writes its files when another has failed as often as it may.

    ``folder`` gets a file for each failure. ``tries``: how many of one task end its job.
    """

    folder: Path
    tries: int

    def __call__(self, rows: pa.Table, live: LiveFiles, attempt: str) -> ShardDone:
        try:
            (self.folder / "late").touch(exist_ok=False)
        except FileExistsError:
            (self.folder / f"failed-{attempt}").touch()  # the shard's number, and Spark's of this try
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        while max(self.failures().values(), default=0) < self.tries:
            time.sleep(0.01)
        time.sleep(0.5)  # Spark gives up meanwhile; it kills this process after two seconds
        return self.work(rows, live, attempt)

    def failures(self) -> Counter[str]:
        """How often each shard has failed."""
        return Counter(path.name.split("-")[1] for path in self.folder.glob("failed-*"))
