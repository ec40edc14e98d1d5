"""The comment that shows a Terraform plan on a pull request."""

from lean_ops.checks.plan_comment import LIMIT, body

PLAN = "  # aws_sqs_queue.source will be updated\n\nPlan: 1 to add, 2 to change, 0 to destroy.\n"


def test_the_summary_comes_first_and_the_plan_is_folded_away() -> None:
    text = body("prod", PLAN)

    assert text.index("Plan: 1 to add, 2 to change, 0 to destroy.") < text.index("<details>")
    assert "aws_sqs_queue.source will be updated" in text


def test_a_plan_without_changes_says_so() -> None:
    sentence = "No changes. Your infrastructure matches the configuration."

    assert sentence in body("prod", f"{sentence}\n")


def test_a_plan_beyond_the_limit_is_cut_and_says_so() -> None:
    text = body("prod", PLAN + "+ x\n" * LIMIT)

    assert len(text) <= LIMIT
    assert "cut here" in text


def test_backticks_inside_a_plan_do_not_end_its_frame() -> None:
    text = body("prod", f"+ description = ```\n{PLAN}")

    assert text.count("````") == 2


def test_each_environment_has_a_comment_of_its_own() -> None:
    assert body("prod", PLAN).splitlines()[0] != body("staging", PLAN).splitlines()[0]
