"""Lambda layers: the locked libraries of one part, trimmed to what the functions load.

Wheels are downloaded by pip for the functions' platform, not for this machine's, and are used only with a
hash that the lock names. The same lock gives the same bytes on the same machine: files are sorted, their
times fixed (another release of zlib may compress to other bytes).
"""

import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from packaging.utils import parse_wheel_filename

from common.runtime.errors import PermanentError
from lean_ops.build import binaries
from lean_ops.build.lockfile import Pin, Platform

# The functions' image is Amazon Linux 2023 with glibc 2.34; the image of Python 3.11 has 2.26, with which
# Arrow's wheels do not load.
GLIBC: Final = (2, 34)
_MANYLINUX: Final = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_26", "manylinux_2_17", "manylinux2014")

# Services that a function makes a client of, by its own code or by Iceberg's catalog; botocore describes
# 400 others. The build makes a client of each.
SERVICES: Final = (
    "cloudwatch", "dynamodb", "firehose", "glue", "lambda", "s3", "secretsmanager", "sqs", "stepfunctions",
    "sts",
)  # fmt: skip
_SERVICE_DATA = re.compile(r"(?:boto3|botocore)/data/(?P<service>[a-z0-9-]+)/")
_UNUSED = re.compile(
    r"""
      /(tests?|examples|include|benchmarks)/                            # not libraries
    | \.(pyx|pxd|pxi|h|hpp|c|cc|cpp|pyi|a|cmake)$                       # for compilers and type checkers
    | \.dist-info/(RECORD|WHEEL|INSTALLER|REQUESTED|top_level\.txt|licenses/.*|sboms/.*)$
    | ^[^/]+\.data/                                                     # scripts
    | ^pyarrow/libarrow_(python_)?flight[._]                            # Arrow's server
    | ^pyarrow/(_flight|_gcsfs|_azurefs|_hdfs|_orc|_dataset_orc|_pyarrow_cpp_tests)\.
    | ^pyarrow/lib[a-z_]+\.so(\.\d+\.\d+\.\d+)?$                        # copies of lib*.so.2600
    | ^pyarrow/src/
    | ^numpy/(f2py|distutils|_pyinstaller|random)/                      # numpy loads them when asked for
    | ^pygments/                                                        # colours pyiceberg's command line
    | ^zstandard/_cffi\.                                                # for Pythons other than CPython
    | ^hive_metastore/                                                  # the catalog is Glue's
    """,
    re.X,
)

_FIXED_DATE: Final = (1980, 1, 1, 0, 0, 0)
_MODE_644: Final = 0o100644 << 16
_MODE_755: Final = 0o100755 << 16


class DownloadFailed(PermanentError):  # noqa: N818 - the download failed; "error" would say less
    """pip could not download the locked wheels."""


def download(pins: Sequence[Pin], platform: Platform, cache: Path) -> list[Path]:
    """The wheel of each pin for ``platform``, in the order of ``pins``; what ``cache`` holds is kept.

    Every wheel's hash is one that the lock names. Raises DownloadFailed with what pip said.
    """
    cache.mkdir(parents=True, exist_ok=True)
    found = _verified(pins, cache)
    missing = [pin for pin in pins if pin not in found]
    if missing:
        _pip_download(missing, platform, cache)
        found = _verified(pins, cache)
    return [found[pin] for pin in pins]


def unpack(wheels: Iterable[Path], folder: Path) -> None:
    """The wheels' files that the functions may load, under ``folder``; of shared objects what is loaded."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if not name.endswith("/") and is_kept(name):
                    path = Path(archive.extract(name, folder))
                    if ".so" in path.suffixes:
                        path.write_bytes(binaries.loaded_part(path.read_bytes()))


def is_kept(name: str) -> bool:
    """Whether a file of a wheel belongs in a layer; ``name`` is its path inside the wheel."""
    if service := _SERVICE_DATA.match(name):
        return service["service"] in SERVICES
    return not _UNUSED.search(name)


def pack(folder: Path, archive: Path, prefix: str = "") -> None:
    """Write the files of ``folder`` under ``prefix`` (Lambda: ``python``), the same bytes each time."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as target:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = PurePosixPath(prefix) / path.relative_to(folder).as_posix()
            entry = zipfile.ZipInfo(str(name), _FIXED_DATE)
            entry.create_system = 3  # Unix, wherever the archive is made
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = _MODE_755 if ".so" in path.suffixes else _MODE_644
            target.writestr(entry, path.read_bytes())


def _verified(pins: Sequence[Pin], cache: Path) -> dict[Pin, Path]:
    """Wheels in ``cache`` that are those of the lock: name, version and hash."""
    wheels: dict[tuple[str, str], Path] = {}
    for path in cache.glob("*.whl"):
        name, version, *_ = parse_wheel_filename(path.name)
        wheels[name, str(version)] = path
    return {
        pin: wheel
        for pin in pins
        if (wheel := wheels.get((pin.name, pin.version)))
        and hashlib.sha256(wheel.read_bytes()).hexdigest() in pin.sha256
    }


def _pip_download(pins: Sequence[Pin], platform: Platform, cache: Path) -> None:
    requirements = cache / "requirements.txt"
    requirements.write_text("".join(pin.line for pin in pins))
    abi = platform.python.replace(".", "")
    done = subprocess.run(  # noqa: S603 - arguments of our own, no shell
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--require-hashes", "--only-binary=:all:", "--implementation=cp",
         f"--python-version={platform.python}", f"--abi=cp{abi}", "--abi=abi3", "--abi=none",
         *(f"--platform={tag}_{platform.machine}" for tag in _MANYLINUX),
         f"--requirement={requirements}", f"--dest={cache}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise DownloadFailed(
            f"wheels of {', '.join(pin.name for pin in pins)} for {platform.machine}, Python "
            f"{platform.python}: expected pip to download them by hash, found: {done.stderr.strip()}; "
            "check the network and the lock"
        )
