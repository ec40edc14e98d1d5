"""How long somebody waits who opens the page of `lean-ops console`: on the demo's stack and with many topics.

    python tests/benchmarks/bench_console.py [--topics 100] [--runs 5] [--write]

Each run starts the command anew and opens the address that it prints in a browser without a past (the
system's Chromium). The first paint is Chromium's own first contentful paint; *everything* is when no part
says any more that it is still being read.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from page import write_section
from playwright.sync_api import Browser, sync_playwright

from lean_ops.accounts import observation
from lean_ops.commands.options import stack_folder
from lean_ops.local.target import LocalTarget

LEAN_OPS = str(Path(sys.executable).with_name("lean-ops"))
STACK = "bench-console"
EVENTS = 20
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
ANSWERED = "performance.getEntriesByType('navigation')[0].responseStart"
READING = "!document.querySelector('main').innerText.includes('is being read')"


def call(*arguments: str, environ: Mapping[str, str] | None = None) -> None:
    """One command on the stack."""
    command = [LEAN_OPS, *arguments, "--stack", STACK]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, **(environ or {})}
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")


@contextmanager
def demo() -> Iterator[None]:
    """The stack as `make demo` leaves it."""
    call("demo", "--events", "5000")
    yield
    call("down", "--wipe")


@contextmanager
def many(topics: int) -> Iterator[None]:
    """A stack of so many topics, each with events that have come to Curated."""
    names = [f"busy_{number}" for number in range(topics)]
    call("up", environ={"LEAN_OPS_TOPICS": ",".join(names)})
    target = LocalTarget.running(stack_folder(STACK))
    url, sqs = target.queue_url(target.source_queue), target.client("sqs")
    bodies = [
        json.dumps(
            {
                "message_id": f"{name}-{number}",
                "idempotency_key": f"{name}-{number}",
                "topic_name": name,
                "publish_time": datetime.now(UTC).isoformat(),
                "payload": {"device": {"id": f"d{number}"}, "reading": {"value": number}},
            }
        )
        for name in names
        for number in range(EVENTS)
    ]
    for first in range(0, len(bodies), 10):
        some = bodies[first : first + 10]
        sqs.send_message_batch(
            QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": body} for n, body in enumerate(some)]
        )
    assert observation.settle(target, timeout_s=600) == 0
    call("run", environ={"LEAN_OPS_TOPICS": ",".join(names)})
    yield
    call("down", "--wipe")


def opened(browser: Browser) -> dict[str, float]:
    """One start of the command and one look: seconds to the address, to the first paint, to everything."""
    began = time.monotonic()
    command = [LEAN_OPS, "console", "--stack", STACK, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = ""
        while "}" not in said:
            said += process.stdout.readline()
        address = json.loads(said)["address"]
        ready = time.monotonic() - began
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.goto(address)
        page.wait_for_function(PAINTED)
        first = page.evaluate(PAINTED) / 1000
        answered = page.evaluate(ANSWERED) / 1000
        opened_at = time.monotonic()
        page.wait_for_function(READING, timeout=120_000)
        whole = first + time.monotonic() - opened_at
        page.reload()
        page.wait_for_function(PAINTED)
        again = page.evaluate(PAINTED) / 1000
        context.close()
        process.terminate()
    return {
        "command to address": ready,
        "answer of the server": answered,
        "first paint": first,
        "everything": whole,
        "paint again": again,
    }


def measured(browser: Browser, runs: int, what: str) -> list[str]:
    """Rows of the table for one stack."""
    found = [opened(browser) for _ in range(runs)]
    return [
        f"| {what} | {name} | {statistics.median(one[name] for one in found):.2f} | "
        f"{min(one[name] for one in found):.2f} to {max(one[name] for one in found):.2f} |"
        for name in found[0]
    ]


def main() -> None:
    """Print what a first look takes, medians of all runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--topics", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write the figures into docs/benchmarks.md")
    options = parser.parse_args()
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise SystemExit("expected a browser, found none; `apt-get install chromium` has one")
    lines = ["| stack | what | seconds, median | lowest to highest |", "|---|---|---|---|"]
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        with demo():
            lines += measured(browser, options.runs, "the demo's")
        with many(options.topics):
            lines += measured(browser, options.runs, f"{options.topics} topics")
        browser.close()
    text = "\n".join(lines)
    print(text)
    if options.write:
        command = f"python tests/benchmarks/bench_console.py --topics {options.topics} --runs {options.runs}"
        goals = "Goals: first paint within 1 s on the demo's stack, within 3 s with 100 topics."
        write_section("The page", command, f"{goals}\n\n{text}")


if __name__ == "__main__":
    main()
