"""What the deployed archives hold, and that they are the ones that were built.

``python -m lean_ops.build.provenance sbom`` writes ``sbom.cdx.json`` (CycloneDX) beside the archives: every
package of every layer with its version and hashes, as the lock has them. ``python -m
lean_ops.build.provenance verify [--repository owner/name]`` compares each archive with the hash that the
build wrote into its manifest and, given the repository, has ``gh`` verify that its workflow built it.
"""

import argparse
import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from common.runtime.errors import PermanentError
from lean_ops.build.building import BUILD, MANIFEST
from lean_ops.build.lockfile import Pin, Platform, pins
from lean_ops.environment.repository import ROOT, FunctionEntry, function_catalogue

SBOM: Final = "sbom.cdx.json"
CYCLONEDX: Final = ROOT / ".venv-tools/bin/cyclonedx-py"


class ForeignArchive(PermanentError):  # noqa: N818 - the archive is foreign; "error" would say less
    """An archive is not the one that the build described, or nothing says where it comes from."""


def packages(catalogue: Sequence[FunctionEntry]) -> list[Pin]:
    """Every package of every layer, by name, as it is locked for the functions' platform."""
    platform = Platform.of_lambda(catalogue[0].runtime, catalogue[0].architecture)
    layers = {layer for entry in catalogue for layer in entry.layers}
    found = {pin.name: pin for layer in layers for pin in pins(layer, platform)}
    return [found[name] for name in sorted(found)]


def write_sbom(folder: Path) -> int:
    """Write the bill of materials into ``folder``: same bytes for the same lock; the number of packages."""
    held = packages(function_catalogue())
    reproducible = ["--output-reproducible", "--validate", "--short-PURLs"]  # package URLs without an index
    subprocess.run(  # noqa: S603 - the locked tool, on the lock of this repository
        [CYCLONEDX, "requirements", *reproducible, "-o", folder / SBOM, "-"],
        input="".join(pin.line for pin in held),
        text=True,
        check=True,
    )
    return len(held)


def archives(folder: Path) -> list[Path]:
    """The archives of ``folder`` that its manifest names, each compared with the hash that stands there.

    Raises ForeignArchive for a missing manifest, a missing archive, or one with another hash.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise ForeignArchive(f"{manifest}: expected the manifest of a build, found none; run make build")
    written = json.loads(manifest.read_text())
    entries = [*written["functions"].values(), *written["layers"].values(), written["spark"]]
    return [_checked(folder, entry) for entry in entries]


def _checked(folder: Path, entry: dict[str, str]) -> Path:
    path = folder / entry["archive"]
    found = base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode() if path.is_file() else None
    if found != entry["sha256"]:
        raise ForeignArchive(
            f"{path.name}: expected SHA-256 {entry['sha256']} as the build wrote it, found "
            f"{found or 'no such file'}; build again, and deploy nothing of this folder"
        )
    return path


def verify_attestations(paths: Iterable[Path], repository: str) -> None:
    """Have GitHub's command line verify that a workflow of ``repository`` built each archive."""
    for path in paths:
        done = subprocess.run(  # noqa: S603 - paths of the manifest
            ["gh", "attestation", "verify", path, "--repo", repository],  # noqa: S607 - wherever gh is installed
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ForeignArchive(
                f"{path.name}: expected an attestation that {repository} built it, found: "
                f"{done.stderr.strip()}; deploy only what the build job kept"
            )


def main(arguments: Sequence[str]) -> int:
    """Exit status of the command; what is wrong is one sentence on standard error."""
    parser = argparse.ArgumentParser(prog="provenance", description="Describe or verify the built archives.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sbom", help="write the bill of materials")
    verify = commands.add_parser("verify", help="compare archives with manifest and attestations")
    verify.add_argument("--repository", help="owner/name whose workflow must have built the archives")
    options = parser.parse_args(arguments)
    try:
        if options.command == "sbom":
            print(f"{SBOM}: {write_sbom(BUILD)} packages")
            return 0
        built = archives(BUILD)
        if options.repository:
            verify_attestations(built, options.repository)
    except PermanentError as error:
        print(f"provenance: {error}", file=sys.stderr)
        return 1
    attested = f"built by {options.repository}" if options.repository else "attestations not asked for"
    print(f"{len(built)} archives as the build wrote them; {attested}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
