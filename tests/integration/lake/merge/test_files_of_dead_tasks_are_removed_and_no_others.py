"""What lies in an attempt's folder and no answer names is removed; what is named and absent stops it."""

from pathlib import Path

import pytest

from common.lake.merge.elsewhere import remove_unnamed
from common.runtime.errors import InternalFault

from ....support.topic import TopicLake


@pytest.fixture
def lake(tmp_path: Path) -> TopicLake:
    return TopicLake(tmp_path)


def written(lake: TopicLake, *names: str) -> list[str]:
    """Files in two folders of attempts, by their locations."""
    table = lake.table("curated")
    paths = []
    for name in names:
        location = table.location_provider().new_data_location(name)
        with table.io.new_output(location).create() as stream:
            stream.write(b"x")
        paths.append(location)
    return paths


def there(path: str) -> bool:
    return Path(path.removeprefix("file://")).exists()


def test_only_files_of_the_folder_that_nobody_names_go(lake: TopicLake) -> None:
    named, dead, odd, other = written(
        lake,
        "merges/r/a/0-1/p=1/x.parquet",
        "merges/r/a/0-2/p=1/y.parquet",
        "merges/r/a/z%2F+",
        "merges/r/b/x",
    )
    assert remove_unnamed(lake.table("curated"), "merges/r/a", [named]) == sorted([dead, odd])
    assert [there(path) for path in (named, dead, odd, other)] == [True, False, False, True]


def test_a_folder_that_is_not_there_has_nothing(lake: TopicLake) -> None:
    assert remove_unnamed(lake.table("curated"), "merges/r/none", []) == []


def test_a_named_file_that_is_absent_stops_it_with_nothing_removed(lake: TopicLake) -> None:
    dead, named = written(lake, "merges/r/a/dead", "merges/r/a/named")
    with pytest.raises(InternalFault, match="found 1 of 2 not there"):
        remove_unnamed(lake.table("curated"), "merges/r/a", [named, f"{named} otherwise"])
    assert there(dead)
    assert there(named)
