"""How many cases a generated test makes: few in `make test`, as many times more as `make test-generated` says."""

import os

TIMES = int(os.environ.get("GENERATED_TIMES", "1"))


def cases(usual: int) -> int:
    """``usual`` cases, or the multiple that was asked for."""
    return usual * TIMES
