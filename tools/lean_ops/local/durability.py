"""The emulator's state on disk while it runs, so that ``kill -9`` takes back next to nothing.

ministack saves its state when it is stopped in order. Here it does so

- before it answers a call that changes a table or database in Glue: a commit that was confirmed is on disk;
- for everything else in the background, again and again: after each save it waits a second, or twenty times
  what the save took, so that a large queue does not keep the process busy.

What a kill can take back is what the queue accepted, and what DynamoDB wrote, since the last save. A
checkpoint may be older or newer than its table then, which reading copes with (``GetAllCheckpoints``);
messages that were taken back are told by the ledger at the next ``lean-ops up``.
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
from ministack.services import glue

from lean_ops.local.lifeline import FOLDER_VARIABLE

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
                persistence.save_state(name, _unchanging(state))

    def finally_(self, services: dict[str, Callable[[], Any]]) -> None:
        """Save all services, for the last time."""
        self._stop.set()
        with self._lock:
            self._ended = True
            persistence.save_all(services)

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
