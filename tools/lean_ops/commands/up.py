"""``up``: start the local stack."""

from dataclasses import asdict
from typing import Annotated

import typer

from lean_ops.accounts import comeback
from lean_ops.accounts.ledger import Ledger
from lean_ops.commands.options import JsonOption, StackOption, stack_folder
from lean_ops.console.printing import complain, say, show_json
from lean_ops.environment.repository import contract_files
from lean_ops.local import spark
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget, keep_spark
from lean_ops.operate import contracts, publishing


def up(
    stack: StackOption = "local",
    port: Annotated[
        int | None,
        typer.Option(
            help="Port of the AWS emulator; the Firehose stand-in takes the next one.", min=1, max=65_534
        ),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(help="Topic whose contract goes in place whatever it refuses; may be repeated."),
    ] = None,
    with_spark: Annotated[
        bool | None,
        typer.Option(
            "--with-spark/--without-spark",
            help="Run jobs that outgrow a function on Spark; stays so until it is said again.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Start the local stack and bring it up to date with this checkout; safe to run again.

    After a kill or a power cut it says, by the ledger, what the emulated queue has lost. A changed contract
    that would refuse much of what is there stays out, and exit code 1 says so, until it is accepted.
    """
    folder = stack_folder(stack)
    if with_spark and (lacks := spark.missing() or spark.install()):
        complain(f"{lacks}. Without it all jobs run as functions: `lean-ops up`")
        raise typer.Exit(1)
    own = Stack(folder, ports=(port, port + 1) if port else None)
    record = own.up()
    if with_spark is not None:
        keep_spark(folder, wanted=with_spark)
    target = LocalTarget.running(folder)
    with target.reached():
        held, left = _changed_contracts(target, accept or [])
        provision(target, Tuning(schedules=True), kept={topic: text for topic, (text, _) in held.items()})
        told = comeback.account(target, Ledger(folder / "ledger")) if own.crashed else None
    if json:
        show_json(
            {
                "folder": folder,
                "endpoints": _endpoints(stack),
                "crashed": asdict(told) if told else None,
                "rows_left": left,
                "contracts_not_accepted": {topic: clauses for topic, (_, clauses) in held.items()},
            }
        )
    else:
        for sentence in told.sentences() if told else ():
            say(sentence, style="yellow")
        say(f"The local stack {stack!r} runs at {record.emulator.endpoint} (state in {folder}).")
        for topic in left:
            say(
                f"Contract of {topic}: rows of before stay as they are until they change; `lean-ops contract "
                f"publish --topic {topic}` brings them along.",
                "yellow",
            )
        say("Next: `lean-ops send`, `lean-ops run`, `lean-ops query`, and `lean-ops down` to stop it.")
    for topic, (_, clauses) in held.items():
        complain(
            f"contracts/{topic}.yaml is not put in place: {'; '.join(clauses)}. See `lean-ops contract plan "
            f"--topic {topic}`; mend it, or `lean-ops up --accept {topic}`"
        )
    if held:
        raise typer.Exit(1)


def _changed_contracts(
    target: LocalTarget, accepted: list[str]
) -> tuple[dict[str, tuple[str | None, list[str]]], list[str]]:
    """Contracts of the checkout that take away too much, on a stack that was up before.

    And the topics whose contract goes in place although it types otherwise what the one before has typed.
    """
    client = target.client("s3")
    if target.lake_bucket not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
        return {}, []
    texts = {topic: path.read_bytes().decode() for topic, path in contract_files().items()}
    held = contracts.not_accepted(target, texts, accepted)
    left = [
        topic
        for topic, text in texts.items()
        if topic not in held
        and publishing.types_otherwise(contracts.published_text(target, topic), text, topic)
    ]
    return held, left


def _endpoints(stack: str) -> dict[str, str]:
    return {
        service or "aws": url for service, url in LocalTarget.running(stack_folder(stack)).endpoints.items()
    }
