"""Whatever happens to a file that says what a table holds: one sentence names it, and no row is made up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.lake.avro import FileDamaged
from common.runtime.errors import TableMissing
from lean_ops.environment import lake as reading
from lean_ops.environment.lake import TableUnreadable

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "cut by a byte": lambda content: content[:-1],
    "replaced": lambda _: b'{"a": [1]}',
    "garbage": lambda content: b"\x00\xff" * (len(content) // 2),
    "flipped": lambda content: (
        content[: len(content) // 3] + bytes(byte ^ 0x55 for byte in content[len(content) // 3 :])
    ),
}


def files(table: Any) -> dict[str, Path]:
    """The newest metadata file, manifest list and manifest."""
    snapshot = table.current_snapshot()
    manifest = snapshot.manifests(table.io)[-1]
    paths = {
        "metadata": table.metadata_location,
        "manifest list": snapshot.manifest_list,
        "manifest": manifest.manifest_path,
    }
    return {kind: Path(path.removeprefix("file://")) for kind, path in paths.items()}


@pytest.mark.parametrize("kind", ["metadata", "manifest list", "manifest"])
@pytest.mark.parametrize("how", ["removed", *DAMAGE])
def test_a_damaged_file_is_named(lake: Any, kind: str, how: str) -> None:
    lake.merge([lake.event("a"), lake.event("b", publish=800)])
    lake.merge([lake.event("a", "m2", publish=1)])
    path = files(lake.table)[kind]
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes(DAMAGE[how](path.read_bytes()))
    with pytest.raises(TableUnreadable) as raised:
        reading.open_whole(lake.connect(), lake.identifier)
    sentence = str(raised.value)
    assert sentence.startswith(f"table {lake.identifier}: expected to read ")
    # A catalog does not say which metadata file it points to when it cannot be read.
    assert (path.name if kind != "metadata" else "that the catalog points to") in sentence
    assert "docs/runbook.md" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("kind", "found"), [("manifest", "0 entries of 1"), ("manifest list", "no manifest")]
)
def test_a_file_that_lost_whole_blocks_is_named_by_every_reader(lake: Any, kind: str, found: str) -> None:
    """Cut between two blocks it is a good file of fewer records: only what refers to it knows how many."""
    lake.merge([lake.event("a")])
    path, whole = files(lake.table)[kind], lake.table.metadata_location
    content = path.read_bytes()
    path.write_bytes(
        content[: content.index(content[-16:]) + 16]
    )  # the header ends with the marker of blocks
    with pytest.raises(TableUnreadable, match=f"found {found}"):
        reading.open_whole(lake.connect(), lake.identifier)
    before = lake.files()
    with pytest.raises(FileDamaged, match=f"{path.name}, found {found}"):
        lake.merge([lake.event("a", "m2", publish=1)])  # it would be inserted beside the row that it corrects
    with pytest.raises(FileDamaged, match=f"{path.name}, found {found}"):
        list(lake.table.scan().plan_files())
    assert (lake.table.metadata_location, lake.files()) == (whole, before)


def test_a_table_that_is_whole_is_opened(lake: Any) -> None:
    assert reading.open_whole(lake.connect(), lake.identifier).current_snapshot() is None
    lake.merge([lake.event("a")])
    assert reading.state(reading.open_whole(lake.connect(), lake.identifier)).rows == 1
    with pytest.raises(TableMissing):
        reading.open_whole(lake.connect(), "lake.curated_absent")
