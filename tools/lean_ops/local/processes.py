"""Peak memory of the processes of a stack, sampled while they work."""

import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from lean_ops.local.stack import Stack

_SAMPLE_S: Final = 0.2


class PeakMemory:
    """Samples the stack's processes, Lambda workers included, and this one; a context manager.

    ``peaks`` maps a name (a process of the stack, a function, or ``lean-ops``) to the greatest resident
    memory of one such process, in bytes.
    """

    def __init__(self, stack: Stack) -> None:
        self.peaks: dict[str, int] = {}
        self._stack: Final = stack
        self._stop: Final = threading.Event()
        self._thread: Final = threading.Thread(target=self._sample, daemon=True, name="peak-memory")
        self._names: dict[int, str] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while True:
            self._look()
            if self._stop.wait(_SAMPLE_S):
                self._look()
                return

    def _look(self) -> None:
        found = self._stack.status().record
        roots = {"lean-ops": psutil.Process().pid}
        if found is not None:
            roots |= {name: process.pid for name, process in found.processes.items()}
        for name, pid in roots.items():
            with suppress(psutil.Error):
                self._note(name, pid)
                if name != "lean-ops":
                    for child in psutil.Process(pid).children(recursive=True):
                        self._note(self._function(child) or f"{name} worker", child.pid)

    def _function(self, process: psutil.Process) -> str | None:
        """The function that a Lambda worker runs."""
        if process.pid not in self._names:
            with suppress(psutil.Error):
                name = process.environ().get("AWS_LAMBDA_FUNCTION_NAME")
                if name:
                    self._names[process.pid] = name
        return self._names.get(process.pid)

    def _note(self, name: str, pid: int) -> None:
        # The kernel keeps the peak of a process; a sample alone would miss short ones.
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    self.peaks[name] = max(self.peaks.get(name, 0), int(line.split()[1]) * 1024)
                    return
        with suppress(psutil.Error):
            self.peaks[name] = max(self.peaks.get(name, 0), psutil.Process(pid).memory_info().rss)
