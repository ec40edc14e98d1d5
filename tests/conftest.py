"""Every test starts from a clean environment: no AWS setting of the person running it is seen."""

import os
import shutil
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.loaders import create_loader
from hypothesis import HealthCheck, settings
from pyiceberg.serializers import ToOutputFile

from .support.java_metadata import refusals

TERRAFORM = Path(__file__).parent / "terraform"

# Tests write a million small files: in memory, where there is room for them.
MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# On a busy machine making and trying a case take long: that is judged nowhere.
settings.register_profile("any load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any load")


# Whoever starts this in the background may have interrupts ignored, and every program that a test starts and
# interrupts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave the tests of plans to `make test-terraform`, which brings Terraform's provider."""
    return True if collection_path == TERRAFORM and "TERRAFORM_PROVIDER" not in os.environ else None


@pytest.fixture(autouse=True)
def _no_aws_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "LEAN_OPS_", "PYICEBERG_", "POWERTOOLS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session", autouse=True)
def _service_descriptions_are_read_once() -> Iterator[None]:
    """The sessions of a test process share a loader: each would parse megabytes of JSON of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(create_loader))
        yield


@pytest.fixture(scope="session", autouse=True)
def _tables_are_readable_to_java() -> Iterator[None]:
    """Whatever metadata a test writes in this process, Iceberg's Java library could read."""
    write = ToOutputFile.table_metadata

    def checked(metadata: Any, *rest: Any, **options: Any) -> None:
        assert refusals(metadata.model_dump_json()) == []
        write(metadata, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ToOutputFile, "table_metadata", staticmethod(checked))
        yield
