"""What is deployed is what was built: archives against the manifest of their build."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from lean_ops.build.provenance import ForeignArchive, archives


@pytest.fixture
def built(tmp_path: Path) -> Path:
    digest = base64.b64encode(hashlib.sha256(b"code").digest()).decode()
    for name in ("curation.zip", "spark-0.zip"):
        (tmp_path / name).write_bytes(b"code")
    manifest = {
        "functions": {"curation": {"archive": "curation.zip", "sha256": digest}},
        "layers": {},
        "spark": {"archive": "spark-0.zip", "sha256": digest},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def test_archives_as_the_build_wrote_them_pass(built: Path) -> None:
    assert archives(built) == [built / "curation.zip", built / "spark-0.zip"]


@pytest.mark.parametrize("name", ["curation.zip", "spark-0.zip"])
def test_an_archive_with_other_bytes_is_refused(built: Path, name: str) -> None:
    (built / name).write_bytes(b"other code")

    with pytest.raises(ForeignArchive, match=rf"{name}: expected SHA-256"):
        archives(built)


def test_a_missing_archive_is_refused(built: Path) -> None:
    (built / "curation.zip").unlink()

    with pytest.raises(ForeignArchive, match="found no such file"):
        archives(built)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ForeignArchive, match="run make build"):
        archives(tmp_path)
