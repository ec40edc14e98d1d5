"""Whoever ends the page is told that it has ended, and nothing else: no thread of it fails on its way out."""

import subprocess
import sys

SITE = """
import os, signal, threading, time
from lean_ops.sight.pages import Place
from lean_ops.sight.serving import Site
def find():
    raise OSError("no environment")
def interrupt():
    time.sleep(1)  # until it waits, which is what is interrupted
    os.kill(os.getpid(), signal.SIGINT)
try:
    with Site(find, Place("nowhere", ""), 0) as site:
        threading.Thread(target=interrupt, daemon=True).start()
        site.wait()
except KeyboardInterrupt:
    print("left:", *(one.name for one in threading.enumerate() if one.name == "page"))
    time.sleep(1)  # for what a thread that was left behind has to complain of
"""


def test_it_ends_in_order() -> None:
    done = subprocess.run([sys.executable, "-c", SITE], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("left:\n", "", 0)
