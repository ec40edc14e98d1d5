"""A layer holds the libraries' code, without what only compilers, other Pythons and other services read."""

import os
import re
import zipfile
from pathlib import Path

import pytest

from lean_ops.build.layers import SERVICES, is_kept, pack, unpack
from lean_ops.environment.repository import LAMBDA_CODE


@pytest.mark.parametrize(
    "name",
    [
        "pyarrow/libarrow.so.2600",
        "pyarrow/libarrow_python.so.2600",
        "pyarrow/libarrow_substrait.so.2600",  # every module of Arrow links it
        "pyarrow/lib.cpython-313-aarch64-linux-gnu.so",
        "pyarrow/_s3fs.cpython-313-aarch64-linux-gnu.so",
        "zstandard/backend_c.cpython-313-aarch64-linux-gnu.so",
        "botocore/data/sqs/2012-11-05/service-2.json.gz",
        "botocore/data/endpoints.json",
        "botocore/docs/service.py",
        "pyiceberg-0.12.0.dist-info/METADATA",
    ],
)
def test_code_and_the_descriptions_of_used_services_stay(name: str) -> None:
    assert is_kept(name)


@pytest.mark.parametrize(
    "name",
    [
        "pyarrow/libarrow_flight.so.2600",
        "pyarrow/libarrow_python.so",
        "pyarrow/libarrow_python.so.2600.1.0",
        "pyarrow/include/arrow/api.h",
        "pyarrow/tests/test_array.py",
        "zstandard/_cffi.cpython-313-aarch64-linux-gnu.so",
        "botocore/data/ec2/2016-11-15/service-2.json.gz",
        "pydantic-2.14.3.dist-info/RECORD",
        "numpy/typing/mypy_plugin.pyi",
        "hive_metastore/ttypes.py",
    ],
)
def test_what_no_function_loads_is_left_out(name: str) -> None:
    assert not is_kept(name)


def test_a_wheel_is_unpacked_without_what_is_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("a/__init__.py", "")
        wheel.writestr("a/tests/test_a.py", "")
    unpack([tmp_path / "a-1-py3-none-any.whl"], tmp_path / "layer")
    assert [p.name for p in (tmp_path / "layer").rglob("*") if p.is_file()] == ["__init__.py"]


def test_the_same_files_give_the_same_bytes_whenever_they_were_written(tmp_path: Path) -> None:
    for copy, time in (("one", 1_000_000_000), ("two", 1_700_000_000)):
        for name in ("b/z.py", "b/a.so", "a.py") if copy == "one" else ("a.py", "b/a.so", "b/z.py"):
            path = tmp_path / copy / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name * 100)
            os.utime(path, (time, time))
        pack(tmp_path / copy, tmp_path / f"{copy}.zip", "python")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.namelist() == ["python/a.py", "python/b/a.so", "python/b/z.py"]
        assert [entry.external_attr >> 16 for entry in archive.infolist()] == [0o100644, 0o100755, 0o100644]


def test_every_client_that_a_function_makes_finds_its_description() -> None:
    code = "".join(path.read_text() for path in LAMBDA_CODE.rglob("*.py"))
    made = set(re.findall(r'client\(\s*"([a-z0-9-]+)"', code))
    assert {"sqs", "firehose"} <= made <= set(SERVICES)
