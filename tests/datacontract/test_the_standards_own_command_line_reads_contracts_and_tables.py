"""datacontract-cli lints what ``contract export`` writes, and holds the Iceberg tables against it.

It is somebody else's reading of the standard, with an engine of its own (pyiceberg and DuckDB). What it
would say of broken promises is tried too: a check that cannot fail shows nothing.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from lean_ops.accounts.messages import Kind, Message
from lean_ops.environment.target import Target

from ..support.weather import readings

PROGRAM = Path(__file__).parents[2] / ".venv-datacontract/bin/datacontract"
# Every kind of type and limit that a contract can have, and what becomes of personal data.
EVERYTHING: list[dict[str, Any]] = [
    {"name": "Device", "logicalType": "string", "criticalDataElement": True, "physicalType": "varchar(9)",
     "logicalTypeOptions": {"pattern": "^[a-z]+[0-9]$", "minLength": 2}},
    {"name": "size", "logicalType": "integer",
     "logicalTypeOptions": {"format": "u8", "exclusiveMaximum": 200}},
    {"name": "count", "logicalType": "integer", "physicalType": "numeric(20)"},
    {"name": "level", "logicalType": "number", "logicalTypeOptions": {"minimum": -1.5, "multipleOf": 0.5}},
    {"name": "money", "logicalType": "number", "physicalType": "decimal(9,2)"},
    {"name": "ok", "logicalType": "boolean", "required": True},
    {"name": "day", "logicalType": "date",
     "logicalTypeOptions": {"format": "dd.MM.yyyy", "minimum": "2020-01-01"}},
    {"name": "at", "logicalType": "timestamp",
     "logicalTypeOptions": {"defaultTimezone": "Europe/Berlin", "maximum": "2030-01-01T00:00:00Z"}},
    {"name": "since", "logicalType": "timestamp",
     "customProperties": [{"property": "timeFormats", "value": ["epoch-ms", "RFC3339"]}]},
    {"name": "opens", "logicalType": "time", "logicalTypeOptions": {"format": "HHmm", "minimum": "06:00"}},
    {"name": "tags", "logicalType": "array", "logicalTypeOptions": {"maxItems": 3, "uniqueItems": True}},
    {"name": "mode", "logicalType": "string", "enum": [{"value": "eco"}, {"value": "full"}],
     "quality": [{"metric": "nullValues", "mustBeLessThan": 50, "unit": "percent"}]},
    {"name": "mail", "logicalType": "string", "classification": "PII",
     "logicalTypeOptions": {"maxLength": 20},
     "customProperties": [{"property": "piiTreatment", "value": "hash"}]},
    {"name": "owner", "logicalType": "string", "classification": "PII",
     "customProperties": [{"property": "piiTreatment", "value": "mask"}]},
    {"name": "secret", "logicalType": "string", "classification": "PII",
     "customProperties": [{"property": "piiTreatment", "value": "drop"}]},
]  # fmt: skip
CONTRACT: dict[str, Any] = {
    "apiVersion": "v3.2.0", "kind": "DataContract", "id": "x", "version": "2.0.0", "status": "active",
    "slaProperties": [{"property": "retention", "value": 400, "unit": "d"}],
    "schema": [{
        "name": "events",
        "properties": [{"description": "A field"} | of for of in EVERYTHING],
        "quality": [
            {"metric": "rowCount", "mustBe": 40},
            {"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["device", "count"]}},
            {"type": "sql", "query": "SELECT count(*) FROM ${table} WHERE size > 199", "mustBe": 0},
        ],
    }],
}  # fmt: skip


def events() -> list[Message]:
    """Forty good events and three that are refused."""
    return [message(number, f"dev{number % 7}") for number in range(40)] + [
        message(number, "NO DEVICE") for number in range(40, 43)
    ]


def message(number: int, device: str) -> Message:
    payload = {
        "device": device, "size": number * 4, "count": number, "level": number / 2, "money": "12.50",
        "ok": number % 2 == 0, "day": "28.02.2026", "at": "2026-07-01T12:00:00", "since": 1_700_000_000_000,
        "opens": "0830", "tags": [1, 2], "mode": "eco" if number % 3 else None, "owner": "Ada",
        "mail": f"a{number}@example.org", "secret": "x",
    }  # fmt: skip
    moment = "2026-11-01T10:00:00Z"
    envelope = {
        "message_id": f"m{number}", "idempotency_key": f"k{number}", "topic_name": "events",
        "period_reference": "2026-11", "correlation_id": "c", "publish_time": moment, "payload": payload,
    }  # fmt: skip
    return Message(
        json.dumps(envelope), "events", Kind.ORIGINAL, f"m{number}", f"k{number}", 1_793_527_200_000_000
    )


@pytest.fixture(scope="module")
def program() -> Path:
    if not PROGRAM.exists():
        pytest.skip("datacontract-cli is not installed; `make test-datacontract` installs it")
    return PROGRAM


def judged(
    program: Path, target: Target, folder: Path, document: dict[str, Any], command: str
) -> dict[str, Any]:
    """What the program says of a document: the result of each check, by its name, and of all."""
    contract, answer = folder / "contract.odcs.yaml", folder / "answer.json"
    contract.write_text(yaml.safe_dump(document))
    answer.unlink(missing_ok=True)
    ended = subprocess.run(
        [program, command, contract, "--output", answer, "--output-format", "json"],
        env=os.environ | target.reader_settings() | {"HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert answer.exists(), ended.stdout + ended.stderr
    said = json.loads(answer.read_text())
    assert (ended.returncode == 0) == (said["result"] == "passed"), ended.stdout
    for check in said["checks"]:
        if check["result"] != "passed":
            sys.stderr.write(f"{check['result']}: {check['name']}: {check.get('reason')}\n")
    return {"result": said["result"]} | {check["name"]: check["result"] for check in said["checks"]}


def test_what_is_published_is_found_to_be_as_the_contract_says(
    program: Path,
    target: Target,
    lean_ops: Callable[..., Result],
    send: Callable[..., None],
    tmp_path: Path,
) -> None:
    send(iter([*events(), *readings(1, every_days=10)]))
    file = tmp_path / "events.yaml"
    file.write_text(yaml.safe_dump(CONTRACT))
    for arguments in (
        ("contract", "publish", str(file), "--topic", "events", "--accept", "--reason", "a trial"),
        ("run", "--topic", "events"),
        ("run", "--topic", "weather"),
    ):
        ended = lean_ops(*arguments)
        assert ended.exit_code == 0, (ended.output, ended.exception)

    exports = {
        topic: json.loads(lean_ops("contract", "export", "--topic", topic, "--json").stdout)
        for topic in ("events", "weather")
    }
    for topic, document in exports.items():
        assert judged(program, target, tmp_path, document, "lint")["result"] == "passed", topic
        found = judged(program, target, tmp_path, document, "test")
        assert [name for name, result in found.items() if result != "passed"] == [], topic
    found = judged(program, target, tmp_path, exports["events"], "test")
    for check in (
        "Check that primary key field idempotency_key has no duplicate values",
        "Check that field size has a maximum of 200",
        "Check that field device matches regex pattern ^[a-z]+[0-9]$",
        "Check that field mode only contains enum values ['eco', 'full']",
        "Check that field day has a minimum of 2020-01-01",
    ):
        assert check in found

    # The same program finds what is not so: a promise that rows do not keep, of every kind.
    table = exports["events"]["schema"][0]
    named = {of["name"]: of for of in table["properties"]}
    named["size"]["logicalTypeOptions"] = {"maximum": 10}
    named["mode"]["required"] = True
    named["opens"]["logicalType"] = "timestamp"
    named["money"]["quality"] = [{"metric": "duplicateValues", "mustBe": 0}]
    table["quality"][0]["mustBe"] = 41
    table["properties"].append({"name": "secret", "logicalType": "string"})
    found = judged(program, target, tmp_path, exports["events"], "test")
    assert found["result"] == "failed"
    assert sum(result == "failed" for result in found.values()) >= 7, found
