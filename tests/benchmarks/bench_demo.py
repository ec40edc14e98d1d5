"""How long 100,000 events take through the whole pipeline on this machine, and how much memory.

    python tests/benchmarks/bench_demo.py [--events 100000] [--runs 3] [--write]

Every run starts a stack of its own and wipes it afterwards; the weather series comes on top of the events.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from page import write_section

LEAN_OPS = Path(sys.executable).with_name("lean-ops")
STACK = "bench"


def run(events: int) -> dict[str, Any]:
    """One demonstration; its report."""
    command: list[str | Path] = [
        LEAN_OPS,
        "demo",
        "--events",
        str(events),
        "--stack",
        STACK,
        "--stop",
        "--json",
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    subprocess.run([LEAN_OPS, "down", "--wipe", "--stack", STACK], check=True, capture_output=True)
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["balanced"]
    return report


def main() -> None:
    """Print phases and memory, medians of all runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write the figures into docs/benchmarks.md")
    options = parser.parse_args()
    reports = [run(options.events) for _ in range(options.runs)]

    lines = ["| phase | seconds, median | lowest to highest |", "|---|---|---|"]
    for phase in reports[0]["seconds"]:
        seconds = [report["seconds"][phase] for report in reports]
        lines.append(
            f"| {phase} | {statistics.median(seconds):.1f} | {min(seconds):.1f} to {max(seconds):.1f} |"
        )
    lines += ["", "| process | peak memory, highest |", "|---|---|"]
    for process in sorted(reports[0]["peak_memory"]):
        peak = max(report["peak_memory"].get(process, 0) for report in reports)
        lines.append(f"| {process} | {peak / 1e6:,.0f} MB |")
    text = "\n".join(lines)
    print(text)
    if options.write:
        command = f"python tests/benchmarks/bench_demo.py --events {options.events} --runs {options.runs}"
        write_section("The whole pipeline on one machine", command, text)


if __name__ == "__main__":
    main()
