import json

import pytest

from lean_ops.environment.repository import STATE_MACHINE, UnknownPlaceholder, function_catalogue, render


def test_only_names_in_braces_are_replaced() -> None:
    text = '{"a.$": "$.x", "b.$": "$$.Execution.Id", "arn": "arn:${partition}:x"}'
    assert render(text, {"partition": "aws"}) == text.replace("${partition}", "aws")


def test_every_placeholder_without_a_value_is_named() -> None:
    with pytest.raises(UnknownPlaceholder, match="found none for one, two; known are three"):
        render("${two} ${one} ${three}", {"three": "3"})


def test_a_function_sees_the_common_environment_and_its_own() -> None:
    entry = next(entry for entry in function_catalogue() if entry.name == "sqs_processor")
    assert entry.environment["LEAN_OPS_PROJECT"] == "${project}"
    assert entry.environment["LEAN_OPS_DEAD_LETTER_QUEUE_URL"] == "${dead_letter_queue_url}"


def test_the_state_machine_file_is_json_as_it_stands() -> None:
    assert json.loads(STATE_MACHINE.read_text())["StartAt"]
