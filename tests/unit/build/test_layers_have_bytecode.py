"""Libraries of a layer are compiled by the functions' Python, and are as they were to whoever loads them."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from lean_ops.build.bytecode import NotCompiled, compile_all, compiler

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
UNCHECKED_HASH = 0b01  # PEP 552: the second word of a file with bytecode


def library(folder: Path, text: str) -> Path:
    module = folder / "lib/__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text(text)
    return module


def test_a_module_is_loaded_from_its_bytecode_without_a_look_at_its_source(tmp_path: Path) -> None:
    module = library(tmp_path, "state = 'compiled at build'\n")
    compile_all(tmp_path, sys.executable, "/opt/python")
    (bytecode,) = module.parent.glob("__pycache__/*.pyc")
    assert struct.unpack_from("<I", bytecode.read_bytes(), 4) == (UNCHECKED_HASH,)
    assert b"/opt/python/lib/__init__.py" in bytecode.read_bytes()
    module.write_text("state = 'compiled anew'\n")
    program = f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; import lib; print(lib.state)"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "compiled at build"


def test_the_same_libraries_give_the_same_bytecode(tmp_path: Path) -> None:
    text = "def f(x):\n    return x in {'a', 'b', 'c', 'd', 'e'}\n"
    modules = [library(tmp_path / name, text) for name in ("one", "two")]
    for name in ("one", "two"):
        compile_all(tmp_path / name, sys.executable, "/opt/python")
    one, two = (next(module.parent.glob("__pycache__/*.pyc")).read_bytes() for module in modules)
    assert one == two


def test_a_library_that_is_not_of_that_python_stops_the_build(tmp_path: Path) -> None:
    library(tmp_path, "print 'of another Python'\n")
    with pytest.raises(
        NotCompiled, match=r"(?s)expected .* to compile all of them, found: .*lib/__init__\.py"
    ):
        compile_all(tmp_path, sys.executable, "/opt/python")


def test_the_functions_python_is_this_one_or_one_of_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compiler(VERSION) == sys.executable
    other = tmp_path / "python9.9"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert compiler("9.9") is None
    other.write_text("#!/bin/sh\necho 9.9\n")
    other.chmod(0o755)
    assert compiler("9.9") == str(other)


def test_a_name_on_the_path_that_runs_nothing_or_another_version_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / "python9.9"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for text in ("echo 'python9.9: command not found' >&2; exit 127", "echo 3.11"):
        shim.write_text(f"#!/bin/sh\n{text}\n")
        shim.chmod(0o755)
        assert compiler("9.9") is None
