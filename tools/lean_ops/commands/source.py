"""``source``: check the descriptions of devices, and see what they make of messages before they run."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from common.intake.sources import Source, SourceError, Sources, compile_source, rfc3339
from common.intake.sources.matching import content_of
from common.runtime import outside
from common.runtime.errors import InvalidInput
from lean_ops.commands.options import JsonOption
from lean_ops.console.printing import say, show_json
from lean_ops.environment.repository import known_topics
from lean_ops.environment.source_files import (
    SourceFinding,
    descriptor_files,
    lint,
    load_source,
    overlaps,
    read_source,
    source_files,
    text_of,
)
from lean_ops.operate import trial
from lean_ops.operate.trial import Tried

app = typer.Typer(help="Describe devices as they already speak.", no_args_is_help=True)

_SHOWN_CHARS = 600
_SHOWN_EVENTS = 20


@app.command("lint")
def lint_sources(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Sources to check; default: every file in sources/.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="The version in use: says where ids of delivered events would change.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say what is wrong or doubtful in sources, with its line; exit code 1 when something must change."""
    paths = files or list(source_files().values())
    found: dict[str, list[SourceFinding]] = {str(path): lint(path, against) for path in paths}
    found["together"] = overlaps(_compiled(paths))
    if json:
        show_json({path: [asdict(finding) for finding in findings] for path, findings in found.items()})
    for path, findings in found.items():
        if not json and (findings or path != "together"):
            say(f"{path}: {'nothing to say' if not findings else ''}")
            for finding in findings:
                say(f"  {finding}")
    if any(finding.severity == "error" for findings in found.values() for finding in findings):
        raise typer.Exit(1)


def _compiled(paths: list[Path]) -> dict[str, Source]:
    """The sources that can be; what is wrong with the others was said."""
    compiled = {}
    for path in paths:
        try:
            compiled[path.stem] = compile_source(
                path.stem, read_source(text_of(path)).document, descriptor_files(path.parent)
            )
        except SourceError:
            continue
    return compiled


@app.command("try")
def try_messages(
    message: Annotated[str, typer.Argument(help="A file with a message, or the message itself.")],
    source: Annotated[
        list[Path] | None, typer.Option("--source", help="Sources to try; default: every file in sources/.")
    ] = None,
    lines: Annotated[bool, typer.Option("--lines", help="Each line of the file is a message.")] = False,
    mqtt_topic: Annotated[
        str | None, typer.Option(help="MQTT topic that the message came on, as AWS IoT's rule says it.")
    ] = None,
    client: Annotated[str | None, typer.Option(help="MQTT client that sent it.")] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(help="name=value, an attribute of the queue's message.")
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option("--topic", help="Topics that there are; default: those of contracts/.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show what becomes of messages: events, skips and refusals, each beside the message. Nothing is sent.

    Exit code 1 when a message, or a reading in one, would be refused.
    """
    sources = Sources(load_source(path) for path in source or source_files().values())
    several = messages_of(message, lines=lines, attribute=attribute, mqtt_topic=mqtt_topic, client=client)
    failed = False
    documents = []
    for one in trial.tried(
        sources, topic or known_topics(), several, round(outside.now().timestamp() * 1000)
    ):
        failed = failed or one.dead is not None
        if json:
            documents.append(asdict(one))
        else:
            _show(one)
    if json:
        show_json(documents)
    if failed:
        raise typer.Exit(1)


def messages_of(
    message: str, *, lines: bool, attribute: list[str] | None, mqtt_topic: str | None, client: str | None
) -> list[trial.Raw]:
    """The messages that an argument names: those of a file, or the text itself; raises InvalidInput."""
    attributes = {}
    for text in attribute or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise InvalidInput(f"--attribute: expected name=value, found {text!r}")
        attributes[name] = value
    if message[:1] in {"{", "["}:
        return [trial.raw("message", message.encode("utf-8", "replace"), attributes, mqtt_topic, client)]
    if "\0" in message:
        raise InvalidInput("message: expected a file, or a JSON text, found a text with a zero character")
    path = Path(message)
    return list(
        trial.messages(path, lines=lines, attributes=attributes, mqtt_topic=mqtt_topic, client=client)
    )


def _show(one: Tried) -> None:
    content, mqtt_topic = content_of(one.message.body)
    body = content if isinstance(content, str) else content.decode(errors="replace")
    body = body if mqtt_topic is None else f"{body} (on {mqtt_topic})"
    shown = body if len(body) <= _SHOWN_CHARS else f"{body[:_SHOWN_CHARS]}… ({len(body):,} characters)"
    say(f"{one.message.name}: {shown}")
    say(f"  read by {one.source}" if one.source else "  for no source" if one.dead else "  an event already")
    for event in one.events[:_SHOWN_EVENTS]:
        fields = event.fields
        what = "delete" if fields["operation"] == "delete" else fields["json_payload"]
        say(f"  event {event.place}: {fields['topic_name']}, key {fields['idempotency_key']}")
        say(f"    at {rfc3339(fields['publish_time'])}, id {fields['message_id']}")
        say(f"    {what}")
    if len(one.events) > _SHOWN_EVENTS:
        say(f"  and {len(one.events) - _SHOWN_EVENTS:,} events more")
    for reason, count in sorted(one.skipped.items()):
        say(f"  skipped: {reason} ({count:,})")
    for place, code, detail in one.refused[:_SHOWN_EVENTS]:
        say(f"  refused {place or 'message'}: {code}: {detail}", style="yellow")
    if one.dead is not None:
        say(f"  dead letter: {one.dead[0]}: {one.dead[1]}", style="yellow")
