"""``stack.json``: what is known about a local stack, on disk, for every command that uses it."""

from pathlib import Path

import msgspec
import psutil

from lean_ops.local.errors import LocalStackError

FILE = "stack.json"
LOOPBACK = "127.0.0.1"


class ProcessRecord(msgspec.Struct, frozen=True):
    """A process, beyond doubt: a process id alone may be given to another program later.

    ``started``: seconds since the epoch, as the operating system reports it.
    """

    pid: int
    started: float
    port: int

    @property
    def endpoint(self) -> str:
        """Base URL of the process."""
        return f"http://{LOOPBACK}:{self.port}"

    def running(self) -> bool:
        """Whether this very process still runs."""
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
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


def load(folder: Path) -> StackRecord | None:
    """The record in ``folder``, or None where no stack was started; raises LocalStackError if unreadable."""
    path = folder / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=StackRecord)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise LocalStackError(
            f"{path}: expected the record of a local stack, found something else ({error}); "
            f"remove the folder {folder} to start afresh"
        ) from error
