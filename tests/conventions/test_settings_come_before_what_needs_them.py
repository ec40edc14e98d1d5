"""Terraform makes a bucket's settings before anything is written into the bucket."""

import re

import pytest

from lean_ops.environment.repository import ROOT

STORAGE = {path.name: path.read_text() for path in (ROOT / "modules/storage").glob("*.tf")}
BLOCK = re.compile(r"^(?P<head>(?:resource|output) [^{]+?) \{\n(?P<body>.*?)^\}$", re.MULTILINE | re.DOTALL)
BLOCKS = {match["head"]: match["body"] for text in STORAGE.values() for match in BLOCK.finditer(text)}
# A lifecycle configuration acts on what is there, whenever it comes.
SETTINGS = {
    f"{kind}.lake"
    for head in BLOCKS
    for kind in re.findall(r'^resource "(aws_s3_bucket_\w+)" "lake"$', head)
    if kind != "aws_s3_bucket_lifecycle_configuration"
}


def waits_for(block: str) -> set[str]:
    (listed,) = re.findall(r"depends_on = \[([^\]]*)\]", BLOCKS[block])
    return {name.strip() for name in listed.split(",") if name.strip()}


@pytest.mark.parametrize(
    "block",
    [
        'output "lake_bucket"',
        'output "lake_bucket_arn"',
        'resource "aws_s3_object" "contract"',
        'resource "aws_glue_catalog_table" "this"',
    ],
)
def test_whoever_names_or_fills_the_bucket_waits_for_its_settings(block: str) -> None:
    assert len(SETTINGS) >= 5
    assert waits_for(block) == SETTINGS


def test_nothing_else_of_the_module_writes_into_the_bucket() -> None:
    writers = {head.split()[1].strip('"') for head in BLOCKS if head.startswith("resource")}
    assert writers - {"aws_s3_bucket", "aws_glue_catalog_database"} == {
        "aws_s3_object",
        "aws_glue_catalog_table",
        "aws_s3_bucket_lifecycle_configuration",
        *(setting.removesuffix(".lake") for setting in SETTINGS),
    }
