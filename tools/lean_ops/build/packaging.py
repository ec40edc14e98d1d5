"""Code archives of the Lambda functions, and the code of jobs on Spark: the same sources give the same bytes.

An archive holds the shared package and the function's own folder, as they lie under
``modules/compute/lambda``. Libraries come from layers on AWS and from the emulator's interpreter locally.
"""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

from common.runtime.errors import PermanentError
from lean_ops.environment.repository import LAMBDA_CODE

SHARED_PACKAGE = "common"

# The earliest time a zip entry can carry: sources decide the bytes, not the clock.
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE_0644 = 0o100644 << 16


class MissingSource(PermanentError):  # noqa: N818 - the source is missing; "error" would say less
    """A function of the catalogue has no folder with code."""


def code_archive(function: str, code_root: Path = LAMBDA_CODE) -> bytes:
    """The zip archive of one function: ``common/`` and ``<function>/``, sorted by path.

    Entries are stored without compression: compressed bytes differ between versions of zlib, and the
    archive is small. Raises MissingSource.
    """
    files = sources((SHARED_PACKAGE, function), code_root)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(code_root).as_posix(), _FIXED_DATE)
            entry.create_system = 3  # Unix, wherever the archive is made
            entry.external_attr = _REGULAR_FILE_0644
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def sources(folders: Sequence[str], code_root: Path = LAMBDA_CODE) -> list[Path]:
    """The files of these folders of the code, sorted within each; raises MissingSource."""
    return [path for folder in folders for path in _sources(code_root / folder)]


def _sources(folder: Path) -> list[Path]:
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise MissingSource(f"code of a function: expected files in {folder}, found none")
    return found
