"""What the locked dependencies hold for one part of the project, on one platform.

``requirements.lock`` pins every dependency of every part, with the hashes of all its files. A layer needs
those of one part (an extra of ``pyproject.toml``) and what they need in turn, for the functions' Python.
"""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from common.runtime.errors import PermanentError
from lean_ops.environment.repository import ROOT

LOCK: Final = ROOT / "requirements.lock"
PYPROJECT: Final = ROOT / "pyproject.toml"

_ENTRY = re.compile(
    r"^(?P<pin>[A-Za-z0-9._-]+==\S+)(?: ; (?P<marker>.+?))? \\\n(?P<hashes>(?:    --hash=.*\n)+)", re.M
)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_MACHINES: Final = {"arm64": "aarch64", "x86_64": "x86_64"}


class UnlockedDependency(PermanentError):  # noqa: N818 - the dependency is unlocked; "error" would say less
    """Something that a part needs has no entry in the lock."""


@dataclass(frozen=True)
class Platform:
    """Where libraries are to run: CPU as PyPI names it (``aarch64``), and Python as ``3.13``."""

    machine: str
    python: str

    @classmethod
    def of_lambda(cls, runtime: str, architecture: str) -> "Platform":
        """The platform of a Lambda runtime (``python3.13``) and architecture (``arm64``)."""
        return cls(_MACHINES[architecture], runtime.removeprefix("python"))

    @property
    def markers(self) -> dict[str, str]:
        """Values of the environment markers (PEP 508) on this platform, a Linux with CPython."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }


@dataclass(frozen=True)
class Pin:
    """One package of the lock: canonical name, version, and the SHA-256 (hex) of each of its files."""

    name: str
    version: str
    sha256: frozenset[str]

    @property
    def line(self) -> str:
        """The requirement as pip reads it in its hash-checking mode."""
        hashes = "".join(f" --hash=sha256:{digest}" for digest in sorted(self.sha256))
        return f"{self.name}=={self.version}{hashes}\n"


def pins(part: str, platform: Platform, lock: Path = LOCK) -> list[Pin]:
    """Everything that ``part`` needs on ``platform``, by name.

    Raises UnlockedDependency when a package that is needed has no entry for the platform.
    """
    locked = _entries(lock.read_text(), platform)
    needed = _closure(part, platform)
    if missing := sorted(needed - locked.keys()):
        raise UnlockedDependency(
            f"{lock.name}: expected an entry for each dependency of {part}, found none for "
            f"{', '.join(missing)}; run make lock"
        )
    return [locked[name] for name in sorted(needed)]


def _entries(lock: str, platform: Platform) -> Mapping[str, Pin]:
    """Entries whose marker holds on the platform, by canonical name."""
    found: dict[str, Pin] = {}
    for entry in _ENTRY.finditer(lock):
        requirement = Requirement(f"{entry['pin']} ; {entry['marker']}" if entry["marker"] else entry["pin"])
        if requirement.marker is None or requirement.marker.evaluate(platform.markers):
            name = canonicalize_name(requirement.name)
            version = entry["pin"].partition("==")[2]
            found[name] = Pin(name, version, frozenset(_HASH.findall(entry["hashes"])))
    return found


def _closure(part: str, platform: Platform) -> set[str]:
    """Canonical names of what ``part`` needs, by the metadata of the packages that are installed here."""
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"][part]
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [Requirement(text) for text in declared]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) not in seen:
            seen.add((name, frozenset(requirement.extras)))
            todo += _needs(name, {"", *requirement.extras}, platform)
    return {name for name, _ in seen}


def _needs(name: str, extras: set[str], platform: Platform) -> Iterator[Requirement]:
    for text in importlib.metadata.requires(name) or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate(platform.markers | {"extra": extra}) for extra in extras):
            yield requirement
