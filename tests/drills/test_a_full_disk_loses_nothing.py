"""On a full disk nothing more is accepted, everything that was accepted is there after it was freed."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from lean_ops.accounts import observation
from lean_ops.accounts.ledger import Ledger
from lean_ops.commands.options import STACKS
from lean_ops.local import disk
from lean_ops.local.errors import LocalStackError
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.operate.doctor import pipeline

from ..support import edges
from ..support.edges import Ended

BUCKET: Any = {"Bucket": "lake", "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
SIZE = 4 * disk.RESERVE_BYTES


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or umount is None:
        pytest.skip("a file system of its own can be mounted by root only")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(tmp_path)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run([umount, "--lazy", str(tmp_path)], check=True)


def fill(folder: Path) -> Path:
    """Take all the space that there is."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return ballast


def refused(error: ClientError) -> bool:
    return error.response["Error"]["Code"] == "InsufficientStorage" and "MiB free" in str(error)


@pytest.fixture
def lean_ops(small_disk: Path) -> Iterator[Callable[..., Ended]]:
    """The command line on a stack that lives there."""
    (small_disk / "stack").mkdir()
    link = STACKS / f"test-full-{os.getpid()}"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(small_disk / "stack")

    def run(*arguments: str) -> Ended:
        ended = edges.lean_ops([*arguments, f"--stack={link.name}"])
        assert "Traceback" not in ended.out + ended.err, ended
        return ended

    yield run
    for ballast in small_disk.glob("ballast"):
        ballast.unlink()
    run("down", "--wipe")
    link.unlink()


def test_every_command_says_what_to_do_and_all_is_reconciled_once_there_is_room(
    small_disk: Path, lean_ops: Callable[..., Ended]
) -> None:
    def is_refused(*arguments: str) -> str:
        ended = lean_ops(*arguments)
        assert ended.code == 1, (arguments, ended)
        if arguments != ("doctor",):
            assert ended.err.startswith("lean-ops: "), (arguments, ended)
            assert "\n" not in ended.err.strip(), (arguments, ended)
        said = ended.err + ended.out
        assert "MiB free" in said or "free some" in said, (arguments, ended)
        return said

    def works(*arguments: str) -> str:
        ended = lean_ops(*arguments)
        assert ended.code == 0, (arguments, ended)
        return ended.out

    works("up")
    works("send", "--events", "60", "--wait")
    works("send", "--events", "60", "--seed", "2")
    ballast = fill(small_disk)
    is_refused("send", "--events", "60", "--seed", "3")
    is_refused("run")
    assert "✗ disk" in is_refused("doctor")
    for arguments in (("pause", "--reason", "x"), ("rebuild", "--layer", "curated", "--reason", "x")):
        is_refused(*arguments)
    assert lean_ops("query", "SELECT count(*) FROM raw_events").code == 0
    is_refused("down")
    is_refused("up")

    ballast.unlink()
    told = works("up")
    if "send --resume" in told:
        works("send", "--resume", "--wait")
    works("send", "--events", "60", "--seed", "3", "--wait")
    folder = small_disk / "stack"
    target = LocalTarget.running(folder)
    assert observation.settle(target, timeout_s=300) == 0
    works("run")
    works("doctor")
    result = Ledger(folder / "ledger").reconcile(observation.observe(target))
    assert result.balanced, [str(check) for check in result.differences]
    works("down")


def test_what_was_confirmed_is_there_and_what_cannot_be_kept_is_refused(small_disk: Path) -> None:
    stack = Stack(small_disk / "stack", tied_to_parent=True)
    stack.up()
    try:
        target = LocalTarget.running(stack.folder)
        target.client("s3").create_bucket(**BUCKET)
        catalog = target.catalog()
        catalog.create_namespace("lake")
        field = NestedField(1, "n", LongType(), required=False)
        table = catalog.create_table("lake.raw", Schema(field), location="s3://lake/raw")
        table.append(pa.table({"n": pa.array([1], pa.int64())}))
        sqs = target.client("sqs")
        url = sqs.create_queue(QueueName="source")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="accepted")
        assert list(pipeline.place(target)) == []

        ballast = fill(small_disk)
        with pytest.raises(ClientError) as of_queue:
            sqs.send_message(QueueUrl=url, MessageBody="refused")
        assert refused(of_queue.value)
        with pytest.raises(ClientError) as of_object:
            target.client("s3").put_object(Bucket="lake", Key="k", Body=b"refused")
        assert refused(of_object.value)
        with pytest.raises((ClientError, OSError)):
            table.append(pa.table({"n": pa.array([2], pa.int64())}))
        (finding,) = pipeline.place(target)
        assert "found 0.0" in finding.found
        with pytest.raises(LocalStackError, match="MiB free"):
            stack.up()
        # Stopped with no room to save: said at once, and by the ledger at the next start.
        with pytest.raises(LocalStackError, match="state saved whole"):
            stack.down()
        with pytest.raises(LocalStackError, match="MiB free"):
            stack.up()

        ballast.unlink()
        stack.up()
        assert stack.crashed
        target = LocalTarget.running(stack.folder)
        table = target.catalog().load_table("lake.raw")
        assert table.scan().to_arrow()["n"].to_pylist() == [1]
        table.append(pa.table({"n": pa.array([3], pa.int64())}))
        stack.down()
        stack.up()
        assert not stack.crashed
        table = LocalTarget.running(stack.folder).catalog().load_table("lake.raw")
        assert sorted(table.scan().to_arrow()["n"].to_pylist()) == [1, 3]
    finally:
        stack.down(wipe=True)
