"""``contract plan`` and ``diff`` say what a contract would do, and hold up what takes much away."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from common.contract.store import contract_key
from lean_ops.commands import calling
from lean_ops.commands import contract as contract_command
from lean_ops.operate import contracts, publishing

from ...support import edges
from ...support.edges import Ended
from ...support.lake import LocalLake
from ...support.topic import event

Plan = Callable[..., Ended]


class Bucket:
    """Objects by key, as far as contracts are looked for."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        """Nothing, where it is there."""
        self.get_object(Bucket=Bucket, Key=Key)
        return {}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        """The object's bytes."""
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": Bucket}}, "GetObject")
        return {"Body": BytesIO(self.objects[Key])}


def text_of(version: str = "1.0.0", **said: Any) -> str:
    value = {"name": "value", "description": "A field", "criticalDataElement": True} | said
    return yaml.safe_dump(
        {
            "apiVersion": "v3.2.0", "kind": "DataContract", "id": "x", "version": version,
            "schema": [{"name": "t", "properties": [value]}],
        }
    )  # fmt: skip


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def target(tmp_path: Path, bucket: Bucket) -> Iterator[Any]:
    """A topic ``t`` of which Curated holds ten dates."""
    with closing(LocalLake(tmp_path)) as lake:
        lake.append([event(f"k{n}", f"m{n}", n, f"{n + 10}.12.2026") for n in range(10)])
        lake.run_curation()
        yield SimpleNamespace(
            settings=lake.settings, catalog=lambda: lake.catalog, lake_bucket="lake", topics=("t",),
            client=lambda _service: bucket, reached=nullcontext,
        )  # fmt: skip


@pytest.fixture
def plan(target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Plan a text."""
    monkeypatch.setattr(calling, "resolve", lambda *_named: target)

    def run(text: str, *options: str) -> Ended:
        (tmp_path / "t.yaml").write_text(text)
        return edges.lean_ops(["contract", "plan", str(tmp_path / "t.yaml"), "--topic", "t", *options])

    return run


def test_a_wrong_date_format_ends_with_its_rule_its_count_and_no_value(plan: Plan) -> None:
    ended = plan(text_of(logicalType="date"))
    assert ended.code == 1
    assert "Of 10 rows in Curated, one a key, it would refuse 10" in ended.out
    assert "10 of 10 rows would be refused (100.0%), by rule: value:type 10" in " ".join(ended.err.split())
    assert "99.99.9999" in ended.out
    assert ".12.2026" not in ended.out + ended.err
    assert "10.12.2026" in plan(text_of(logicalType="date"), "--values").out


def test_what_takes_much_may_be_accepted_and_what_takes_nothing_need_not(plan: Plan) -> None:
    assert plan(text_of(logicalType="date"), "--accept").code == 0
    assert plan(text_of(logicalType="date"), "--most", "1").code == 0
    right = text_of(logicalType="date", logicalTypeOptions={"format": "dd.MM.yyyy"})
    assert plan(right).code == 0


def test_a_program_reads_the_same(plan: Plan) -> None:
    ended = plan(text_of(logicalType="date"), "--json")
    document = json.loads(ended.out)
    assert (document["rows"], document["newly_refused"]) == (10, 10)
    assert [(b["column"], b["rule"], b["rows"]) for b in document["broken"]] == [("value", "type", 10)]
    assert [(c["column"], c["change"]) for c in document["table"]] == [("value", "add")]
    assert len(document["too_much"]) == 1


def test_what_is_published_is_the_yardstick(plan: Plan, bucket: Bucket) -> None:
    bucket.objects[contract_key("t")] = text_of(logicalType="date").encode()
    ended = plan(text_of("1.0.1", logicalType="date", description="Another one"))
    assert ended.code == 0, "it refuses what is refused already"
    assert "(10 by the published one)" in ended.out
    breaking = plan(text_of("1.1.0", logicalType="integer"))
    assert breaking.code == 1
    assert "this needs version 2.0.0" in breaking.out


def test_a_contract_with_errors_says_all_of_them_and_reads_no_row(plan: Plan, target: Any) -> None:
    target.catalog = None
    ended = plan(text_of(logicalType="dat", classification="PII"))
    assert ended.code == 1
    assert "expected one of string" in ended.out


def test_a_changed_contract_that_takes_much_is_held_back_until_it_is_accepted(
    target: Any, bucket: Bucket
) -> None:
    text = text_of(logicalType="date")
    held = contracts.not_accepted(target, {"t": text}, ())
    assert held.keys() == {"t"}
    assert held["t"][0] is None
    assert contracts.not_accepted(target, {"t": text}, ("t",)) == {}
    bucket.objects[contract_key("t")] = text.encode()
    assert contracts.not_accepted(target, {"t": text}, ()) == {}, "it is in place"
    bucket.objects[contract_key("t")] = text_of(logicalType="string").encode()
    assert contracts.not_accepted(target, {"t": text}, ())["t"][0] == text_of(logicalType="string")


def test_a_first_contract_is_published_where_its_tables_can_be_made(
    plan: Plan, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables are made from the file of the checkout: on AWS by Terraform, locally by the command."""
    target.catalog().drop_table(target.settings.table("semantic", "t"))
    file = tmp_path / "t.yaml"
    assert plan(text_of(logicalType="string")).code == 0

    def publish() -> Ended:
        return edges.lean_ops(["contract", "publish", str(file), "--topic", "t", "--reason", "first"])

    monkeypatch.setattr(contract_command, "contract_files", dict)
    assert "expected the first one in contracts/t.yaml of this checkout" in publish().err
    monkeypatch.setattr(contract_command, "contract_files", lambda: {"t": file})
    assert "`terraform apply` makes them from contracts/t.yaml" in publish().err


def test_the_local_stack_gets_the_tables_of_one_contract_and_keeps_all_others(
    target: Any, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(contract_command, "LocalTarget", SimpleNamespace)
    monkeypatch.setattr(contract_command, "provision", lambda *_, kept: made.append(kept))
    files = {"t": tmp_path / "t.yaml", "other": tmp_path / "other.yaml"}
    monkeypatch.setattr(contract_command, "contract_files", lambda: files)
    bucket.objects[contract_key("other")] = b"as it is in place"
    call: Any = SimpleNamespace(target=target, topic="t")
    contract_command._make_tables(call, "the first")
    assert not made, "they are there"
    target.catalog().drop_table(target.settings.table("semantic", "t"))
    contract_command._make_tables(call, "the first")
    assert made == [{"t": "the first", "other": "as it is in place"}]


def test_what_up_leaves_as_it_was_is_what_another_version_typed_otherwise() -> None:
    text = text_of(logicalType="string")
    described = text_of("1.0.1", logicalType="string", description="Said otherwise")
    typed = text_of("2.0.0", logicalType="integer")
    assert publishing.types_otherwise(text, typed, "t")
    assert not publishing.types_otherwise(text, described, "t")
    assert not publishing.types_otherwise(None, typed, "t")


def test_a_contract_of_another_shape_says_which_columns_no_row_has(plan: Plan) -> None:
    """A misspelled source of a property that may be missing would be null for good, and no rule is broken."""
    text = text_of(criticalDataElement=False, logicalType="string", transformSourceObjects=["valeu"])
    said = "reads valeu, of which Curated has no column, so that it is null in every row; it has value"
    ended = plan(text)
    assert (ended.code, f"source? value {said}" in " ".join(ended.out.split())) == (0, True)
    assert f"`value` {said}" in plan(text, "--markdown").out
    found = json.loads(plan(text, "--json").out)
    assert found["absent"] == {"value": {"source": "valeu", "near": ["value"]}}
    assert json.loads(plan(text_of(logicalType="string"), "--json").out)["absent"] == {}


@pytest.mark.parametrize("version", ["1.2.0", "1.1.9", "0.9.0"])
def test_a_version_that_is_not_above_the_published_one_is_refused(
    plan: Plan, bucket: Bucket, version: str
) -> None:
    bucket.objects[contract_key("t")] = text_of("1.2.0", logicalType="string").encode()
    ended = plan(text_of(version, logicalType="string", description="Said otherwise", required=False))
    assert ended.code == (0 if version == "1.2.0" else 1), "a description alone may be mended"
    assert ("expected a version above 1.2.0" in ended.out) is (version != "1.2.0")
    wider = plan(text_of(version, logicalType="string", criticalDataElement=False))
    assert wider.code == 1
    assert f"expected a version above 1.2.0, found {version}; raise it" in " ".join(wider.out.split())


def test_errors_come_first_and_many_alike_once(plan: Plan) -> None:
    many = yaml.safe_load(text_of(logicalType="string"))
    many["schema"][0]["properties"] += [{"name": f"p{n}", "logicalType": "string"} for n in range(5)]
    many["schema"][0]["properties"].append({"name": "bad", "logicalType": "strng", "description": "x"})
    lines = plan(yaml.safe_dump(many, width=1000)).out.splitlines()
    assert "error: property bad" in lines[0]
    alike = "5 properties: no description: analysts see it as the column's comment: p0, p1, p2, p3, p4"
    assert [line for line in lines if "no description" in line] == [f"  warning: {alike}"]


def test_diff_says_whom_a_change_breaks(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    old, new = tmp_path / "old/t.yaml", tmp_path / "t.yaml"
    old.write_text(text_of(logicalType="string"))
    new.write_text(text_of("1.1.0", logicalType="date"))
    ended = edges.lean_ops(["contract", "diff", str(old), str(new)])
    assert ended.code == 1
    assert "type changed from string to date; this needs version 2.0.0" in ended.out
    new.write_text(text_of("2.0.0", logicalType="date"))
    assert edges.lean_ops(["contract", "diff", str(old), str(new)]).code == 0
    same = edges.lean_ops(["contract", "diff", str(old), str(old), "--json"])
    assert (same.code, json.loads(same.out)["changes"]) == (0, [])


PAGE = (Path(__file__).parents[3] / "docs/contracts.md").read_text()


def commands_of_the_page() -> list[list[str]]:
    """The commands that stand in blocks of their own."""
    blocks = [block.partition("\n```")[0] for block in PAGE.split("\n```\n")[1:]]
    return [
        line.split()[1:] for block in blocks for line in block.splitlines() if line.startswith("lean-ops ")
    ]


@pytest.mark.usefixtures("plan")
def test_the_walk_of_the_page_goes_from_rows_to_a_contract_that_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init, planned, diff, published, exported = commands_of_the_page()
    assert published[:2] == ["contract", "publish"]  # tests/simulation/test_a_contract_is_published.py
    assert exported[:2] == ["contract", "export"]  # tests/datacontract
    monkeypatch.chdir(tmp_path)
    (tmp_path / "contracts").mkdir()
    assert init[-2:] == [">", "contracts/meters.yaml"]
    file = tmp_path / "contracts/t.yaml"
    monkeypatch.setattr(contract_command, "contract_files", lambda: {"t": file})

    def run(words: list[str]) -> Ended:
        return edges.lean_ops([word.replace("meters", "t") for word in words])

    proposed = run(init[:-2])
    assert proposed.code == 0, proposed.err
    file.write_text(proposed.out)
    assert 'format: "dd.MM.yyyy"' in proposed.out
    assert run(["contract", "lint", str(file)]).code == 0
    ended = run(planned)
    assert (ended.code, ended.err.strip()) == (0, ""), ended
    assert "Of 10 rows in Curated, one a key, it would refuse 0." in ended.out
    (tmp_path / "old").mkdir()
    (tmp_path / "old/t.yaml").write_text(proposed.out)
    assert run(diff).code == 0


COMMENTED = """# The contract of t
apiVersion: v3.2.0
kind: DataContract
id: x
version: "1.2.3"   # raise it
schema:
  - name: t
    properties:
      # what counts
      - name: other
        description: A field
        logicalType: string
        # its last line

# below
status: active
"""


@pytest.mark.usefixtures("plan")
def test_a_field_is_promoted_once_and_nothing_else_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(COMMENTED)
    monkeypatch.setattr(contract_command, "contract_files", lambda: {"t": file})
    ended = edges.lean_ops(["contract", "promote", "value", "--topic", "t"])
    assert ended.code == 0, ended.err
    text = file.read_text()
    document = yaml.safe_load(text)
    assert document["version"] == "1.3.0"
    assert document["schema"][0]["properties"][1] == {
        "name": "value", "logicalType": "date", "logicalTypeOptions": {"format": "dd.MM.yyyy"},
    }  # fmt: skip
    assert {line for line in COMMENTED.splitlines() if "version" not in line} <= set(text.splitlines())
    again = edges.lean_ops(["contract", "promote", "value", "--topic", "t"])
    assert (again.code, file.read_text()) == (1, text)
    assert "found value reading it" in again.err
    nosuch = edges.lean_ops(["contract", "promote", "nosuch", "--topic", "t"])
    assert (nosuch.code, file.read_text()) == (1, text)
