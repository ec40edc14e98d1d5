import io
import os
import zipfile
from pathlib import Path

import pytest

from lean_ops.build.packaging import MissingSource, code_archive


def _code(root: Path) -> Path:
    for name in ("common/__init__.py", "common/runtime/errors.py", "greeter/handler.py", "other/handler.py"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    return root


def test_the_same_sources_give_the_same_bytes_whatever_their_dates(tmp_path: Path) -> None:
    code = _code(tmp_path)
    first = code_archive("greeter", code)
    os.utime(code / "greeter/handler.py", (0, 0))
    (code / "greeter/handler.py").chmod(0o600)
    assert code_archive("greeter", code) == first


def test_an_archive_holds_the_shared_package_and_the_function_alone(tmp_path: Path) -> None:
    code = _code(tmp_path)
    (code / "greeter/__pycache__").mkdir()
    (code / "greeter/__pycache__/handler.cpython-311.pyc").write_bytes(b"")
    names = zipfile.ZipFile(io.BytesIO(code_archive("greeter", code))).namelist()
    assert names == ["common/__init__.py", "common/runtime/errors.py", "greeter/handler.py"]


def test_a_function_without_code_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingSource, match="nobody"):
        code_archive("nobody", _code(tmp_path))
