"""What Lambda would refuse or could not start is refused by the build: size, CPU, C library, imports."""

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from lean_ops.build import building as build
from lean_ops.build.binaries import ForeignBinary, check, loaded_part
from lean_ops.build.building import Archive, BrokenPackage, Built, PackageTooLarge, check_sizes, import_alone
from lean_ops.environment.repository import FunctionEntry

ENTRY = FunctionEntry("f", "d", "f.handler.handler", "python3.13", "arm64", 128, 3, {}, ("lake",))
MB = 10**6


def built(code: int, layer: int) -> Built:
    return Built(
        {"f": Archive("f.zip", "", 0, code)},
        {"lake": Archive("layer-lake.zip", "", 0, layer)},
        Archive("spark-0.zip", "", 0, 0),
    )


def test_code_and_layers_together_are_held_to_the_limit() -> None:
    check_sizes([ENTRY], built(30 * MB, 200 * MB))
    with pytest.raises(PackageTooLarge, match=r"function f: expected at most 230,000,000 bytes.*230,000,001"):
        check_sizes([ENTRY], built(30 * MB + 1, 200 * MB))


def shared_object(folder: Path, machine: int, symbols: bytes) -> None:
    header = b"\x7fELF" + bytes(14) + machine.to_bytes(2, "little")
    (folder / "lib.cpython-313-aarch64-linux-gnu.so").write_bytes(header + symbols)


def test_shared_objects_for_the_machine_are_counted(tmp_path: Path) -> None:
    shared_object(tmp_path, 183, b"GLIBC_2.17 GLIBC_2.34")
    (tmp_path / "notes.so").write_text("no shared object")
    assert check(tmp_path, "aarch64", (2, 34)) == 1


def test_another_cpu_is_refused(tmp_path: Path) -> None:
    shared_object(tmp_path, 62, b"")
    with pytest.raises(ForeignBinary, match="expected a shared object for aarch64"):
        check(tmp_path, "aarch64", (2, 34))


def test_a_newer_c_library_is_refused(tmp_path: Path) -> None:
    shared_object(tmp_path, 183, b"GLIBC_2.4 GLIBC_2.35")
    with pytest.raises(ForeignBinary, match=r"glibc 2\.34 or older, found 2\.35"):
        check(tmp_path, "aarch64", (2, 34))


def test_of_a_shared_object_stays_what_is_loaded(tmp_path: Path) -> None:
    shutil.copytree(Path(msgspec.__file__).parent, tmp_path / "msgspec")
    (module,) = tmp_path.glob("msgspec/_core.*.so")
    whole = module.read_bytes()
    module.write_bytes(loaded_part(whole + b"symbols, as linkers and debuggers read them"))
    assert module.stat().st_size <= len(whole)
    program = f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; import msgspec; print(msgspec.__file__)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(str(tmp_path)), done.stderr


@pytest.mark.parametrize("content", [b"", b"no shared object", b"\x7fELF\x01\x01" + bytes(200)])
def test_what_is_no_shared_object_of_64_bits_stays_as_it_is(content: bytes) -> None:
    assert loaded_part(content) == content


def test_a_handler_sees_nothing_that_is_installed_here(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "handler.py").write_text("import pyarrow\ndef handler(event, context): ...\n")
    (tmp_path / "boto3.py").write_text("def client(service, region_name): ...\n")
    with pytest.raises(BrokenPackage, match=r"f\.handler\.handler: .*No module named 'pyarrow'"):
        import_alone("f.handler.handler", [tmp_path])


def test_a_handler_that_has_everything_imports(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "handler.py").write_text("def handler(event, context): ...\n")
    (tmp_path / "boto3.py").write_text("def client(service, region_name): ...\n")
    import_alone("f.handler.handler", [tmp_path])


def test_a_trial_that_fails_breaks_the_build(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "handler.py").write_text("def handler(event, context): ...\n")
    (tmp_path / "boto3.py").write_text("def client(service, region_name): ...\n")
    (tmp_path / "trial.py").write_text("import f.handler\nimport trimmed_away\n")
    with pytest.raises(BrokenPackage, match="No module named 'trimmed_away'"):
        import_alone("f.handler.handler", [tmp_path], [tmp_path / "trial.py"])


def test_a_build_that_fails_leaves_no_manifest_of_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "manifest.json").write_text("{}")

    def fails(*_: object) -> dict[str, Archive]:
        raise PackageTooLarge("too large")

    monkeypatch.setattr(build, "_layers", fails)
    with pytest.raises(PackageTooLarge):
        build.build(tmp_path)
    assert not (tmp_path / "manifest.json").exists()
    assert (tmp_path / "sqs_processor.zip").exists()
