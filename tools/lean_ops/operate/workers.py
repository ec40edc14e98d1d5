"""Which process does a piece of work, and whether that process is known to be gone."""

import json
import os
import socket
import uuid
from dataclasses import dataclass
from functools import cache
from typing import Final

import psutil

# The start time of a process is computed from the clock, which may be set meanwhile; an id is not given to
# another process this soon.
_TOLERANCE_S: Final = 60


@dataclass(frozen=True)
class Worker:
    """A process: the machine (name and network card), its id there, when it started (seconds since 1970)."""

    machine: str
    pid: int
    started: int

    @classmethod
    def parse(cls, text: str) -> "Worker":
        """The inverse of its fields as a JSON object; raises ValueError for anything else."""
        fields = json.loads(text)
        if not isinstance(fields, dict) or {name: type(value) for name, value in fields.items()} != {
            "machine": str,
            "pid": int,
            "started": int,
        }:
            raise ValueError("expected an object with machine, pid and started")
        return cls(**fields)

    @property
    def gone(self) -> bool:
        """Whether it is known not to run any more; False for a process of another machine."""
        if self.machine != _machine():
            return False
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            return abs(process.create_time() - self.started) > _TOLERANCE_S
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False


def this_process() -> Worker:
    """The process that this is called in."""
    return Worker(_machine(), os.getpid(), int(psutil.Process().create_time()))


@cache
def _machine() -> str:
    return f"{socket.gethostname()}/{uuid.getnode():012x}"
