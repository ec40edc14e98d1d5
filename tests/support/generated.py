"""How many cases a generated test makes: few in `make test`, more in `make test-generated`."""

import os

TIMES = int(os.environ.get("GENERATED_TIMES", "1"))


def cases(usual: int) -> int:
    """``usual`` cases, or the multiple that was asked for."""
    return usual * TIMES
