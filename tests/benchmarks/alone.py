"""Ways that are measured each in a process of its own, so that one's memory is not another's peak."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from page import write_section


@dataclass(frozen=True)
class Benchmark:
    """``prepare`` fills a folder with so many rows; ``measured`` goes one way there, and says what it found.

    ``path``: of the program, which calls itself for each measurement. ``section`` of docs/benchmarks.md.
    ``head``: the first line, with the number of rows.
    """

    path: str
    description: str | None
    section: str
    head: str
    ways: Iterable[str]
    prepare: Callable[[Path, int], object]
    measured: Callable[[Path, str], str]

    def main(self) -> None:
        """Measure and print."""
        parser = argparse.ArgumentParser(
            description=self.description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        parser.add_argument("--rows", type=int, default=1_000_000)
        parser.add_argument("--runs", type=int, default=3)
        parser.add_argument("--write", action="store_true", help="write the figures into docs/benchmarks.md")
        parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
        options = parser.parse_args()
        if options.one:
            folder, way = options.one
            start = time.process_time()
            found = self.measured(Path(folder), way)
            seconds = time.process_time() - start
            print(json.dumps({"seconds": seconds, "mib": peak_mib(), "found": found}))
            return
        with tempfile.TemporaryDirectory() as folder:
            self.prepare(Path(folder), options.rows)
            text = "\n".join([self.head.format(rows=options.rows), "", *self._table(folder, options.runs)])
        print(text)
        if options.write:
            command = f"python tests/benchmarks/{Path(self.path).name} --write"
            write_section(self.section, command, text)

    def _table(self, folder: str, runs: int) -> Iterator[str]:
        yield "| | median, CPU | fastest to slowest | peak | found |"
        yield "|---|---|---|---|---|"
        for way in self.ways:
            of = [self._alone(folder, way) for _ in range(runs)]
            seconds = [one["seconds"] for one in of]
            yield (
                f"| {way} | {statistics.median(seconds):.1f} s | {min(seconds):.1f} to {max(seconds):.1f} s "
                f"| {max(one['mib'] for one in of):,.0f} MiB | {of[0]['found']} |"
            )

    def _alone(self, folder: str, way: str) -> dict[str, Any]:
        command = [sys.executable, self.path, "--one", folder, way]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        one: dict[str, Any] = json.loads(done.stdout)
        return one


def peak_mib() -> float:
    """Of this process since it began; ``getrusage`` would give the parent's, where that is more."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
