"""The comment that says what contracts would do to the rows that are there."""

from common.contract.problems import Finding
from common.layers.planning import Broken, Planned, Values
from lean_ops.checks.contract_comment import body, marker
from lean_ops.checks.plan_comment import LIMIT
from lean_ops.operate.plan_markdown import markdown, unreadable

HOSTILE = "`|</td> <img src=x> @everyone [a](https://x)\n# head"


def planned(sample: str = "99.99.9999", column: str = "day") -> Planned:
    broken = [Broken(column, "type", "date", critical=True, rows=1461, samples=[sample])]
    return Planned("meters", "1.1.0", "1.0.0", "7", 1461, 1461, 0, 1461, broken, {column: Values(5, 1, 2, 3)})


def test_what_would_be_lost_comes_first_and_every_rule_is_a_row() -> None:
    finding = Finding("warning", "property day", "no description", 7, 3)
    text = markdown(planned(), [finding], ["1,461 of 1,461 rows would be refused (100.0%)"])
    lines = text.splitlines()
    assert lines[2].startswith("- :no_entry: **1,461 of 1,461 rows would be refused")
    assert "- :warning: property day (line 7): no description" in lines
    assert "| `day` | type | date | 1,461 | refused | `99.99.9999` |" in lines
    assert "- `day`: of 5 values 1 become null, 3 change, 2 are new" in lines


def test_what_devices_and_people_wrote_is_no_markup_and_calls_nobody() -> None:
    finding = Finding("error", HOSTILE, HOSTILE)
    for text in (markdown(planned(HOSTILE), [finding], [HOSTILE]), unreadable("meters", [finding])):
        outside_code = "".join(text.replace("\\`", "").split("`")[::2])
        assert "<" not in outside_code
        assert "@" not in outside_code
        assert "https://" not in outside_code
        assert not any(line.startswith("# head") for line in text.splitlines())
    table = [line for line in markdown(planned(HOSTILE), [], []).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {7}


def test_a_comment_is_found_again_and_cut_at_the_limit() -> None:
    text = body("prod", {"a": "x" * LIMIT})
    assert text.startswith(marker("prod"))
    assert len(text) <= LIMIT
    assert "cut here" in text
    assert "in place as it is" in body("staging", {})
