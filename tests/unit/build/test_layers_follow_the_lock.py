"""The wheels of a layer are those of requirements.lock for the functions' machine, by version and hash."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from lean_ops.build import layers
from lean_ops.build.building import layer_pins
from lean_ops.build.layers import DownloadFailed, download
from lean_ops.build.lockfile import Pin, Platform, UnlockedDependency, pins
from lean_ops.environment.repository import function_catalogue

GRAVITON = Platform.of_lambda("python3.13", "arm64")
LAPTOP = Platform("x86_64", "3.11")


def lock(folder: Path, text: str) -> Path:
    path = folder / "requirements.lock"
    path.write_text(text)
    return path


def entry(name: str, marker: str = "") -> str:
    return f"{name}{marker} \\\n    --hash=sha256:{'a' * 64} \\\n    --hash=sha256:{'b' * 64}\n"


def test_every_layer_of_the_catalogue_is_locked_for_the_functions_machine() -> None:
    for layer in {layer for function in function_catalogue() for layer in function.layers}:
        found = pins(layer, GRAVITON)
        assert found and all(pin.version and pin.sha256 for pin in found)


def test_a_layer_holds_what_its_libraries_need_in_turn() -> None:
    names = {pin.name for pin in pins("ingest", GRAVITON)}
    assert {"boto3", "botocore", "s3transfer", "urllib3", "jmespath", "msgspec"} <= names


def test_every_function_has_in_its_layers_what_each_of_them_needs_and_nothing_twice() -> None:
    catalogue = list(function_catalogue())
    held = layer_pins(catalogue, GRAVITON)
    for function in catalogue:
        has = [pin.name for layer in function.layers for pin in held[layer]]
        assert set(has) == {pin.name for layer in function.layers for pin in pins(layer, GRAVITON)}, (
            function.name
        )
        assert len(has) == len(set(has)), function.name
    # Two layers that no function stacks may both need it: contracts and sources have time zones.
    assert all("tzdata" in {pin.name for pin in held[layer]} for layer in ("lake", "sources"))


def test_an_entry_for_another_python_does_not_count(tmp_path: Path) -> None:
    others = "".join(
        entry(f"{pin.name}=={pin.version}") for pin in pins("ingest", LAPTOP) if pin.name != "msgspec"
    )
    marked = lock(tmp_path, others + entry("msgspec==0.22.0", " ; python_full_version < '3.12'"))
    assert "msgspec" in {pin.name for pin in pins("ingest", LAPTOP, marked)}
    with pytest.raises(UnlockedDependency, match="found none for msgspec; run make lock"):
        pins("ingest", GRAVITON, marked)


def wheel(folder: Path, name: str, version: str, content: str = "") -> Pin:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", content)
    return Pin(name, version, frozenset({hashlib.sha256(path.read_bytes()).hexdigest()}))


def test_wheels_at_hand_are_used_by_version_and_hash(tmp_path: Path) -> None:
    wheel(tmp_path, "a", "1")
    current = wheel(tmp_path, "a", "2")
    assert download([current], GRAVITON, tmp_path) == [tmp_path / "a-2-py3-none-any.whl"]


def test_a_wheel_with_another_hash_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin = wheel(tmp_path, "a", "1")
    wheel(tmp_path, "a", "1", "import evil")
    asked: list[list[Pin]] = []

    def fetch(pins: list[Pin], _: Platform, cache: Path) -> None:
        asked.append(pins)
        assert wheel(cache, "a", "1") == pin

    monkeypatch.setattr(layers, "_pip_download", fetch)
    assert download([pin], GRAVITON, tmp_path) == [tmp_path / "a-1-py3-none-any.whl"]
    assert asked == [[pin]]


def test_what_pip_cannot_fetch_is_said_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DownloadFailed, match=r"(?s)wheels of absent for aarch64.*No matching distribution"):
        download([Pin("absent", "1", frozenset({"a" * 64}))], GRAVITON, tmp_path)
