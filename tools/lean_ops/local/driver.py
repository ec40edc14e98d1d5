"""A job's driver on this machine: ``python -m lean_ops.local.driver spark.job …`` runs that module.

It ends with the process that started it, however that ends (``lean_ops.local.lifeline``), and with it what it
has started.
"""

import os
import runpy
import sys

from lean_ops.local import lifeline


def main() -> None:
    """Run the module that the first argument names, with the other arguments."""
    lifeline.hold(os.environ)
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main()
