"""``history``: every version of one key."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from common.lake import views
from common.runtime import outside
from common.runtime.errors import InvalidInput
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.console.printing import say, show_table
from lean_ops.operate import history as histories
from lean_ops.operate.replay.selection import Selection


@on_target(topic=True)
def history(
    call: Call,
    key: Annotated[str | None, typer.Argument(help="The idempotency_key of the events.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Published since then: 2026-02-28T12:00:00Z, or an age: 7d.")
    ] = None,
    athena: Annotated[
        bool, typer.Option("--athena", help="Print the statement that makes a view of all keys in Athena.")
    ] = False,
) -> Answer:
    """Show every version of a key: since when it counted, until when, and what became of it.

    Deletes and refused versions are among them, copies are counted. Exit code 1 for a key that is not in RAW.
    The history of all keys is the view history_<topic> of `lean-ops query`.
    """
    if athena or key is None:
        if not athena or key is not None or since is not None:
            raise InvalidInput(
                "history: expected a KEY, or --athena alone, found "
                f"{'neither' if not athena else 'both'}; see `lean-ops history --help`"
            )
        statement = views.history(call.topic).create()
        return Answer({"statement": statement}, lambda: say(statement))
    begin = Selection.parse(since=since, until=None, now=outside.now()).since
    versions = histories.history(call.target, call.topic, key, begin)

    def tell() -> None:
        if not versions:
            say(
                f"RAW of {call.topic} has no event of this key; --since may be too late, or it is on its way."
            )
            return
        show_table(
            f"{len(versions)} versions of {key}, the newest first",
            ["message", "what", "since", "until", "received", "copies", "fate"],
            [
                [
                    version.message_id,
                    version.what,
                    _moment(version.since),
                    _moment(version.until) if version.until else "-",
                    _moment(version.received),
                    version.copies,
                    version.fate,
                ]
                for version in reversed(versions)
            ],
        )

    document = {"key": key, "versions": [asdict(version) for version in versions]}
    return Answer(document, tell, failed=not versions)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S.%fZ}"
