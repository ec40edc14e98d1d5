"""The emulator's process: ministack with the bridges, configured by ministack's own variables.

Started by ``lean_ops.local.stack`` as ``python -m lean_ops.local.emulator``.
"""

import os

from lean_ops.local import lifeline


def main() -> None:
    """Serve until SIGTERM; the state is saved meanwhile and at the end."""
    lifeline.hold(os.environ)
    from lean_ops.local import bridges, durability  # noqa: PLC0415 - takes a while, and the lifeline comes first

    bridges.install()
    durability.install()
    from hypercorn.config import Config  # noqa: PLC0415 - comes with the server

    # SDKs keep their connections open; waiting for them to close would take three seconds of every stop.
    Config.graceful_timeout = 0.3
    from ministack.app import main as serve  # noqa: PLC0415 - the server sees the bridged functions only

    serve()


if __name__ == "__main__":
    main()
