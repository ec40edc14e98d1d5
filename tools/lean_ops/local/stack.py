"""The local stack: two processes on loopback, their state in one folder.

    stack = Stack(Path(".lean-ops/local"))
    stack.up()       # both processes answer; does nothing when they already do
    stack.status()   # what runs, where
    stack.down()     # orderly: the stand-in delivers what it holds, the emulator saves its state

``up`` after ``down`` continues with the same queues, tables and functions. Stacks in different folders do
not see each other. The folder holds::

    stack.json              ports and process ids
    emulator.log firehose.log
    emulator/ s3/ firehose/ the state; ``stopped-in-order`` when it is whole
    tmp/                    work directories of Lambda functions

The emulator saves its state while it runs (``lean_ops.local.durability``): ``kill -9`` takes back what its
queue accepted in the last moments, no commit of a table. The stand-in's journal loses nothing. After ``up``
``Stack.crashed`` says whether the run before ended so. Nobody but the owner may enter the folder.

Processes never outlive their purpose (``lean_ops.local.lifeline``): an interrupted ``up`` leaves none, and
those of a stack with ``tied_to_parent`` end with the process that started it.
"""

import contextlib
import fcntl
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from lean_ops.local import disk, lifeline, record
from lean_ops.local.errors import LocalStackError
from lean_ops.local.record import LOOPBACK, ProcessRecord, StackRecord

DEFAULT_FOLDER = Path(".lean-ops/local")
REGION = "eu-west-1"
# The emulator's own account and credentials: it accepts any.
ACCOUNT = "000000000000"
CREDENTIAL = "test"

_STOPPED = "stopped-in-order"  # written by the emulator (lean_ops.local.durability)
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 20.0
_HEALTH = {"emulator": "/_ministack/health", "firehose": "/_health"}
# Settings of the person running the command must not reach the emulator and its functions.
_FOREIGN_SETTINGS = ("AWS_", "LEAN_OPS_", "PYICEBERG_", "POWERTOOLS_", "MINISTACK_")

# Processes belong to the folder, not to the Stack object that started them; whichever object stops them,
# this process has to collect their exit codes.
_STARTED_HERE: list["subprocess.Popen[bytes]"] = []


@dataclass(frozen=True)
class StackStatus:
    """``record`` of the last start, if any, and which of its processes run now."""

    folder: Path
    record: StackRecord | None
    running: dict[str, bool]

    @property
    def up(self) -> bool:
        """Whether every process runs."""
        return bool(self.running) and all(self.running.values())


class Stack:
    """A local stack in ``folder``.

    ``ports``: of the emulator and of the stand-in; chosen when None, and kept from one start to the next
    where they are free. ``wait_scale`` multiplies the waits and retry pauses of state machines.
    """

    def __init__(
        self,
        folder: Path = DEFAULT_FOLDER,
        *,
        tied_to_parent: bool = False,
        ports: tuple[int, int] | None = None,
        wait_scale: float = 1.0,
    ) -> None:
        self.folder = folder.resolve()
        self._tied_to_parent = tied_to_parent
        self._ports = ports
        self._wait_scale = wait_scale
        self._lifeline: lifeline.Lifeline | None = None
        self.crashed = False

    def up(self) -> StackRecord:
        """Start what does not run, wait until it answers, and return where it is.

        Raises LocalStackError when a port is taken or a process does not start; nothing is left running.
        """
        with self._exclusively():
            if shortage := disk.shortage(self.folder):
                raise LocalStackError(shortage)
            before = self._record()
            if before is not None and before.running():
                return before
            self._stop(before)
            self.crashed = before is not None and not (self.folder / _STOPPED).exists()
            (self.folder / _STOPPED).unlink(missing_ok=True)
            return self._start(*self._choose_ports(before))

    def down(self, *, wipe: bool = False) -> None:
        """Stop everything, in order; with ``wipe`` the folder goes as well. Safe to run twice.

        Raises LocalStackError, with everything stopped, where the emulator could not save its state whole.
        """
        if not self.folder.exists():
            return
        with self._exclusively():
            known = self._record()
            ran = known is not None and known.emulator.running()
            # What is saved at an orderly end would go with the folder.
            self._stop(known, signal.SIGKILL if wipe else signal.SIGTERM)
            if wipe:
                shutil.rmtree(self.folder)
            elif ran and not (self.folder / _STOPPED).exists():
                raise LocalStackError(
                    f"emulator: expected its state saved whole in {self.folder}, found part of it not "
                    f"({disk.shortage(self.folder) or 'emulator.log says why'}); see that it can be written, "
                    "then `lean-ops up` says by the ledger what is to be sent again"
                )

    def status(self) -> StackStatus:
        """What was started, and what of it runs."""
        known = self._record()
        running = {} if known is None else {name: p.running() for name, p in known.processes.items()}
        return StackStatus(self.folder, known, running)

    def _record(self) -> StackRecord | None:
        return record.load(self.folder)

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        """One command at a time may change this stack; what the disk refuses is said in one sentence."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)  # events may be personal data, and the key of their hashes is here
            with (self.folder / "lock").open("w") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise LocalStackError(
                f"local stack: expected to work in {self.folder}, found {error.strerror} ({error.filename}); "
                "free the place or choose another folder"
            ) from error

    def _choose_ports(self, before: StackRecord | None) -> tuple[int, int]:
        if self._ports is not None:
            for port in self._ports:
                if not _is_free(port):
                    raise LocalStackError(
                        f"port {port}: expected it to be free, found it in use by {_holder(port)}; "
                        "stop that, or choose another port"
                    )
            return self._ports
        if before is not None and _is_free(before.emulator.port) and _is_free(before.firehose.port):
            return before.emulator.port, before.firehose.port
        with socket.socket() as first, socket.socket() as second:
            first.bind((LOOPBACK, 0))
            second.bind((LOOPBACK, 0))
            return first.getsockname()[1], second.getsockname()[1]

    def _start(self, emulator_port: int, firehose_port: int) -> StackRecord:
        """Start both processes; whatever stops that half-way, Ctrl-C included, ends them again."""
        line = lifeline.Lifeline()
        children: dict[str, subprocess.Popen[bytes]] = {}
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(_end_at_once, children)
            on_failure.callback(line.cut)
            environ = self._environment(line, emulator_port, firehose_port)
            firehose_arguments = [str(firehose_port), str(self.folder / "firehose")]
            # Both at once: each takes a good part of a second to import its libraries.
            children["emulator"] = self._spawn("emulator", [], environ, line)
            children["firehose"] = self._spawn("firehose", firehose_arguments, environ, line)
            stack = StackRecord(
                REGION,
                emulator=self._await_health("emulator", children["emulator"], emulator_port),
                firehose=self._await_health("firehose", children["firehose"], firehose_port),
            )
            stack.save(self.folder)
            on_failure.pop_all()
        _STARTED_HERE.extend(children.values())
        if self._tied_to_parent:
            self._lifeline = line
        else:
            line.release(children=len(children))
        return stack

    def _environment(self, line: lifeline.Lifeline, emulator_port: int, firehose_port: int) -> dict[str, str]:
        """One environment for both processes; the emulator's Lambda workers inherit it."""
        (self.folder / "tmp").mkdir(exist_ok=True)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN_SETTINGS)}
        return inherited | {
            "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{emulator_port}",
            "AWS_ENDPOINT_URL_FIREHOSE": f"http://{LOOPBACK}:{firehose_port}",
            "AWS_ACCESS_KEY_ID": CREDENTIAL,
            "AWS_SECRET_ACCESS_KEY": CREDENTIAL,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": LOOPBACK,  # nothing else is talked to
            "no_proxy": LOOPBACK,
            "GATEWAY_PORT": str(emulator_port),
            "BIND_HOST": LOOPBACK,
            "MINISTACK_HOST": LOOPBACK,
            "MINISTACK_REGION": REGION,
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self.folder / "emulator"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self.folder / "s3"),
            "TMPDIR": str(self.folder / "tmp"),
            "LAMBDA_EXECUTOR": "local",
            "SFN_WAIT_SCALE": str(self._wait_scale),
            "IOT_MTLS_ENABLED": "0",  # would listen on every interface, on a fixed port
            "SFTP_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
            "PYTHONUNBUFFERED": "1",
            lifeline.FD_VARIABLE: str(line.child_fd),
            lifeline.FOLDER_VARIABLE: str(self.folder),
        }

    def _spawn(
        self, name: str, arguments: Sequence[str], environ: dict[str, str], line: lifeline.Lifeline
    ) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - this interpreter and a module of this package
                [sys.executable, "-m", f"lean_ops.local.{name}", *arguments],
                env=environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=0o077,
                pass_fds=(line.child_fd,),
            )

    def _await_health(self, name: str, process: subprocess.Popen[bytes], port: int) -> ProcessRecord:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            if _answers(port, _HEALTH[name]) and record.listens(process.pid, port):
                return ProcessRecord(process.pid, str(self.folder), port)
            time.sleep(0.02)
        found = "no answer" if process.returncode is None else f"exit code {process.returncode}"
        raise LocalStackError(
            f"{name}: expected it to answer on port {port} within {_START_TIMEOUT_S:.0f} s, found {found}; "
            f"its log {self.folder / f'{name}.log'} ends with: {self._last_line_of_log(name)}"
        )

    def _last_line_of_log(self, name: str) -> str:
        lines = (self.folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "(nothing)"

    def _cut_lifeline(self) -> None:
        if self._lifeline is not None:
            self._lifeline.cut()
            self._lifeline = None

    def _kill_stragglers(self) -> None:
        """End what the ended processes left behind: Lambda workers in the middle of an invocation."""
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        # Until none serves, not until none is left: an ended one may wait a second for whoever inherited it.
        while left := [
            process
            for process in psutil.process_iter()
            if process.pid != os.getpid() and record.serves(process, str(self.folder))
        ]:
            for process in left:
                if time.monotonic() > deadline:
                    raise psutil.TimeoutExpired(_STOP_TIMEOUT_S, process.pid)
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.005)

    def _stop(self, known: StackRecord | None, how: signal.Signals = signal.SIGTERM) -> None:
        """End the stack's processes: asked first, killed when they do not listen, workers included.

        ``how``: SIGKILL asks nobody.
        """
        if known is None:
            return
        if known.firehose.running() and not known.emulator.running():
            # It has nobody to deliver to and would wait for the emulator; its journal keeps every record.
            _signal(known.firehose, signal.SIGKILL)
        for process in known.processes.values():
            _signal(process, how)
            _await_end(process)
        self._kill_stragglers()
        self._cut_lifeline()
        _reap()
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)


def _reap() -> None:
    """Collect the exit codes of ended processes."""
    _STARTED_HERE[:] = [child for child in _STARTED_HERE if child.poll() is None]


def _await_end(process: ProcessRecord) -> None:
    """Wait until the process is gone, killed where it does not go by itself."""
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while process.running():
        if time.monotonic() > deadline:
            _signal(process, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(0.01)


def _signal(process: ProcessRecord, number: signal.Signals) -> None:
    if process.running():
        with contextlib.suppress(ProcessLookupError):  # it may end between the two
            os.kill(process.pid, number)


def _end_at_once(children: dict[str, "subprocess.Popen[bytes]"]) -> None:
    """Kill the process group of each child, which is its own."""
    for child in children.values():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port in TIME_WAIT after a restart is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _holder(port: int) -> str:
    """Who listens on a port, as far as the operating system tells."""
    for process in psutil.process_iter(["pid", "name"]):
        with contextlib.suppress(psutil.AccessDenied, psutil.NoSuchProcess):
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return f"{process.info['name']} (process {process.info['pid']})"
    return "a process of another user"
