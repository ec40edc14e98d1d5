"""A child process that ends when its parent does, however the parent ends.

The parent keeps the write end of a pipe open, its children watch the other end. When the parent is gone,
even by ``kill -9``, the operating system closes the pipe and each child ends its whole process group, Lambda
workers included. A parent that wants its children to live on writes one byte for each (``release``). So
every start is covered: Ctrl-C in the middle of it leaves nothing behind, and only a stack that is really up
stays.

A child also ends when the folder with its state disappears, so that deleting the folder is enough.
"""

import os
import select
import signal
import threading
from collections.abc import MutableMapping
from pathlib import Path

FD_VARIABLE = "LEAN_OPS_LIFELINE_FD"
FOLDER_VARIABLE = "LEAN_OPS_STACK_FOLDER"

_RELEASED = b"R"
_FOLDER_CHECK_S = 2.0


class Lifeline:
    """The parent's end. ``child_fd`` goes to the child by ``pass_fds`` and the variable ``FD_VARIABLE``."""

    def __init__(self) -> None:
        self.child_fd, self._parent_fd = os.pipe()

    def release(self, children: int) -> None:
        """Let the children outlive this process; each takes one byte."""
        os.write(self._parent_fd, _RELEASED * children)
        self.cut()

    def cut(self) -> None:
        """Close the pipe: a child that was not released ends."""
        os.close(self._parent_fd)
        os.close(self.child_fd)


def hold(environ: MutableMapping[str, str]) -> None:
    """In the child: watch the lifeline from a background thread.

    Must be called by the leader of a process group (``start_new_session``); does nothing in a process that
    was started by hand, without the variables.
    """
    fd = int(environ.pop(FD_VARIABLE, "-1"))
    folder = environ.get(FOLDER_VARIABLE)
    if fd < 0 or folder is None:
        return
    threading.Thread(target=_watch, args=(fd, Path(folder)), name="lifeline", daemon=True).start()


def _watch(fd: int, folder: Path) -> None:
    released = False
    own = os.open(folder, os.O_RDONLY)
    # Another folder may be made where this one was: a removed one has no name left, whatever is in its place.
    while folder.exists() and os.fstat(own).st_nlink:
        ready, _, _ = select.select([] if released else [fd], [], [], _FOLDER_CHECK_S)
        if ready:
            if os.read(fd, 1) != _RELEASED:
                break
            released = True
    # SIGKILL: nobody is left who could wait for an orderly end, and acknowledged records are in the journal.
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)
