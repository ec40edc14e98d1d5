"""The emulator's state on disk while it runs, so that ``kill -9`` takes back next to nothing.

ministack saves its state when it is stopped in order. Here it does so

- before it answers a call that changes a table or database in Glue: a commit that was confirmed is on disk;
- for everything else in the background, again and again: after each save it waits a second, or twenty times
  what the save took, so that a large queue does not keep the process busy.

What a kill can take back is what the queue accepted, and what DynamoDB wrote, since the last save. A
checkpoint may be older or newer than its table then, which reading copes with (``GetAllCheckpoints``);
messages that were taken back are told by the ledger at the next ``lean-ops up``.

What the disk does not take is not confirmed: see ``lean_ops.local.disk``. ministack only logs a save that
failed, so that each is looked at again here. ``stopped-in-order`` is written once the last save was whole.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ministack import app
from ministack.core import persistence
from ministack.services import glue, s3

from lean_ops.local import disk
from lean_ops.local.errors import LocalStackError
from lean_ops.local.lifeline import FOLDER_VARIABLE

STOPPED: Final = "stopped-in-order"

_PAUSE_S: Final = 1.0
_SHARE: Final = 20

_log = logging.getLogger(__name__)


def install() -> None:
    """Save as described above, from the moment that the saved state of before was read."""
    saving = _Saving()
    load = app._load_persisted_state

    def load_and_begin() -> None:
        load()
        saving.begin()

    app._load_persisted_state = load_and_begin
    app.save_all = saving.finally_  # what the emulator calls when it is stopped in order
    _write_glue_through(saving)
    _keep_objects_or_refuse_them()
    folder = Path(os.environ[FOLDER_VARIABLE])
    for service in ("s3", "sqs", "dynamodb", "glue", "states"):
        app.SERVICE_HANDLERS[service] = disk.guard(service, app.SERVICE_HANDLERS[service], folder)


class _Saving:
    """One save at a time; none before the state was read, which would empty it, and none after the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = self._ended = False
        self._stop = threading.Event()
        self._folder = Path(os.environ[FOLDER_VARIABLE])

    def begin(self) -> None:
        """Save in the background from now on."""
        self._begun = True
        threading.Thread(target=self._again_and_again, name="save-state", daemon=True).start()

    def one(self, name: str, state: Callable[[], Any]) -> None:
        """Save one service."""
        with self._lock:
            # Who removes the folder wants the state gone; saving would make both anew.
            if self._begun and not self._ended and self._folder.exists():
                _save(name, state)

    def finally_(self, services: dict[str, Callable[[], Any]]) -> None:
        """Save all services, for the last time, and say that they are whole if they are."""
        self._stop.set()
        whole = True
        with self._lock:
            self._ended = True
            if not self._folder.exists():
                return  # removed: the state is wanted gone
            for name, state in services.items():
                try:
                    _save(name, state)
                except Exception:  # the others are saved none the less
                    _log.exception("state of %s not saved", name)
                    whole = False
        if whole:
            (self._folder / STOPPED).touch()

    def _again_and_again(self) -> None:
        pause = _PAUSE_S
        while not self._stop.wait(pause):
            started = time.monotonic()
            for name, state in app._build_persistence_save_dict().items():
                try:
                    self.one(name, state)
                except Exception:  # the next round tries again; the emulator has to go on
                    _log.exception("state of %s not saved", name)
            pause = max(_PAUSE_S, _SHARE * (time.monotonic() - started))


def _save(name: str, state: Callable[[], Any]) -> None:
    """Save one service; raises LocalStackError where ministack would only log that it could not."""
    content = _unchanging(state)
    if content is None:
        return  # a service that was not loaded has nothing to be saved
    path = Path(persistence.STATE_DIR) / f"{name}.json"
    before = path.stat().st_ino if path.exists() else None
    persistence.save_state(name, content)
    # A save puts another file into the place of the one of before.
    if not path.exists() or path.stat().st_ino == before:
        raise LocalStackError(f"{path}: expected the state saved, found the disk refuse it; free some")


def _keep_objects_or_refuse_them() -> None:
    """An object that the disk does not take is an error of the call, where ministack logs a warning."""
    write, persist = s3._atomic_write, s3._persist_object
    failed = threading.local()

    def noting(*arguments: Any, **options: Any) -> None:
        try:
            write(*arguments, **options)
        except OSError as error:
            failed.error = error
            raise

    def kept(*arguments: Any) -> None:
        failed.error = None
        persist(*arguments)
        if failed.error is not None:
            raise failed.error

    s3._atomic_write, s3._persist_object = noting, kept


def _unchanging(state: Callable[[], Any], tries: int = 20) -> Any:
    """A copy of a service's state; taken again where another thread changed it meanwhile."""
    for _ in range(tries - 1):
        try:
            return state()
        except RuntimeError:  # "dictionary changed size during iteration"
            time.sleep(0.005)
    return state()


def _write_glue_through(saving: _Saving) -> None:
    handle = glue._handle_request_sync

    def saved(*request: Any) -> Any:
        answer = handle(*request)
        if not _only_reads(request):
            saving.one("glue", glue.get_state)
        return answer

    glue._handle_request_sync = saved


def _only_reads(request: tuple[Any, ...]) -> bool:
    """Whether a call to Glue changes nothing, by the name of its action; what cannot be told may change."""
    headers = request[2] if len(request) > 2 and isinstance(request[2], dict) else {}
    target = next((str(v) for k, v in headers.items() if str(k).lower() == "x-amz-target"), "")
    return target.rpartition(".")[2].startswith(("Get", "BatchGet", "List", "Search", "Check"))
