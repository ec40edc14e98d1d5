"""``stack.json``: what is known about a local stack, on disk, for every command that uses it."""

from pathlib import Path

import msgspec
import psutil

from lean_ops.local.errors import LocalStackError
from lean_ops.local.lifeline import FOLDER_VARIABLE

FILE = "stack.json"
LOOPBACK = "127.0.0.1"


class ProcessRecord(msgspec.Struct, frozen=True):
    """A process of the stack in ``folder``."""

    pid: int
    folder: str
    port: int

    @property
    def endpoint(self) -> str:
        """Base URL of the process."""
        return f"http://{LOOPBACK}:{self.port}"

    def running(self) -> bool:
        """Whether this very process still runs: asked for the folder that it serves, not for its number."""
        try:
            return serves(psutil.Process(self.pid), self.folder)
        except psutil.NoSuchProcess:
            return False


class StackRecord(msgspec.Struct, frozen=True):
    """A stack as it was last started."""

    region: str
    emulator: ProcessRecord
    firehose: ProcessRecord

    @property
    def processes(self) -> dict[str, ProcessRecord]:
        """Its processes by name, in the order in which they are stopped."""
        return {"firehose": self.firehose, "emulator": self.emulator}

    def running(self) -> bool:
        """Whether all of its processes run."""
        return all(process.running() for process in self.processes.values())

    def save(self, folder: Path) -> None:
        """Write ``<folder>/stack.json``, whole or not at all."""
        draft = folder / f"{FILE}.new"
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2))
        draft.replace(folder / FILE)


def listens(pid: int, port: int) -> bool:
    """Whether the process itself listens on ``port``: an answer may come from another one."""
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return False
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)


def serves(process: psutil.Process, folder: str) -> bool:
    """Whether a process was started for the stack in ``folder``; Lambda workers are such processes too.

    Told by the variable that all of them inherit: a process id may be given to another program later, and
    start times move when the clock is set.
    """
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and process.environ().get(FOLDER_VARIABLE) == folder
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return False


def load(folder: Path) -> StackRecord | None:
    """The record in ``folder``, or None where no stack was started; raises LocalStackError if unreadable.

    A record that came with a copied folder speaks of the processes of the original: it counts as none.
    """
    path = folder / FILE
    own = str(folder.resolve())
    try:
        known = msgspec.json.decode(path.read_bytes(), type=StackRecord)
        return known if all(process.folder == own for process in known.processes.values()) else None
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise LocalStackError(
            f"{path}: expected the record of a local stack, found something else ({error}); "
            f"remove the folder {folder} to start afresh"
        ) from error
