"""``send``: simulated devices, or a person's own readings, into the source queue."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from common.runtime import outside
from common.runtime.errors import InvalidInput
from lean_ops.accounts import comeback
from lean_ops.accounts.arrival import Arrival, wait_for_arrival, wait_for_ids
from lean_ops.accounts.ledger import Ledger, LedgerRun
from lean_ops.accounts.messages import Message
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.commands.options import a_number, stack_folder
from lean_ops.console.printing import progress, say, show_table
from lean_ops.environment.target import Target
from lean_ops.operate import trial
from lean_ops.operate.replay.intake import Outgoing, QueueIntake
from lean_ops.operate.trial import Raw
from lean_ops.simulate import readings, sender
from lean_ops.simulate.history import MAX_DAYS, History, Scenario
from lean_ops.simulate.readings import BadRow, Preview, ReadingMapping, Row
from lean_ops.simulate.sender import SendPolicy, SendResult

_SHOWN_BAD_ROWS = 10


@on_target(topic=True)
def send(
    call: Call,
    events: Annotated[int, typer.Option(help="Simulated events to send.", min=1, max=10**9)] = 10_000,
    seed: Annotated[int, typer.Option(help="Another seed gives other devices and faults.")] = 1,
    days: Annotated[
        float,
        typer.Option(
            help="Days that the simulated history covers.", min=0.05, max=MAX_DAYS, callback=a_number
        ),
    ] = 30.0,
    devices: Annotated[int, typer.Option(help="Simulated devices.", min=1, max=1_000_000)] = 500,
    file: Annotated[
        Path | None,
        typer.Option(help="Send these readings instead: .csv, .tsv, .ndjson, .jsonl (also .gz) or .parquet."),
    ] = None,
    key: Annotated[
        str, typer.Option(help="Column of the file that identifies a reading; several as a,b.")
    ] = "",
    time: Annotated[str, typer.Option(help="Column of the file with the time of a reading.")] = "",
    time_format: Annotated[
        str | None, typer.Option(help="Format of that time, as strptime; default: guessed.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="Zone of times without an offset.")] = "UTC",
    rename: Annotated[
        list[str] | None, typer.Option(help="old=new; dots in the new name make nested objects.")
    ] = None,
    drop: Annotated[list[str] | None, typer.Option(help="Column to leave out.")] = None,
    constant: Annotated[list[str] | None, typer.Option(help="name=value, added to every row.")] = None,
    operation: Annotated[
        str | None, typer.Option(help="Column of the file that says delete where a reading is taken back.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the first events; send nothing.")] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the run that was interrupted, or send again what has gone missing."
        ),
    ] = False,
    raw: Annotated[
        Path | None,
        typer.Option(
            help="Send this file as a device would, for a source to read: one message, byte for byte."
        ),
    ] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="Each line of the file of --raw is a message.")
    ] = False,
    mqtt_topic: Annotated[
        str | None, typer.Option(help="MQTT topic of the messages of --raw, as AWS IoT's rule says it.")
    ] = None,
    client: Annotated[str | None, typer.Option(help="MQTT client that sends the messages of --raw.")] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(help="name=value, an attribute of the messages of --raw.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Messages a second at most.", min=0.1, callback=a_number)
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until everything sent is in RAW, so that `run` finds it.")
    ] = False,
) -> Answer:
    """Send events into the source queue: simulated devices, the readings in a file of yours, or messages.

    Everything sent is on a ledger first, so that an interrupted run can be resumed and every run reconciled;
    messages of --raw are not, since sources decide what they become. Exit code 1 when rows of a file had to
    be left out, a message will be refused, or --wait saw messages not arrive.
    """
    target, topic = call.target, call.topic
    if raw is not None:
        _no_options_of("a file or simulation", file=file, key=key, time=time, resume=resume, rate=rate)
        several = trial.messages(
            raw, lines=lines, attributes=_pairs("attribute", attribute), mqtt_topic=mqtt_topic, client=client
        )
        return _send_raw(target, list(several), dry_run=dry_run, wait=wait)
    _no_options_of(
        "messages of --raw", lines=lines, mqtt_topic=mqtt_topic, client=client, attribute=attribute
    )
    ledger = Ledger(stack_folder(call.place) / "ledger")
    if resume and target.ledger_folder is not None and ledger.runs() and not ledger.unfinished():
        comeback.account(target, ledger)  # runs of which something is gone can be resumed then
    if file is None:
        _no_file_options(key=key, time=time, rename=rename, drop=drop, constant=constant, operation=operation)
        scenario = Scenario(
            events=events, seed=seed, end=outside.now(), days=days, devices=devices, topic=topic
        )
        if resume:
            scenario = _unfinished_scenario(ledger)
        if dry_run:
            first = list(islice(History(scenario), 3))
            return Answer([_fields(message) for message in first], lambda: _show_messages(first))
        run = ledger.resume(scenario.description()) if resume else ledger.begin(scenario.description())
        result = _send(History(scenario), scenario.events, run, target, rate, quiet=call.json)
        arrived = _arrived(target, ledger, run, quiet=call.json) if wait else None
        return _answer(result, _LeftOut(), arrived)

    plan = ReadingMapping(
        topic,
        key=tuple(part.strip() for part in key.split(",")),
        time=time,
        timezone=timezone,
        time_format=time_format,
        rename=_pairs("rename", rename),
        drop=frozenset(drop or ()),
        constants=_pairs("constant", constant),
        operation=operation,
    )
    if dry_run:
        seen = readings.preview(file, plan)
        preview = {**asdict(seen), "messages": [_fields(message) for message in seen.messages]}
        return Answer(preview, lambda: _show_preview(seen))
    source = plan.source(file)
    run = ledger.resume(source) if resume else ledger.begin(source)
    left_out = _LeftOut()
    events_of_file = readings.messages(file, plan, left_out.note, left_out.note_ambiguous)
    result = _send(events_of_file, None, run, target, rate, quiet=call.json)
    arrived = _arrived(target, ledger, run, quiet=call.json) if wait else None
    return _answer(result, left_out, arrived)


def _send_raw(target: Target, several: list[Raw], *, dry_run: bool, wait: bool) -> Answer:
    """Messages as devices send them, into the queue; what becomes of them is for their sources to say."""
    if dry_run:
        document = {"messages": [asdict(one) for one in several]}
        return Answer(document, lambda: say("\n".join(one.body for one in several)))
    started = trial.sources_of(target)
    arrived_ms = round(outside.now().timestamp() * 1000)
    ids: dict[str, set[str]] = {}
    refused = 0
    for tried in trial.tried(started, target.topics, several, arrived_ms):
        refused += tried.dead is not None
        for event in tried.events:
            ids.setdefault(event.fields["topic_name"], set()).add(event.fields["message_id"])
    outgoing = [
        Outgoing(
            one.body,
            {name: {"DataType": "String", "StringValue": text} for name, text in one.attributes.items()},
        )
        for one in several
    ]
    QueueIntake(target.client("sqs"), target.queue_url(target.source_queue)).send(outgoing)
    arrived = wait_for_ids(target, ids) if wait else None
    answer = {
        "sent": len(several),
        "events": sum(map(len, ids.values())),
        "messages_refused": refused,
        **({} if arrived is None else {"arrived": asdict(arrived)}),
    }

    def tell() -> None:
        say(f"{len(several):,} messages sent, which are {sum(map(len, ids.values())):,} events.")
        if refused:
            say(f"{refused:,} of them will be dead letters: `lean-ops source try` says why.", style="yellow")
        for sentence in arrived.sentences() if arrived else ():
            say(sentence, style="yellow" if arrived and arrived.missing else "")

    return Answer(answer, tell, failed=bool(refused) or (arrived is not None and bool(arrived.missing)))


class _LeftOut:
    """Rows that could not be sent, and how many of the others have a time that is not clear."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[BadRow] = []
        self.ambiguous_times = 0

    def note(self, row: BadRow) -> None:
        self.count += 1
        if len(self.first) < _SHOWN_BAD_ROWS:
            self.first.append(row)

    def note_ambiguous(self, _row: Row) -> None:
        self.ambiguous_times += 1


def _arrived(target: Target, ledger: Ledger, run: LedgerRun, *, quiet: bool) -> Arrival:
    """Wait until what the run has sent is in RAW, or stops moving."""
    with progress(quiet=quiet) as bar:
        total = ledger.expected_in_raw(run)
        task = bar.add_task("arriving", total=total)
        return wait_for_arrival(
            target,
            ledger,
            run,
            on_wait=lambda arrival: bar.update(task, completed=total - arrival.missing),
        )


def _send(
    messages: Iterable[Message],
    total: int | None,
    run: LedgerRun,
    target: Target,
    rate: float | None,
    *,
    quiet: bool,
) -> SendResult:
    with progress(quiet=quiet) as bar, closing(target.queue_client()) as client:
        task = bar.add_task("sending", total=total)
        return sender.send(
            messages,
            client,
            target.queue_url(target.source_queue),
            run,
            policy=SendPolicy(per_second=rate),
            on_progress=lambda done: bar.update(task, completed=done.earlier + done.sent),
        )


def _answer(result: SendResult, left_out: _LeftOut, arrived: Arrival | None) -> Answer:
    document = {
        **asdict(result),
        "left_out": left_out.count,
        "first_left_out": [asdict(row) for row in left_out.first],
        "ambiguous_times": left_out.ambiguous_times,
        **({} if arrived is None else {"arrived": asdict(arrived)}),
    }
    missing = arrived is not None and bool(arrived.missing)
    return Answer(document, lambda: _tell(result, left_out, arrived), failed=missing or bool(left_out.count))


def _tell(result: SendResult, left_out: _LeftOut, arrived: Arrival | None) -> None:
    pace = result.sent / result.seconds if result.seconds else 0.0
    earlier = f" after {result.earlier:,} in an earlier run" if result.earlier else ""
    say(f"{result.sent:,} messages sent{earlier} in {result.seconds:.1f} s ({pace:,.0f} a second).")
    if left_out.count:
        rows = [[str(row.number), row.reason] for row in left_out.first]
        show_table(f"{left_out.count:,} rows were left out, among them:", ["row", "why"], rows)
    if left_out.ambiguous_times:
        say(_ambiguous(left_out.ambiguous_times), style="yellow")
    if arrived is None:
        say(
            "They are on the way: `lean-ops run` finds what is in RAW; `lean-ops send --wait` waits for that."
        )
    else:
        for sentence in arrived.sentences():
            say(sentence, style="yellow" if arrived.missing else "")


def _ambiguous(count: int) -> str:
    return (
        f"{count:,} rows have a time in an hour that clocks of this timezone show twice; each was taken for "
        "the first, so that two readings may have one time, and one key if the time is part of it. Give such "
        "times with their offset."
    )


def _show_preview(seen: Preview) -> None:
    show_table(
        f"Columns of the first {seen.rows:,} rows",
        ["column", "looks like", "filled", "distinct", "example"],
        [[c.name, c.guess.value, c.filled, c.distinct, c.example] for c in seen.columns],
    )
    _show_messages(seen.messages)
    for row in seen.bad_rows[:_SHOWN_BAD_ROWS]:
        say(f"row {row.number} would be left out: {row.reason}")
    if seen.ambiguous_times:
        say(_ambiguous(seen.ambiguous_times), style="yellow")


def _show_messages(messages: Iterable[Message]) -> None:
    say("The first events, as they would be sent:")
    for message in messages:
        say(message.body)


def _fields(message: Message) -> dict[str, str | int]:
    return {"topic": message.topic, "key": message.key, "body": message.body}


def _unfinished_scenario(ledger: Ledger) -> Scenario:
    """The newest simulated run that was not sent to its end; raises InvalidInput where there is none."""
    for source in reversed(ledger.unfinished()):
        if "seed" in source and "part" not in source:
            return Scenario.from_description(source)
    raise InvalidInput("--resume: expected a simulated run that was interrupted, found none; send without it")


def _pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise InvalidInput(f"--{option}: expected name=value, found {text!r}")
        pairs[name] = value
    return pairs


def _no_options_of(what: str, **options: object) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value]
    if given:
        raise InvalidInput(
            f"{', '.join(given)}: expected for {what} alone, found beside others; leave it out"
        )


def _no_file_options(**options: object) -> None:
    given = [f"--{name}" for name, value in options.items() if value]
    if given:
        raise InvalidInput(f"{', '.join(given)}: expected together with --file, found no file; name one")
