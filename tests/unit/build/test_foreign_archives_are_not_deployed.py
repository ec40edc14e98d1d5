"""What is deployed is what was built: archives against the manifest of their build."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from lean_ops.build.provenance import ForeignArchive, archives


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "curation.zip").write_bytes(b"code")
    digest = base64.b64encode(hashlib.sha256(b"code").digest()).decode()
    entry = {"archive": "curation.zip", "sha256": digest}
    (tmp_path / "manifest.json").write_text(json.dumps({"functions": {"curation": entry}, "layers": {}}))
    return tmp_path


def test_archives_as_the_build_wrote_them_pass(built: Path) -> None:
    assert archives(built) == [built / "curation.zip"]


def test_an_archive_with_other_bytes_is_refused(built: Path) -> None:
    (built / "curation.zip").write_bytes(b"other code")

    with pytest.raises(ForeignArchive, match=r"curation\.zip: expected SHA-256"):
        archives(built)


def test_a_missing_archive_is_refused(built: Path) -> None:
    (built / "curation.zip").unlink()

    with pytest.raises(ForeignArchive, match="found no such file"):
        archives(built)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ForeignArchive, match="run make build"):
        archives(tmp_path)
