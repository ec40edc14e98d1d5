"""``python -m lean_ops.build``: everything that Terraform deploys of code, into modules/compute/.build.

Writes an archive of each function, of each layer and of the jobs on Spark (their code and libraries in one,
which Spark unpacks beside driver and executors; interpreter and pyspark are the release's), and last
``manifest.json`` with their hashes, which Terraform reads: an interrupted build leaves no manifest. A layer
is named after what it is made from, and is made again only when that changes. What does not fit Lambda is
refused.

What the verification shows: every shared object of a layer is for the functions' CPU and C library; and
every handler imports, with a client of each AWS service and a trial of what its libraries load late, from its
archive and its layers alone. That runs on this machine, so where CPU or Python differ from the functions', it
runs against the same locked versions unpacked and trimmed for this machine: it shows that nothing is left
out, not that Lambda starts it.
"""

import base64
import hashlib
import inspect
import json
import platform as host
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from common.runtime.errors import PermanentError
from lean_ops.build import binaries, bytecode, layers, packaging
from lean_ops.build.bytecode import LAYER_PLACE, compile_all, compiler
from lean_ops.build.layers import GLIBC, SERVICES, download, pack, unpack
from lean_ops.build.lockfile import Pin, Platform, pins
from lean_ops.build.packaging import code_archive
from lean_ops.environment.repository import (
    LAMBDA_CODE,
    ROOT,
    FunctionEntry,
    function_catalogue,
    spark_entry,
)

BUILD: Final = ROOT / "modules/compute/.build"
MANIFEST: Final = "manifest.json"

# Lambda quota "Deployment package (.zip file archive) size": a function and its layers, unpacked, 250 MiB.
# Held lower, so that the next release of Arrow does not stop a deployment.
LAMBDA_LIMIT_BYTES: Final = 250 * 2**20
MAX_UNPACKED_BYTES: Final = 230 * 10**6

# Locked wheels are for Linux: elsewhere archives are built and checked, and no handler is tried.
TRIES_HANDLERS: Final = sys.platform == "linux"

# The functions that are jobs on Spark as well, and the code of those (docs/adr/0029).
JOBS: Final = tuple(spark_entry().environment)
JOB_CODE: Final = (packaging.SHARED_PACKAGE, *JOBS, "spark")

# Programs that use what a layer's libraries load late, by layer.
TRIALS: Final = {layer: Path(__file__).with_name(f"trial_{layer}.py") for layer in ("lake", "sources")}


class PackageTooLarge(PermanentError):  # noqa: N818 - the package is too large; "error" would say less
    """A function with its layers exceeds what Lambda unpacks."""


class BrokenPackage(PermanentError):  # noqa: N818 - the package is broken; "error" would say less
    """A built function does not start with what its archives hold."""


@dataclass(frozen=True)
class Archive:
    """One archive of the manifest: file name, SHA-256 as Lambda reports it (base64), bytes."""

    archive: str
    sha256: str
    bytes: int
    unpacked_bytes: int


@dataclass(frozen=True)
class Built:
    """What a build wrote, by name of function and of layer."""

    functions: Mapping[str, Archive]
    layers: Mapping[str, Archive]
    spark: Archive


def build(target: Path = BUILD) -> Built:
    """Build and verify all archives in ``target``.

    Raises PackageTooLarge, BrokenPackage, ForeignBinary, and DownloadFailed or UnlockedDependency for layers.
    """
    catalogue = function_catalogue()
    target.mkdir(parents=True, exist_ok=True)
    (target / MANIFEST).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        built = Built(
            _functions(catalogue, target),
            _layers(catalogue, target, Path(scratch) / "lambda"),
            _jobs(catalogue, target, Path(scratch) / "spark"),
        )
        check_sizes(catalogue, built)
        if TRIES_HANDLERS:
            verify(catalogue, target, Path(scratch) / "here")
    (target / MANIFEST).write_text(json.dumps(asdict(built), indent=2) + "\n")
    return built


def _functions(catalogue: Sequence[FunctionEntry], target: Path) -> dict[str, Archive]:
    archives = {}
    for entry in catalogue:
        path = target / f"{entry.name}.zip"
        path.write_bytes(code_archive(entry.name))
        archives[entry.name] = _record(path, path.stat().st_size)  # stored, not compressed
    return archives


def _layers(catalogue: Sequence[FunctionEntry], target: Path, scratch: Path) -> dict[str, Archive]:
    ((runtime, architecture),) = {(entry.runtime, entry.architecture) for entry in catalogue}
    platform = Platform.of_lambda(runtime, architecture)
    python = compiler(platform.python)
    archives = {}
    for name, own in layer_pins(catalogue, platform).items():
        path = target / f"layer-{name}-{_recipe(own, platform, compiles=python is not None)}.zip"
        if not path.exists():
            folder = unpacked(own, platform, target, scratch / name)
            binaries.check(folder, platform.machine, GLIBC)
            if python is not None:
                compile_all(folder, python, f"{LAYER_PLACE}/python")
            for outdated in target.glob(f"layer-{name}-*.zip"):
                outdated.unlink()
            pack(folder, scratch / path.name, "python")
            shutil.move(scratch / path.name, path)
        with zipfile.ZipFile(path) as archive:
            archives[name] = _record(path, sum(entry.file_size for entry in archive.infolist()))
    return archives


def _jobs(catalogue: Sequence[FunctionEntry], target: Path, scratch: Path) -> Archive:
    """The archive of the jobs: what their functions have in layers, and their code, named after both."""
    jobs = [entry for entry in catalogue if entry.name in JOBS]
    ((runtime, architecture),) = {(entry.runtime, entry.architecture) for entry in jobs}
    platform = Platform.of_lambda(runtime, architecture)
    own = job_pins(catalogue, platform)
    code = packaging.sources(JOB_CODE)
    digest = hashlib.sha256(_recipe(own, platform).encode())
    for path in code:
        digest.update(path.relative_to(LAMBDA_CODE).as_posix().encode() + b"\0" + path.read_bytes())
    archive = target / f"spark-{digest.hexdigest()[:16]}.zip"
    if not archive.exists():
        folder = unpacked(own, platform, target, scratch)
        _add_code(folder, code)
        for outdated in target.glob("spark-*.zip"):
            outdated.unlink()
        pack(folder, scratch.with_name(archive.name))
        shutil.move(scratch.with_name(archive.name), archive)
    with zipfile.ZipFile(archive) as packed:
        return _record(archive, sum(entry.file_size for entry in packed.infolist()))


def job_pins(catalogue: Iterable[FunctionEntry], platform: Platform) -> list[Pin]:
    """Packages of the layers of all functions that are jobs on Spark too."""
    of_jobs = [entry for entry in catalogue if entry.name in JOBS]
    return [pin for own in layer_pins(of_jobs, platform).values() for pin in own]


def _add_code(folder: Path, code: Iterable[Path]) -> None:
    for path in code:
        place = folder / path.relative_to(LAMBDA_CODE)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def layer_pins(catalogue: Iterable[FunctionEntry], platform: Platform) -> dict[str, list[Pin]]:
    """Packages of each layer, in the order in which functions stack them.

    A layer leaves out what every function that has it finds in the layers below it, and nothing else.
    """
    stacks = [entry.layers for entry in catalogue]
    found: dict[str, list[Pin]] = {}
    for name in dict.fromkeys(layer for stack in stacks for layer in stack):
        below = [
            {pin.name for layer in stack[: stack.index(name)] for pin in found.get(layer, ())}
            for stack in stacks
            if name in stack
        ]
        taken = set.intersection(*below)
        found[name] = [pin for pin in pins(name, platform) if pin.name not in taken]
    return found


def unpacked(own: Sequence[Pin], platform: Platform, cache: Path, folder: Path) -> Path:
    """``folder`` with the trimmed libraries of a layer; wheels are kept under ``cache``."""
    folder.mkdir(parents=True)
    unpack(download(own, platform, cache / "wheels" / f"{platform.machine}-{platform.python}"), folder)
    return folder


def _recipe(own: Sequence[Pin], platform: Platform, *, compiles: bool = False) -> str:
    """A name for what a layer is made from: packages, platform, rules of trimming and packing, bytecode."""
    parts = [*(pin.line for pin in own), platform.machine, platform.python, f"bytecode: {compiles}"]
    rules = b"".join(inspect.getsource(module).encode() for module in (layers, binaries, bytecode))
    return hashlib.sha256("".join(parts).encode() + rules).hexdigest()[:16]


def check_sizes(catalogue: Iterable[FunctionEntry], built: Built) -> None:
    """Raise PackageTooLarge for a function whose code and layers pass MAX_UNPACKED_BYTES."""
    for entry in catalogue:
        total = unpacked_bytes(entry, built)
        if total > MAX_UNPACKED_BYTES:
            raise PackageTooLarge(
                f"function {entry.name}: expected at most {MAX_UNPACKED_BYTES:,} bytes of code and layers, "
                f"unpacked (Lambda refuses more than {LAMBDA_LIMIT_BYTES:,}), found {total:,}; trim more in "
                "tools/lean_ops/build/layers.py, or take a layer away"
            )


def unpacked_bytes(entry: FunctionEntry, built: Built) -> int:
    """Bytes of a function's code and layers, as Lambda counts them against its limit."""
    libraries = sum(built.layers[layer].unpacked_bytes for layer in entry.layers)
    return built.functions[entry.name].unpacked_bytes + libraries


def verify(catalogue: Sequence[FunctionEntry], target: Path, scratch: Path) -> None:
    """Import each built function with nothing but its archive and its layers; raises BrokenPackage."""
    here = Platform(host.machine(), f"{sys.version_info.major}.{sys.version_info.minor}")
    folders = {
        name: unpacked(own, here, target, scratch / name) for name, own in layer_pins(catalogue, here).items()
    }
    for entry in catalogue:
        code = scratch / "code"
        with zipfile.ZipFile(target / f"{entry.name}.zip") as archive:
            archive.extractall(code)
        path = [code, *(folders[layer] for layer in entry.layers)]
        import_alone(entry.handler, path, [TRIALS[layer] for layer in entry.layers if layer in TRIALS])
        shutil.rmtree(code)
    _add_code(scratch / "jobs", packaging.sources(JOB_CODE))
    # Without pyspark, which the release has: what tasks do, and what the driver calls.
    libraries = [
        folders[layer] for layer in dict.fromkeys(n for e in catalogue if e.name in JOBS for n in e.layers)
    ]
    for callee in ("spark.parts.flatten_part", "curation.handler.run", "semantic.handler.run"):
        import_alone(callee, [scratch / "jobs", *libraries])


def import_alone(handler: str, path: Sequence[Path], trials: Sequence[Path] = ()) -> None:
    """Import ``handler``, make clients and run ``trials`` in an interpreter that sees only ``path``.

    Raises BrokenPackage with what the interpreter said.
    """
    module, _, function = handler.rpartition(".")
    program = (
        f"import sys; sys.path[:0] = {[str(p) for p in path]!r}\n"
        "import importlib, runpy, boto3\n"
        f"assert callable(getattr(importlib.import_module({module!r}), {function!r}))\n"
        f"for name in {list(SERVICES)!r}: boto3.client(name, region_name='eu-west-1')\n"
        f"for path in {[str(trial) for trial in trials]!r}: runpy.run_path(path)\n"
    )
    done = subprocess.run(  # noqa: S603 - this interpreter, a program of our own
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BrokenPackage(
            f"handler {handler}: expected it to import from its archive and layers alone, found: "
            f"{done.stderr.strip().splitlines()[-1]}; see what tools/lean_ops/build/layers.py leaves out"
        )


def _record(path: Path, unpacked: int) -> Archive:
    digest = base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
    return Archive(path.name, digest, path.stat().st_size, unpacked)


def report(built: Built) -> list[str]:
    """Sizes, a line each: archives, layers, and the largest function with its layers."""
    lines = [f"{name:24} {a.bytes / 1024:9,.0f} KiB" for name, a in built.functions.items()]
    lines += [
        f"layer {name:18} {a.bytes / 1024:9,.0f} KiB, {a.unpacked_bytes / 2**20:,.1f} MiB unpacked"
        for name, a in built.layers.items()
    ]
    jobs = f"{built.spark.bytes / 1024:9,.0f} KiB, {built.spark.unpacked_bytes / 2**20:,.1f} MiB unpacked"
    lines.append(f"{'jobs on Spark':24} {jobs}, no pyspark and no jar")
    largest = max(unpacked_bytes(entry, built) for entry in function_catalogue()) / 1e6
    version = function_catalogue()[0].runtime.removeprefix("python")
    if compiler(version) is None:
        lines.append(
            f"layers have no bytecode, since no python{version} is on this machine: a cold start compiles "
            "them (docs/deploy.md, Once: tools)"
        )
    limits = f"of {MAX_UNPACKED_BYTES / 1e6:,.0f} allowed here and {LAMBDA_LIMIT_BYTES / 1e6:,.0f} by Lambda"
    return [*lines, f"largest function with its layers: {largest:,.1f} MB unpacked, {limits}"]


def main() -> int:
    """Build, verify and print sizes; 1 with a sentence when something is wrong."""
    try:
        built = build()
    except PermanentError as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    print(*report(built), sep="\n")
    tried = "every handler imports alone" if TRIES_HANDLERS else "no handler was tried: that takes Linux"
    print(f"every shared object is for the functions' CPU and C library; {tried}")
    return 0
