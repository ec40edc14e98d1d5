"""How long each function takes to start, and how large it is.

    python tests/benchmarks/bench_start_up.py [--runs 7] [--write]

Start-up is the import of a function's handler in a fresh interpreter of this machine: what Lambda does first
in a cold start, once it has fetched the code (its CPU differs, and grows with the memory of the function).
Libraries have bytecode, as in layers that were built where the functions' Python is; a function's own code
has none, and Lambda mounts it read-only, so that every cold start compiles it. "Compiled anew" is where
libraries have none either. The size is that of code and layers for Lambda's CPU, unpacked, as ``make build``
has built them.
"""

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import zipfile

from page import write_section

from lean_ops.build.building import (
    BUILD,
    LAMBDA_LIMIT_BYTES,
    MANIFEST,
    MAX_UNPACKED_BYTES,
    Archive,
    Built,
    unpacked_bytes,
)
from lean_ops.build.packaging import code_archive
from lean_ops.environment.repository import FunctionEntry, function_catalogue

IMPORT = """
import sys, time
sys.path.insert(0, sys.argv[1])
started = time.perf_counter()
__import__(sys.argv[2])
seconds = time.perf_counter() - started
import resource
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def start(entry: FunctionEntry, *, bytecode: bool = True) -> tuple[float, float]:
    """Import a handler of an archive in a fresh interpreter; gives seconds, and MiB of memory afterwards.

    Without ``bytecode`` nothing is found of the libraries either.
    """
    module = entry.handler.rpartition(".")[0]
    with tempfile.TemporaryDirectory() as code, tempfile.TemporaryDirectory() as nothing:
        zipfile.ZipFile(io.BytesIO(code_archive(entry.name))).extractall(code)
        elsewhere = [] if bytecode else ["-X", f"pycache_prefix={nothing}"]
        command = [sys.executable, "-I", "-B", *elsewhere, "-c", IMPORT, code, module]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, kibibytes = done.stdout.split()
    return float(seconds), float(kibibytes) / 1024


def last_build() -> Built | None:
    """Sizes of what ``make build`` made last; None where it has not run."""
    manifest = BUILD / MANIFEST
    if not manifest.exists():
        return None
    written = json.loads(manifest.read_text())
    archives = {
        kind: {name: Archive(**record) for name, record in written[kind].items()}
        for kind in ("functions", "layers")
    }
    return Built(archives["functions"], archives["layers"], Archive(**written["spark"]))


def main() -> None:
    """Print start-up, memory and size of every function."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="write the figures into docs/benchmarks.md")
    options = parser.parse_args()
    catalogue = function_catalogue()
    runs: dict[str, list[tuple[float, float]]] = {entry.name: [] for entry in catalogue}
    anew: dict[str, list[float]] = {entry.name: [] for entry in catalogue}
    for _ in range(options.runs):  # taking turns, so that a busy moment of the machine hits all
        for entry in catalogue:
            runs[entry.name].append(start(entry))
            anew[entry.name].append(start(entry, bytecode=False)[0])
    built = last_build()
    lines = [
        "| function | import, median | fastest to slowest | compiled anew | memory after it | unpacked |",
        "|---|---|---|---|---|---|",
    ]
    for entry in catalogue:
        seconds, memory = zip(*runs[entry.name], strict=True)
        size = f"{unpacked_bytes(entry, built) / 2**20:.1f} MiB" if built else "run `make build`"
        lines.append(
            f"| {entry.name} | {statistics.median(seconds):.2f} s "
            f"| {min(seconds):.2f} to {max(seconds):.2f} s | {statistics.median(anew[entry.name]):.2f} s "
            f"| {statistics.median(memory):.0f} MiB | {size} |"
        )
    if built:
        largest = max(unpacked_bytes(entry, built) for entry in catalogue)
        lines.append(
            f"\nThe largest function has {largest / 1e6:.1f} MB ({largest / 2**20:.1f} MiB) unpacked; the "
            f"build refuses more than {MAX_UNPACKED_BYTES / 1e6:.0f} MB, Lambda more than "
            f"{LAMBDA_LIMIT_BYTES / 1e6:.0f} MB (250 MiB)."
        )
    text = "\n".join(lines)
    print(text)
    if options.write:
        write_section("Start-up and size of the functions", "python tests/benchmarks/bench_start_up.py", text)


if __name__ == "__main__":
    main()
