"""Which position-delete files may speak of a data file: none that does is ever left out."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestEntry, ManifestEntryStatus
from pyiceberg.typedef import Record

from common.lake.merge.livefiles import PATH_FIELD_ID, LiveFile, _assign

from ...support.generated import cases

PATHS = st.text("ab/é", min_size=1, max_size=6)


def entry(path: str, content: DataFileContent, bounds: tuple[bytes, bytes] | None = None) -> ManifestEntry:
    lower, upper = ({PATH_FIELD_ID: bound} for bound in bounds) if bounds else (None, None)
    file: Any = DataFile.from_args(
        content=content,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=1,
        file_size_in_bytes=1,
        lower_bounds=lower,
        upper_bounds=upper,
    )
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.ADDED, snapshot_id=1, sequence_number=1, data_file=file
    )


def found(path: str, bounds: tuple[bytes, bytes] | None) -> bool:
    (live,) = _assign(
        [entry(path, DataFileContent.DATA)], [entry("d", DataFileContent.POSITION_DELETES, bounds)]
    )
    assert isinstance(live, LiveFile)
    return bool(live.deletes)


@settings(max_examples=cases(200), deadline=None)
@given(paths=st.lists(PATHS, min_size=1, max_size=4), length=st.integers(1, 12), raised=st.booleans())
@example(paths=["ab", "ab/a"], length=2, raised=False)
def test_a_delete_file_applies_to_every_path_in_it_however_its_bounds_were_cut(
    paths: list[str], length: int, raised: bool
) -> None:
    encoded = sorted(path.encode() for path in paths)
    lower, upper = encoded[0][:length], encoded[-1][:length]
    if raised and len(upper) < len(encoded[-1]):
        upper = upper[:-1] + bytes([upper[-1] + 1])
    for path in paths:
        assert found(path, (lower, upper))
        assert found(path, None)


def test_a_delete_file_does_not_apply_to_paths_outside_of_its_bounds() -> None:
    assert found("b", (b"b", b"b"))
    assert not found("a", (b"b", b"c"))
    assert not found("d", (b"b", b"c"))
    assert not found("a", (b"b", b"b"))
