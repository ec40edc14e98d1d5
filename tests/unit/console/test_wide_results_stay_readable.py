"""What `lean-ops query` prints when a row has more columns than a terminal has room for."""

import pytest

from lean_ops.console.printing import show_result


def test_a_narrow_result_is_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    show_result(["key", "rows"], [("a", 1), ("b", 2)])

    assert "row 1" not in capsys.readouterr().out


def test_a_wide_result_names_every_column_beside_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    columns = [f"column_with_a_name_{number}" for number in range(45)]
    show_result(columns, [list(range(1000, 1045)), [None] * 45])

    printed = capsys.readouterr().out
    assert "row 2" in printed
    for number, name in enumerate(columns):
        assert any(name in line and f"{1000 + number:,}" in line for line in printed.splitlines())


def test_a_wide_result_without_rows_still_says_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    show_result([f"c{number}" for number in range(45)], [])

    assert "c44" in capsys.readouterr().out
