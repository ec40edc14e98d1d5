"""What the code says about tables, functions and settings is what the shared files say."""

import dataclasses
import json
import re
from pathlib import Path

import msgspec
import pytest

from common.intake.events import RawRecord
from common.payload.leaves import RESERVED_COLUMNS
from common.runtime.settings import OF_FUNCTION, PREFIX
from lean_ops.environment.repository import function_catalogue, render
from lean_ops.local.provision import placeholder_values
from lean_ops.local.target import LocalTarget

ROOT = Path(__file__).parents[2]
CATALOGUE = json.loads((ROOT / "modules/compute/functions.json").read_text())


def columns(layer: str) -> list[str]:
    spec = json.loads((ROOT / f"modules/storage/tables/{layer}.json").read_text())
    return [field["name"] for field in spec["schema"]["fields"]]


def test_a_firehose_record_has_the_columns_of_raw_in_their_order() -> None:
    assert [field.name for field in msgspec.structs.fields(RawRecord)] == columns("raw")


def test_payload_leaves_may_not_take_the_names_of_curated_or_of_raw() -> None:
    assert {*columns("curated"), "json_payload"} == RESERVED_COLUMNS


@pytest.mark.parametrize("layer", ["raw", "curated", "semantic", "quarantine"])
def test_field_ids_count_from_one_so_that_creation_keeps_them(layer: str) -> None:
    spec = json.loads((ROOT / f"modules/storage/tables/{layer}.json").read_text())
    ids = [field["id"] for field in spec["schema"]["fields"]]
    assert ids == list(range(1, len(ids) + 1))
    assert spec["properties"]["format-version"] == "2"


def test_curated_and_semantic_are_partitioned_alike() -> None:
    curated, semantic = (
        json.loads((ROOT / f"modules/storage/tables/{layer}.json").read_text())
        for layer in ("curated", "semantic")
    )
    assert curated["partition-spec"] == semantic["partition-spec"]
    assert curated["schema"]["fields"][:7] == semantic["schema"]["fields"][:7]


@pytest.mark.parametrize("name", CATALOGUE["functions"])
def test_every_function_has_its_handler_and_only_settings_that_are_read(name: str) -> None:
    entry = CATALOGUE["functions"][name]
    module, _, attribute = entry["handler"].rpartition(".")
    path = ROOT / "modules/compute/lambda" / (module.replace(".", "/") + ".py")
    assert re.search(rf"^def {attribute}\(", path.read_text(), re.M)
    variables = {**CATALOGUE["environment"], **entry["environment"]}
    fields = dataclasses.fields(OF_FUNCTION[name])
    own = {variable for variable in variables if not variable.startswith("POWERTOOLS_")}
    assert own == {PREFIX + field.name.upper() for field in fields}


def test_every_handler_folder_is_in_the_catalogue() -> None:
    folders = {path.parent.name for path in (ROOT / "modules/compute/lambda").glob("*/handler.py")}
    assert folders == CATALOGUE["functions"].keys()


def test_every_function_reads_the_settings_of_its_own() -> None:
    assert OF_FUNCTION.keys() == CATALOGUE["functions"].keys()
    for function, kind in OF_FUNCTION.items():
        source = (ROOT / f"modules/compute/lambda/{function}/handler.py").read_text()
        assert f"return {kind.__name__}.from_environment()" in source


def test_what_the_catalogue_renders_to_is_all_that_a_function_reads() -> None:
    target = LocalTarget(env="dev", region="eu-west-1", endpoints={"": "http://localhost"})
    urls = {target.source_queue: "https://source", target.dead_letter_queue: "https://dead-letters"}
    values = placeholder_values(target, urls)
    for entry in function_catalogue():
        rendered = {name: render(text, values) for name, text in entry.environment.items()}
        assert OF_FUNCTION[entry.name].from_environment(rendered).name_prefix == target.name_prefix


def test_the_environment_of_every_function_fits_lambda_with_the_longest_names() -> None:
    """Lambda takes 4 KB of names and values; half of it is used by the longest project and region."""
    target = LocalTarget(
        env="staging", project="p" * 20, region="ap-northeast-1", endpoints={"": "http://localhost"}
    )
    urls = dict.fromkeys((target.source_queue, target.dead_letter_queue), "https://sqs." + "x" * 120)
    values = placeholder_values(target, urls)
    for entry in function_catalogue():
        rendered = {name: render(text, values) for name, text in entry.environment.items()}
        assert sum(len(name) + len(value) for name, value in rendered.items()) <= 2_048, entry.name


def test_terraform_and_the_local_stack_fill_the_same_placeholders() -> None:
    text = "".join((ROOT / file).read_text() for file in ("locals.tf", "modules/compute/main.tf"))
    names: set[str] = set()
    given = r"(?:policy_values = |merge\((?:local\.policy_values|var\.placeholder_values), )\{\n(.*?)\n  \}"
    for block in re.findall(given, text, re.S):
        names |= set(re.findall(r"^ {4}(\w+) +=", block, re.M))
    target = LocalTarget(env="dev", region="eu-west-1", endpoints={"": "http://localhost"})
    urls = {target.source_queue: "https://source", target.dead_letter_queue: "https://dead-letters"}
    assert placeholder_values(target, urls).keys() == names
