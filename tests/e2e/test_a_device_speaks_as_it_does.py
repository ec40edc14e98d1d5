"""Messages of devices, through the queue and by their sources into tables; traced, replayed when mended."""

import base64
import gzip
import json
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

METERS = """\
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, target: Target) -> Iterator[Path]:
    """The sources of the environment, as ``up`` writes them."""
    folder = tmp_path_factory.mktemp("sources")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_files, "SOURCES", folder)
        (folder / "meters.yaml").write_text(METERS)
        (folder / "hall.yaml").write_text(HALL)
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
    found = rows(lean_ops, "SELECT DISTINCT idempotency_key, json_payload, source FROM raw_events ORDER BY 1")
    assert [(row["idempotency_key"], row["source"]) for row in found] == [
        (f"m-1|{rfc3339(NOW_MS * 1000)}", "meters@1"),
        (f"m-3|{rfc3339(NOW_MS * 1000)}", "meters@1"),
        ("p-7", "hall@3"),
    ]
    assert found[2]["json_payload"] == '{"temp":21.50}'


@pytest.mark.usefixtures("sent")
def test_trace_names_the_source(lean_ops: Callable[..., Result]) -> None:
    (found,) = rows(lean_ops, "SELECT DISTINCT message_id FROM raw_events WHERE idempotency_key LIKE 'm-1|%'")
    traced = json.loads(lean_ops("trace", str(found["message_id"]), "--json").stdout)
    accepted = next(sighting for sighting in traced["sightings"] if sighting["place"] == "source queue")
    assert accepted["facts"]["source"] == "meters@1"


def test_a_mended_source_takes_the_letter_and_repeats_nothing(
    folder: Path, sent: Target, lean_ops: Callable[..., Result]
) -> None:
    before = rows(lean_ops, "SELECT DISTINCT message_id, idempotency_key FROM raw_events")
    mended = (
        METERS.replace("version: 1", "version: 2")
        .replace("as: ms}", "as: ms}\n  - $arrived")
        .replace("time: {", "time:\n  - {")
    )
    (folder / "meters.yaml").write_text(mended)
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
    assert len(after) == len(before) + 1
    assert str(new[0]["idempotency_key"]).startswith("m-2|")
