"""Messages of devices, through the queue and by their sources into tables; traced, replayed when mended."""

import base64
import gzip
import json
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from common.intake.sources import rfc3339
from lean_ops.accounts import observation
from lean_ops.environment import source_files
from lean_ops.environment.target import Target
from lean_ops.local import provision

GATEWAY = """\
version: 1
description: Meters behind a gateway
match:
  attributes: {kind: meter}
unpack: [base64, gzip, ndjson]
topic: events
key: [meter, $time]
time: {at: ts, as: ms}
"""
HALL = """\
version: 3
description: Probes of the hall
match: {topic: "hall/{probe}/up"}
topic: events
key: $probe
time: [{at: t, as: s}, $arrived]
payload: {object: {temp: t_c}}
"""


PAGE = (Path(__file__).parents[2] / "docs/sources.md").read_text()


def block(language: str) -> str:
    """What the page has of a language first: the message, the source."""
    return PAGE.split(f"```{language}\n")[1].split("```")[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, target: Target) -> Iterator[Path]:
    """The sources of the environment, as ``up`` writes them."""
    folder = tmp_path_factory.mktemp("sources")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_files, "SOURCES", folder)
        (folder / "gateway.yaml").write_text(GATEWAY)
        (folder / "hall.yaml").write_text(HALL)
        (folder / "meters.yaml").write_text(block("yaml"))
        (folder / "meters.json").write_text(block("json"))
        provision.write_registries(target)
        yield folder


NOW_MS = round(time.time() * 1000)
LINES = f"""\
{{"meter":"m-1","ts":{NOW_MS},"kwh":1.10}}
{{"meter":"m-2"}}
{{"meter":"m-3","ts":{NOW_MS},"kwh":2}}
""".encode()


@pytest.fixture(scope="module")
def sent(folder: Path, target: Target, lean_ops: Callable[..., Result]) -> Target:
    batch = folder / "batch.b64"
    batch.write_text(base64.b64encode(gzip.compress(LINES)).decode())
    (folder / "probe.json").write_text('{"t_c":21.50}')
    first = lean_ops("send", "--raw", str(batch), "--attribute", "kind=meter", "--wait", "--json")
    assert json.loads(first.stdout)["events"] == 2
    assert first.exit_code == 1  # one reading will be refused, which is said
    second = lean_ops("send", "--raw", str(folder / "probe.json"), "--mqtt-topic", "hall/p-7/up", "--wait")
    assert second.exit_code == 0, second.stdout
    assert observation.settle(target, timeout_s=300) == 0
    return target


def rows(lean_ops: Callable[..., Result], sql: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(lean_ops("query", sql, "--json").stdout)
    return found


@pytest.mark.usefixtures("sent")
def test_readings_are_in_raw_with_their_source(lean_ops: Callable[..., Result]) -> None:
    sql = "SELECT DISTINCT idempotency_key, json_payload, source FROM raw_events ORDER BY 1"
    found = rows(lean_ops, sql)
    assert [(row["idempotency_key"], row["source"]) for row in found] == [
        (f"m-1|{rfc3339(NOW_MS * 1000)}", "gateway@1"),
        (f"m-3|{rfc3339(NOW_MS * 1000)}", "gateway@1"),
        ("p-7", "hall@3"),
    ]
    assert found[2]["json_payload"] == '{"temp":21.50}'


def test_the_page_ends_with_a_query(
    folder: Path, sent: Target, lean_ops: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    section = PAGE.split("\n## Through the queue into a table\n")[1]
    commands = [shlex.split(line)[1:] for line in section.split("```")[1].strip().splitlines()]
    assert [command[0] for command in commands] == ["up", "send", "run", "query", "dlq"]
    said = {command[0]: lean_ops(*command) for command in commands if command[0] != "up"}
    assert "2 events" in said["send"].stdout
    assert said["run"].exit_code == 0, said["run"].stdout
    for text in ("m-7|2024-10-20T08:00:00.512000Z", "10.10", "10.25", "2.1"):
        assert text in said["query"].stdout
    assert "MISSING_FIELD" in said["dlq"].stdout
    assert observation.settle(sent, timeout_s=300) == 0


@pytest.mark.usefixtures("sent")
def test_trace_names_the_source(lean_ops: Callable[..., Result]) -> None:
    (found,) = rows(lean_ops, "SELECT DISTINCT message_id FROM raw_events WHERE idempotency_key LIKE 'm-1|%'")
    traced = json.loads(lean_ops("trace", str(found["message_id"]), "--json").stdout)
    accepted = next(sighting for sighting in traced["sightings"] if sighting["place"] == "source queue")
    assert accepted["facts"]["source"] == "gateway@1"


def test_a_mended_source_takes_the_letter_and_repeats_nothing(
    folder: Path, sent: Target, lean_ops: Callable[..., Result]
) -> None:
    before = rows(lean_ops, "SELECT DISTINCT message_id, idempotency_key FROM raw_events")
    mended = (
        GATEWAY.replace("version: 1", "version: 2")
        .replace("as: ms}", "as: ms}\n  - $arrived")
        .replace("time: {", "time:\n  - {")
    )
    (folder / "gateway.yaml").write_text(mended)
    provision.write_registries(sent)
    # A function that is warm reads its registry once a minute; one that is started anew, at once.
    function = sent.function("sqs_processor")
    variables = sent.client("lambda").get_function_configuration(FunctionName=function)["Environment"]
    variables["Variables"]["LEAN_OPS_STARTED"] = "anew"
    sent.client("lambda").update_function_configuration(
        FunctionName=function,
        Environment={"Variables": variables["Variables"]},
    )
    replayed = lean_ops("replay", "dlq", "--reason", "MISSING_FIELD", "--json")
    assert replayed.exit_code == 0, replayed.stdout
    assert observation.settle(sent, timeout_s=300) == 0
    after = rows(lean_ops, "SELECT DISTINCT message_id, idempotency_key FROM raw_events")
    new = [row for row in after if row not in before]
    assert [str(row["idempotency_key"])[:4] for row in new] == ["m-2|"]


@pytest.mark.usefixtures("sent")
def test_the_doctor_names_messages_that_nobody_described(
    folder: Path, lean_ops: Callable[..., Result], target: Target
) -> None:
    (folder / "strange.json").write_text('{"who":"canary","v":[1,2]}')
    sent = lean_ops("send", "--raw", str(folder / "strange.json"), "--json")
    assert (sent.exit_code, json.loads(sent.stdout)["messages_refused"]) == (1, 1)
    assert observation.settle(target, timeout_s=300) == 0
    assert lean_ops("dlq", "archive").exit_code == 0
    said = lean_ops("doctor").stdout
    assert "for no source" in said
    assert "canary" not in said
