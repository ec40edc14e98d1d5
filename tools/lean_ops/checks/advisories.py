"""Whether a published advisory concerns a locked dependency.

``python -m lean_ops.checks.advisories requirements.lock requirements-tools.lock`` asks the OSV database
through pip-audit about every pinned version and prints one line a finding: file, line, what was found, what
to do.

An advisory that cannot be helped is accepted in ``pyproject.toml``, with its reason::

    [tool.lean-ops.accepted-advisories]
    GHSA-xxxx-xxxx-xxxx = "why it does no harm here, and what would remove it"

An accepted advisory that is no longer found is a finding too, so that the list never outlives its reasons.
Where the database is not in reach nothing can be said, and that is what is printed; with ``--required``
(what CI passes) it is a failure.
"""

import argparse
import json
import re
import subprocess
import sys
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lean_ops.environment.repository import ROOT

OSV: Final = "https://api.osv.dev"
PIP_AUDIT: Final = ROOT / ".venv-tools/bin/pip-audit"


@dataclass(frozen=True)
class Finding:
    """One advisory about one pinned version; ``fixed_in`` may be empty."""

    lock: Path
    line: int
    package: str
    version: str
    advisory: str
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        remedy = (
            f"upgrade to {' or '.join(self.fixed_in)} or newer (make lock)"
            if self.fixed_in
            else "no release mends it: replace the package, or accept it in pyproject.toml with a reason"
        )
        return (
            f"{self.lock.name}:{self.line}: expected no known vulnerability, found {self.advisory} "
            f"in {self.package} {self.version}; {remedy}"
        )


def in_reach(url: str) -> bool:
    """Whether the advisory database at ``url`` answers at all, whatever it answers."""
    try:
        with urllib.request.urlopen(url, timeout=10):  # noqa: S310 - the database's address or a test's loopback
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def audit(lock: Path, url: str) -> list[Finding]:
    """Every advisory about the versions that ``lock`` pins; raises CalledProcessError if the audit breaks."""
    command: list[str | Path] = [
        PIP_AUDIT,
        "--requirement",
        lock,
        "--disable-pip",
        "--no-deps",
        "--require-hashes",
    ]
    service = ["--vulnerability-service", "osv", "--osv-url", f"{url}/v1/query"]
    done = subprocess.run(  # noqa: S603 - the locked tool, on files of this repository
        [*command, *service, "--format", "json", "--progress-spinner", "off"],
        capture_output=True,
        text=True,
        check=False,
    )
    # Status 1 is "found something" and "broke" alike; only the former prints a report.
    if done.returncode not in (0, 1) or not done.stdout.startswith("{"):
        raise subprocess.CalledProcessError(done.returncode, "pip-audit", done.stdout, done.stderr)
    return list(_findings(lock, json.loads(done.stdout)))


def _findings(lock: Path, report: Mapping[str, Any]) -> Iterator[Finding]:
    pins = {
        re.sub(r"[-_.]+", "-", name).lower(): number
        for number, line in enumerate(lock.read_text().splitlines(), start=1)
        for name in re.findall(r"^([A-Za-z0-9._-]+)==", line)
    }
    for dependency in report["dependencies"]:
        if "skip_reason" in dependency:
            raise ValueError(
                f"{lock.name}: {dependency['name']} was not audited: {dependency['skip_reason']}"
            )
        for vulnerability in dependency["vulns"]:
            yield Finding(
                lock,
                pins[dependency["name"]],
                dependency["name"],
                dependency["version"],
                vulnerability["id"],
                tuple(vulnerability["fix_versions"]),
            )


def judge(findings: Sequence[Finding], accepted: Mapping[str, str]) -> list[str]:
    """What is to be done: one sentence a finding that nobody accepted, or an acceptance that is spent."""
    known = {finding.advisory for finding in findings}
    return [str(finding) for finding in findings if finding.advisory not in accepted] + [
        f"pyproject.toml: expected {advisory} among the advisories found, since it is accepted there; "
        "it is gone: remove it from [tool.lean-ops.accepted-advisories]"
        for advisory in accepted
        if advisory not in known
    ]


def accepted_advisories(project: Path) -> dict[str, str]:
    """The accepted advisories of a ``pyproject.toml``, each with its reason."""
    tools = tomllib.loads(project.read_text())["tool"]
    return {
        str(key): str(reason)
        for key, reason in tools.get("lean-ops", {}).get("accepted-advisories", {}).items()
    }


def main(arguments: Sequence[str]) -> int:
    """Exit status of the command: 0 when nothing is to be done, 1 when something is."""
    parser = argparse.ArgumentParser(
        prog="advisories", description="Look up advisories about locked packages."
    )
    parser.add_argument("locks", nargs="+", type=Path)
    parser.add_argument("--required", action="store_true", help="fail where the database is not in reach")
    parser.add_argument("--url", default=OSV, help="the database; default %(default)s")
    options = parser.parse_args(arguments)
    if not in_reach(options.url):
        print(
            f"advisories: expected {urllib.parse.urlsplit(options.url).netloc} in reach, it is not; "
            f"{' and '.join(lock.name for lock in options.locks)} were NOT audited",
            file=sys.stderr,
        )
        return 1 if options.required else 0
    findings = [finding for lock in options.locks for finding in audit(lock, options.url)]
    sentences = judge(findings, accepted_advisories(ROOT / "pyproject.toml"))
    for sentence in sentences:
        print(sentence, file=sys.stderr)
    return 1 if sentences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
