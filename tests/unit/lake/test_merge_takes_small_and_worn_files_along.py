from hypothesis import given
from hypothesis import strategies as st

from common.lake.merge.tiers import FILES_LEFT_ALONE, LARGEST_REWRITE_BYTES, FileState, files_to_rewrite


def files(*rows: int, deleted: int = 0, size: int = 1000) -> list[FileState]:
    return [FileState(f"f{n}", size, count, deleted) for n, count in enumerate(rows)]


def test_a_file_without_rows_left_is_dropped() -> None:
    assert files_to_rewrite([FileState("f", 10**12, 5, 5)], 0) == {"f"}


def test_a_file_with_most_rows_deleted_is_rewritten() -> None:
    assert files_to_rewrite([FileState("worn", 1000, 10, 5), FileState("fresh", 1000, 10, 4)], 0) == {"worn"}


def test_a_large_worn_file_is_left_to_maintenance() -> None:
    assert not files_to_rewrite([FileState("f", LARGEST_REWRITE_BYTES + 1, 10, 9)], 0)


def test_few_files_are_left_alone() -> None:
    assert not files_to_rewrite(files(1, 1, 1), 100)


def test_smaller_files_go_along_and_larger_ones_stay() -> None:
    assert files_to_rewrite(files(1, 2, 50, 1000), 10) == {"f0", "f1"}


def test_what_goes_along_makes_room_for_more() -> None:
    assert files_to_rewrite(files(10, 20, 40, 1000), 10) == {"f0", "f1", "f2"}


def test_a_day_of_like_merges_ends_with_seven_files_and_rewrites_each_row_about_three_times() -> None:
    live, most, rewritten = [FileState("base", 10**7, 20_000, 0)], 0, 0
    for number in range(96):
        taken = files_to_rewrite(live, 200 + number * 37 % 150)
        gone = sum(f.rows for f in live if f.path in taken)
        rewritten += gone
        live = [f for f in live if f.path not in taken]
        live.append(FileState(str(number), 1000, 200 + number * 37 % 150 + gone, 0))
        most = max(most, len(live))
    assert most <= 7
    assert rewritten <= 4 * sum(200 + n * 37 % 150 for n in range(96))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=200))
def test_files_of_a_partition_grow_like_the_logarithm_of_its_rows(writes: list[int]) -> None:
    live: list[FileState] = []
    rewritten = 0
    for number, rows in enumerate(writes):
        taken = files_to_rewrite(live, rows)
        gone = sum(f.rows for f in live if f.path in taken)
        rewritten += gone
        live = [f for f in live if f.path not in taken] + [FileState(str(number), 1, rows + gone, 0)]
    total = sum(writes)
    assert sum(f.rows for f in live) == total
    assert len(live) <= FILES_LEFT_ALONE + total.bit_length()
    assert rewritten <= 2 * total * total.bit_length()


def test_what_would_not_fit_into_memory_is_left_alone() -> None:
    worn = [FileState("small", 1000, 10, 9), FileState("large", 1000, 50, 49)]
    assert files_to_rewrite(worn, 0, most_rows=40) == {"small"}
    assert files_to_rewrite(files(10, 20, 40, 1000), 10, most_rows=45) == {"f0", "f1"}
