"""Work of shards that ends its process, or finds its disk full, in a module that tasks can import."""

import errno
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from common.lake.merge import LiveFiles, ShardDone, ShardWork


@dataclass(frozen=True)
class Dying:
    """``work`` of which the first ``times`` tasks are killed when their files are written."""

    work: ShardWork
    folder: Path
    times: int

    @property
    def table(self) -> Any:
        return self.work.table

    def near(self, live: LiveFiles, shards: int) -> list[LiveFiles]:
        return self.work.near(live, shards)

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
class Full:
    """``work`` whose disk is full once files are written, whoever does it."""

    work: ShardWork

    @property
    def table(self) -> Any:
        return self.work.table

    def near(self, live: LiveFiles, shards: int) -> list[LiveFiles]:
        return self.work.near(live, shards)

    def __call__(self, rows: pa.Table, live: LiveFiles, attempt: str) -> ShardDone:
        self.work(rows, live, attempt)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
