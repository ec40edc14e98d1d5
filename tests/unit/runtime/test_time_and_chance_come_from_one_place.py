"""Time, waiting, chance and new names come from one module, and ruff refuses other sources."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from common.runtime import outside
from common.runtime.retrying import RetryPolicy

ROOT = Path(__file__).parents[3]
OTHERWISE = (
    "import time; time.time()",
    "from time import monotonic; monotonic()",
    "import time; time.sleep(1)",
    "from datetime import UTC, datetime; datetime.now(UTC)",
    "from random import random; random()",
    "import secrets; secrets.token_hex()",
    "import uuid; uuid.uuid4()",
    'import boto3; boto3.client("s3")',
    "import boto3; boto3.Session()",
    "from pyarrow.fs import S3FileSystem; S3FileSystem()",
)
IN = "modules/compute/lambda/curation/new.py", "tools/lean_ops/operate/new.py"


class Other(outside.Outside):
    def __init__(self) -> None:
        self.waited: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 6, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return sum(self.waited)

    def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)

    def uniform(self, least: float, most: float) -> float:
        return most

    def new_id(self) -> UUID:
        return UUID(int=1)


def test_another_world_can_stand_in_and_leaves_no_trace() -> None:
    other = Other()
    with outside.standing_in(other):
        RetryPolicy(base_s=1.0).wait(2)
        assert outside.monotonic() == 4.0
        assert outside.now() == datetime(2026, 6, 1, tzinfo=UTC)
        assert outside.new_id() == UUID(int=1)
    assert other.waited == [4.0]
    assert outside.new_id() != outside.new_id()


@pytest.mark.parametrize("place", IN)
def test_ruff_refuses_other_sources(place: str) -> None:
    assert _refused(place) == list(range(1, len(OTHERWISE) + 1))


def test_ruff_lets_the_one_place_be() -> None:
    assert _refused("modules/compute/lambda/common/runtime/outside.py") == []


def _refused(place: str) -> list[int]:
    """Lines of OTHERWISE that ruff refuses in a file of that name."""
    command = [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--output-format", "json", "-q"]
    done = subprocess.run(
        [*command, "--stdin-filename", place, "-"],
        input="\n".join(OTHERWISE),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    return sorted({found["location"]["row"] for found in json.loads(done.stdout)})
