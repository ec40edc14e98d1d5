"""Tables with one row a file are slow for everybody: whoever looks at them is told of `volume: low`."""

import pytest

from lean_ops.commands.lake import _show
from lean_ops.environment.lake import TableState


def state(rows: int, files: int) -> TableState:
    return TableState("curated_events", rows, files, 0, 1, files, 1, 9, "1")


@pytest.mark.parametrize(
    ("rows", "files", "told"),
    [(494, 494, True), (999, 100, True), (1_000, 100, False), (99, 99, False), (0, 0, False)],
)
def test_the_hint_names_the_topic_and_its_contract(
    rows: int, files: int, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    _show("lean_ops_local", [state(rows, files)])
    assert ("`volume: low` in contracts/events.yaml" in capsys.readouterr().out) is told
