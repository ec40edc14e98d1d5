"""What engines that are fetched have in common: where they lie, which Java they get, and how they get there.

An engine is fetched once for all checkouts, into the user's cache, when somebody first asks for it.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lean-ops"
_JAVAS: Final = ("/usr/lib/jvm/*/bin/java", "/opt/*/bin/java")
_SAID_CHARS: Final = 500


def java(least: int, most: int | None = None) -> Path | None:
    """A Java of such a version that runs: JAVA_HOME's, the one in PATH, or one where Debian puts them."""
    named = [Path(os.environ["JAVA_HOME"]) / "bin/java"] if "JAVA_HOME" in os.environ else []
    found = shutil.which("java")
    there = [path for pattern in _JAVAS for path in sorted(Path("/").glob(pattern[1:]), reverse=True)]
    for path in [*named, *([Path(found)] if found else []), *there]:
        if path.exists() and least <= _version(path) <= (most or _version(path)):
            return path
    return None


def _version(path: Path) -> int:
    """The first number of a Java's version; 0 of what cannot be run, or is none."""
    try:
        said = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603 - a Java of this machine
    except OSError:
        return 0
    number = said.partition('version "')[2].partition(".")[0].strip('"\n')
    return int(number) if number.isdigit() else 0


def from_maven(artifact: str, into: Path) -> list[str]:
    """The command that puts an artifact, by its coordinates, into a folder."""
    copy = ["dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={into}"]
    return ["mvn", "--batch-mode", "--quiet", *copy]


def fetch(
    home: Path,
    commands: Callable[[Path], Iterable[Sequence[str]]],
    unpack: Callable[[Path], Path] = lambda fetched: fetched,
) -> str:
    """Fetch what is to be at ``home``, unless it is there; what a command said that failed, else nothing.

    ``commands``: fill the folder that they are given. ``unpack`` gives the part of it that is meant. Of two
    that fetch at the same time, the first counts.
    """
    if home.exists():
        return ""
    fetched = home.with_name(f"{home.name}.{os.getpid()}")
    fetched.mkdir(parents=True, exist_ok=True)
    try:
        for command in commands(fetched):
            try:
                done = subprocess.run(list(command), capture_output=True, text=True, check=False)  # noqa: S603 - arguments of our own, no shell
            except OSError as error:
                return f"{command[0]}: expected to run it, found {error.strerror}; install it"
            if done.returncode:
                return f"{' '.join(command[:6])}: {(done.stdout + done.stderr)[-_SAID_CHARS:]}"
        meant = unpack(fetched)
        try:
            meant.rename(home)
        except OSError:  # somebody else was first
            if not home.exists():
                raise
    finally:
        shutil.rmtree(fetched, ignore_errors=True)
    return ""
