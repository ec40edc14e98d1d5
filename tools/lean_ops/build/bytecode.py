"""Bytecode of a layer's libraries, so that a cold start does not compile them.

Wheels bring none, and Lambda mounts layers read-only, so that Python would compile anew at every cold start:
two thirds of what importing a job's handler takes (docs/benchmarks.md, "Start-up without bytecode").

Bytecode is of one minor version of Python and of no machine, so any interpreter of the functions' version can
make it. It does not look at its source again ("unchecked", PEP 552): both lie in one read-only layer.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from common.runtime.errors import PermanentError

LAYER_PLACE: Final = "/opt"
"""Where Lambda unpacks layers (its developer guide, "Layers"); stack traces name files there."""


class NotCompiled(PermanentError):  # noqa: N818 - as said; "error" would say less
    """A library is no Python of the functions' version."""


def compiler(version: str) -> str | None:
    """A Python of this version (``3.13``): this one, or ``python3.13`` of the path; None where none runs."""
    found = (sys.executable, shutil.which(f"python{version}"))
    return next((python for python in found if python is not None and _is_of(python, version)), None)


def _is_of(python: str, version: str) -> bool:
    """Whether it runs, which a name on the path does not say, and is of this version."""
    program = "import sys; print(*sys.version_info[:2], sep='.')"
    done = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=False)  # noqa: S603 - as said
    return done.stdout.strip() == version


def compile_all(folder: Path, python: str, place: str) -> None:
    """Put bytecode beside each module under ``folder``, which will lie at ``place``; raises NotCompiled."""
    done = subprocess.run(  # noqa: S603 - an interpreter of this machine, arguments of our own
        [python, "-I", "-W", "ignore", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash",
         "-s", str(folder), "-p", place, str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NotCompiled(
            f"libraries of a layer: expected {python} to compile all of them, found: "
            f"{(done.stdout + done.stderr).strip()}"
        )
