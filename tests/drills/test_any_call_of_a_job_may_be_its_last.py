"""A job's process is killed before and after any external call of it: the ends are those of a clean run.

A clean round of a job on a local stack writes its calls down (tests/support/recorder). Then the same round is
made again for each, in which the process is really gone (``kill -9``) before or after that call. What tries
again is what does so on AWS: the queue, the state machine, the next time of the schedule. Behind each round
tables hold what a single pass over all events gives, and logs, letters and archive what a clean round leaves.

So it is with commands of an operator that change something: one that is killed is given again, and ends well.

Here a sample is killed of the three functions that rows go through, and of commands a rollback: before the
first call, and after the one in the middle of those that change something. ``make test-outside-faults`` kills
every function and command at every call, and prints how many there were.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from common.contract.contracts import load_contract
from common.contract.store import contract_key
from common.lake.upkeep import referenced_files
from lean_ops.accounts import observation
from lean_ops.commands.options import STACKS
from lean_ops.environment.repository import function_catalogue
from lean_ops.environment.target import Target
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.operate import pipeline

from ..support.oracle import newest_good, single_pass
from ..support.recorded import RECORDER, Recorded

WHOLE: Final = os.environ.get("OUTSIDE_FAULTS") == "whole"
TOPIC: Final = "events"
# A batch that a killed one had is there again after two seconds.
TUNING: Final = Tuning(
    visibility_timeout_s=2, buffer_interval_s=1, batching_window_s=0, max_receive_count=1000
)
CHANGES: Final = (
    "Put", "Update", "Delete", "Send", "Create", "Start", "Change", "Invoke", "Batch"
)  # fmt: skip
# Called by an alarm and for Snowflake, which no local stack has.
ELSEWHERE: Final = {"alert", "snowflake_latency"}
SAMPLE: Final = {"curation", "semantic", "sqs_processor"}
JOBS: Final = sorted({entry.name for entry in function_catalogue()} - ELSEWHERE if WHOLE else SAMPLE)
# What they are called with; who is not here is called by the queue or by a run.
ASKED: Final[dict[str, dict[str, Any]]] = {
    "archive_dead_letters": {},
    "circuit_breaker": {"trigger": "schedule"},
    "dispatcher": {},
    "maintenance": {"topic": TOPIC},
    "notify_missing_schema": {"topic": TOPIC, "run_id": "r"},
    "observation": {"time": "2026-06-01T00:00:00+00:00"},
    "reconciliation": {},
}
# Commands that change something, as they are given in a round; what they name is filled in (``words``).
GIVEN: Final[dict[str, tuple[str, ...]]] = {
    "rollback": ("rollback", "curated", "--to", "{before}"),
    "rebuild": ("rebuild", "--layer", "curated", "--yes"),
    "rebuild-semantic": ("rebuild", "--layer", "semantic", "--yes"),
    "reset": ("checkpoints", "reset", "semantic"),
    "erase": ("erase", "--key", "{key}", "--yes"),
    "publish": ("contract", "publish", "{contract}", "--accept"),
    "replay-letters": ("replay", "dlq"),
    "replay-refused": ("replay", "quarantine"),
}
WHY: Final = ("--reason", "a drill")
COMMANDS: Final = sorted(GIVEN) if WHOLE else ["rollback"]
# Letters that a killed one had hidden are there after five minutes: until then its repetition says that it
# has not seen the whole queue (docs/runbook.md).
NOT_OVER: Final = {"erase": 1}


@dataclass
class Environment:
    """A local stack whose functions can be killed, and all that was sent into it."""

    target: Target
    folder: Path
    stack: str
    sent: list[dict[str, Any]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    began: datetime = field(default_factory=lambda: datetime(2026, 6, 1, tzinfo=UTC))

    # A round ----------------------------------------------------------------------------------------------

    def round(self, job: str, number: int = 0, when: str = "") -> bool:
        """New events, the job, and a run; whether the job was killed at that call."""
        if job != "sqs_processor":
            self.send()
        if number:
            name = self.target.function(job)
            self._plan("").write_text(json.dumps({"function": name, "number": number, "when": when}))
        self.send() if job == "sqs_processor" else self.work(job)
        killed = self._was_killed(job, number)
        self.run()
        return killed

    def give(self, name: str, number: int = 0, when: str = "") -> bool:
        """New events and a run, a command, and a run; whether the command was killed, and given again."""
        self.send()
        self.run()
        words = self.words(name)
        if number:
            self._plan("").write_text(json.dumps({"function": name, "number": number, "when": when}))
        recorded = {"RECORDED_AS": name, "RECORDED_CALLS": str(self.folder), "PYTHONPATH": str(RECORDER)}
        ended = self._lean_ops(words, **recorded)
        killed = self._was_killed(name, number)
        if killed:
            assert ended.returncode == -signal.SIGKILL, ended
            ended = self._lean_ops(words)
        well = {0, NOT_OVER.get(name, 0)} if killed else {0}
        assert ended.returncode in well, f"{' '.join(words)}: {ended.stdout}{ended.stderr}"
        self.run()
        return killed

    def words(self, name: str) -> list[str]:
        """A command, with what it names: a snapshot before, a key that nobody needs, another contract."""
        table = self.target.catalog().load_table(self.target.settings.table("curated", TOPIC))
        current = table.current_snapshot()
        named: dict[str, Any] = {"before": current.parent_snapshot_id if current else ""}
        if name == "erase":
            named["key"] = f"k{3 + (len(self.broken) - 1) % 40}"
            self.sent = [event for event in self.sent if event["idempotency_key"] != named["key"]]
        if name == "publish":
            named["contract"] = self._next_contract()
        words = [word.format(**named) for word in GIVEN[name]]
        return [*words, *(() if name.startswith("replay") else WHY), "--json", f"--stack={self.stack}"]

    def _next_contract(self) -> Path:
        """The contract in place, under its next patch version."""
        s3, bucket = self.target.client("s3"), self.target.lake_bucket
        text = s3.get_object(Bucket=bucket, Key=contract_key(TOPIC))["Body"].read().decode()
        version = load_contract(text, TOPIC).version
        *first, patch = version.split(".")
        following = ".".join([*first, str(int(patch) + 1)])
        file = self.folder / "contract.yaml"
        file.write_text(
            re.sub(rf"^version: .*{re.escape(version)}.*$", f"version: {following}", text, flags=re.M)
        )
        return file

    def _lean_ops(self, words: Sequence[str], **environment: str) -> "subprocess.CompletedProcess[str]":
        program = [str(Path(sys.executable).with_name("lean-ops")), *words]
        return subprocess.run(
            program, env=os.environ | environment, capture_output=True, text=True, check=False
        )

    def _was_killed(self, name: str, number: int) -> bool:
        """Whether what was planned came about; for the next round nothing is planned."""
        met, killed = self._plan(".met").exists(), self._plan(".killed").exists()
        for suffix in ("", ".met", ".killed"):
            self._plan(suffix).unlink(missing_ok=True)
        assert killed or not met, f"{name} went on behind call {number}"
        return killed

    def _plan(self, suffix: str) -> Path:
        return self.folder / f"last{suffix}"

    def send(self) -> None:
        """Corrections of a few keys, a new one, what a contract refuses, and what nobody can read."""
        turn = len(self.broken)
        events = [self._event(turn, key, "pump") for key in ("k1", "k2", f"k{3 + turn % 40}")]
        events.append(self._event(turn, "k0", "unknown" if turn % 2 else "pump"))
        self.broken.append(f"no event {turn}")
        self.sent += events
        with closing(self.target.client("sqs")) as client:
            url = self.target.queue_url(self.target.source_queue)
            bodies = [json.dumps(self._message(event)) for event in events] + self.broken[-1:]
            entries: Any = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]
            client.send_message_batch(QueueUrl=url, Entries=entries)
        assert observation.settle(self.target, timeout_s=300) == 0

    def _event(self, turn: int, key: str, kind: str) -> dict[str, Any]:
        payload = {
            "device": {"id": key, "type": kind},
            "reading": {"value": turn, "unit": "bar", "quality": "good"},
        }
        at = self.began + timedelta(minutes=turn)
        number = f"m{turn}-{key}"
        return {
            "message_id": number, "idempotency_key": key, "publish_time": at, "ingestion_ts": at,
            "json_payload": json.dumps(payload),
        }  # fmt: skip

    def _message(self, event: dict[str, Any]) -> dict[str, Any]:
        envelope = {name: event[name] for name in ("message_id", "idempotency_key")}
        payload = json.loads(event["json_payload"])
        return {
            **envelope, "topic_name": TOPIC, "payload": payload,
            "publish_time": event["publish_time"].isoformat(),
        }  # fmt: skip

    def work(self, job: str) -> None:
        """Let a job do its work, by what calls it on AWS, and what calls it again."""
        if job not in ASKED:
            self.run()
            return
        for _ in range(2):  # the next time of its schedule
            answer = self.target.client("lambda").invoke(
                FunctionName=self.target.function(job), Payload=json.dumps(ASKED[job])
            )
            said = answer["Payload"].read()
            if "FunctionError" not in answer:
                break
        else:
            raise AssertionError(f"{job} fails again when it is called again: {said!r}")
        client = self.target.client("stepfunctions")
        machine = self.target.state_machine_arn
        while found := client.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"]:
            list(pipeline.follow(self.target, found[0]["executionArn"]))

    def run(self) -> None:
        """A run; a function of it that is killed is called again by its state."""
        arn = pipeline.start(self.target, TOPIC)
        list(pipeline.follow(self.target, arn))
        outcome = pipeline.outcome(self.target, arn)
        assert outcome.succeeded, (outcome.error, outcome.cause)

    # What was called --------------------------------------------------------------------------------------

    def calls(self, job: str) -> list[Recorded]:
        """The calls of a clean round of a job, or of a command."""
        for path in self.folder.glob("*.ndjson"):
            path.unlink()
        name = job if job in GIVEN else self.target.function(job)
        if job in GIVEN:
            self.give(job)
        else:
            self.round(job)
        lines = [
            line for path in sorted(self.folder.glob("*.ndjson")) for line in path.read_text().splitlines()
        ]
        found = [json.loads(line) for line in lines]
        return [one for one in found if one["function"] == name]

    # What it ends as --------------------------------------------------------------------------------------

    def ends(self) -> dict[str, Any]:
        """What is in every place: as a single pass over all that was sent has it, in a clean run."""
        rows = {layer: self._rows(layer) for layer in ("raw", "curated", "semantic", "quarantine")}
        raw = Counter(row["message_id"] for row in rows["raw"])
        return {
            "raw": set(raw),
            "curated": Counter((row["idempotency_key"], row["message_id"]) for row in rows["curated"]),
            "semantic": Counter(
                (row["idempotency_key"], int(row["reading_value"])) for row in rows["semantic"]
            ),
            "quarantine": {row["idempotency_key"] for row in rows["quarantine"]},
        }

    def expected(self) -> dict[str, Any]:
        """The same, worked out of what was sent alone."""
        good = newest_good(self.sent, lambda payload: payload["device"]["type"] == "pump")
        return {
            "raw": {event["message_id"] for event in self.sent},
            "curated": Counter((key, e["message_id"]) for key, e in single_pass(self.sent).items()),
            "semantic": Counter(
                (key, json.loads(e["json_payload"])["reading"]["value"]) for key, e in good.items()
            ),
            "quarantine": {"k0"} if any("unknown" in e["json_payload"] for e in self.sent) else set(),
        }

    def _rows(self, layer: str) -> list[dict[str, Any]]:
        table = self.target.catalog().load_table(self.target.settings.table(layer, TOPIC))
        found: list[dict[str, Any]] = table.scan().to_arrow().to_pylist()
        return found

    def told(self) -> set[str]:
        """What the drift log has."""
        pages = (
            self.target.client("dynamodb")
            .get_paginator("scan")
            .paginate(TableName=self.target.drift_log_table)
        )
        return {f"{item['topic']['S']} {item['entry']['S']}" for page in pages for item in page["Items"]}

    def rests(self) -> None:
        """Nothing is left to read, no live file is gone, and every broken message is a letter."""
        last = ""
        # Copies that a killed sender handed over may be committed after the run that looked.
        for _ in range(3):
            if last != "NoNewData":
                arn = pipeline.start(self.target, TOPIC)
                last = [visit.name for visit in pipeline.follow(self.target, arn)][-1]
        assert last == "NoNewData"
        assert self.ends() == self.expected(), "at rest"
        for layer in ("raw", "curated", "semantic", "quarantine"):
            table = self.target.catalog().load_table(self.target.settings.table(layer, TOPIC))
            with ThreadPoolExecutor(8) as pool:
                needed = sorted(referenced_files(table, pool))
                there = pool.map(lambda path, io=table.io: io.new_input(path).exists(), needed)
                assert [path for path, found in zip(needed, there, strict=True) if not found] == []
        # Also those that a killed pass of the archive hides for five minutes.
        counted: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.target.client("sqs").get_queue_attributes(
            QueueUrl=self.target.queue_url(self.target.dead_letter_queue), AttributeNames=counted
        )
        letters = sum(map(int, found["Attributes"].values()))
        assert letters >= len(self.broken), "a message that nobody can read is in no queue"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    folder = tmp_path_factory.mktemp("last-calls")
    stack = Stack(folder / "stack", tied_to_parent=True, wait_scale=0.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(RECORDER))
        patch.setenv("RECORDED_CALLS", str(folder))
        stack.up()
    link = STACKS / f"last-calls-{os.getpid()}"
    try:
        target = LocalTarget.running(stack.folder)
        provision(target, TUNING)
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(stack.folder)
        found = Environment(target, folder, link.name)
        for _ in range(2):  # every key and refusal has been there
            found.round("curation")
        found.work("notify_missing_schema")
        yield found
    finally:
        link.unlink(missing_ok=True)
        stack.down(wipe=True)


def picked(calls: list[Recorded]) -> list[tuple[int, str]]:
    """Which calls are the last ones, in the order in which they are tried."""
    if WHOLE:
        return [(number, when) for number in range(1, 1 + len(calls)) for when in ("before", "after")]
    changing = [n for n, call in enumerate(calls, 1) if call["call"].startswith(CHANGES)]
    return [(1, "before"), ((changing or [len(calls)])[len(changing) // 2], "after")]


@pytest.mark.parametrize("job", [*JOBS, *COMMANDS])
def test_a_job_that_is_killed_at_a_call_ends_as_if_it_had_not_been(
    job: str, environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = environment.calls(job)
    assert calls, f"{job} has called nothing"
    assert environment.ends() == environment.expected(), "a clean round"
    told, kills = environment.told(), 0
    again = environment.give if job in GIVEN else environment.round
    for number, when in picked(calls):
        where = f"{job} killed {when} call {number}: {calls[number - 1]['call']}"
        kills += again(job, number, when)
        assert environment.ends() == environment.expected(), where
        assert environment.told() == told, where
    environment.rests()
    assert kills, f"{job} was never killed"
    if WHOLE:
        with capsys.disabled():
            sys.stdout.write(f"\n{job}: {len(calls)} calls, killed {kills} times of {2 * len(calls)}\n")
