"""``erase``: the events of keys, out of everything that an environment has of them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from typer.core import TyperGroup

from common.runtime.errors import InvalidInput
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.commands.options import WaitOption, check_reason
from lean_ops.console.printing import human_bytes, progress, say, show_table
from lean_ops.environment import audit
from lean_ops.environment.target import Target
from lean_ops.operate import erase as erasing
from lean_ops.operate.erase import Certificate, Counted, Erasing, Objects, Selected, as_document

_SHOWN: Final = 20


class _RowsByDefault(TyperGroup):
    """``erase --key K`` is ``erase rows --key K``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["rows", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="erase",
    help="Erase the events of keys everywhere, search for what is left, and certify it.",
    cls=_RowsByDefault,
    no_args_is_help=True,
)
KeyOption = Annotated[
    list[str] | None, typer.Option("--key", help="An idempotency_key; may be given several times.")
]
KeysOption = Annotated[
    Path | None, typer.Option("--keys", help="A file of keys, one a line.", exists=True, dir_okay=False)
]


@app.command()
@on_target(topic=True)
def rows(
    call: Call,
    key: KeyOption = None,
    keys: KeysOption = None,
    where: Annotated[
        str | None,
        typer.Option("--where", help="Keys with an event for which this holds: \"device__id = 'd-17'\"."),
    ] = None,
    late: Annotated[
        bool, typer.Option("--late", help="What has arrived of keys that were erased before.")
    ] = False,
    every_key: Annotated[
        bool, typer.Option("--all", help="Let --where take every key of the topic.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit trail.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Erase without asking; cannot be undone.")] = False,
    wait: WaitOption = 60.0,
) -> Answer:
    """Say what each place has of the keys; with --yes, or when asked and agreed, erase it everywhere.

    Nothing brings it back: not a late event, a replay, a rebuild or a checkpoint that is set back.
    Interrupted, the same command goes on. Exit code 1 where the search at the end still finds something.
    """
    if yes:
        check_reason(reason)
    selected = _selected(call, key, keys, where, late=late, every_key=every_key)
    with progress(quiet=call.json) as bar:
        bar.add_task("looking", total=None)
        found = erasing.foresee(call.target, call.topic, selected)
    unfinished = erasing.unfinished(call.target, call.topic)
    if not call.json:
        _show(call.topic, selected, found, unfinished)
    meant = bool(selected.keys) if selected else erasing.erased_before(call.target, call.topic)
    if not meant and unfinished is None:
        return Answer(
            _document(selected, found, []), lambda: say("No key is meant: there is nothing to erase.")
        )
    if not (yes or (not call.json and _agreed())):
        sentence = "Nothing was erased. The same command with --yes and --reason erases it."
        return Answer(_document(selected, found, []), lambda: say(sentence))
    check_reason(reason)
    by = {"by": selected.by, "keys": len(selected.keys)} if selected else {"by": erasing.LATE}
    with audit.operation(call.target, "erase", reason=reason, selection={"topic": call.topic, **by}) as entry:
        work = Erasing(call.target, call.topic, entry, (lambda _sentence: None) if call.json else say)
        done = work.erase(selected, found, wait)
        entry.counts["found"] = sum(len(one.searched["found"]) for one in done)
    return Answer(
        _document(selected, found, done),
        lambda: _tell(done),
        failed=not all(one.complete for one in done),
    )


@app.command()
@on_target()
def verify(
    call: Call,
    certificate: Annotated[str, typer.Argument(help="A certificate's file, or the id of its erasure.")],
    key: KeyOption = None,
    keys: KeysOption = None,
) -> Answer:
    """Search again for what a certificate says is gone. Exit code 1 where something is found.

    By the hashes rows, letters and delivery errors are searched; with the keys, every object for their text.
    """
    known = _find(call.target, certificate)
    given = _given(key, keys)
    with progress(quiet=call.json) as bar:
        task = bar.add_task("searching", total=None)
        searched = erasing.verify(
            call.target,
            known,
            given.keys if given else None,
            lambda seen: bar.update(task, completed=seen),
        )
    return Answer(
        {"erasure": known.id, "topic": known.topic, "by_text": given is not None, **as_document(searched)},
        lambda: _tell_searched(as_document(searched)),
        failed=bool(searched.found),
    )


def _selected(
    call: Call, key: list[str] | None, keys: Path | None, where: str | None, *, late: bool, every_key: bool
) -> Selected | None:
    """The keys that are meant; None for those that were erased before."""
    ways = [
        way
        for way, given in (("--key", key), ("--keys", keys), ("--where", where), ("--late", late))
        if given
    ]
    if len(ways) != 1:
        raise InvalidInput(
            "erase: expected one of --key, --keys, --where and --late, found "
            f"{' and '.join(ways) or 'none'}; say in one way what is to be erased"
        )
    if late:
        return None
    if where is None:
        return _given(key, keys)
    selected = erasing.keys_where(call.target, call.topic, where)
    if selected.all_there_are and not every_key:
        raise InvalidInput(
            f"--where: expected a condition for some keys of topic {call.topic}, found one that takes all "
            f"{len(selected.keys):,}; with --all they are all erased"
        )
    return selected


def _given(key: list[str] | None, keys: Path | None) -> Selected | None:
    if key:
        return erasing.given_keys(key)
    return erasing.keys_in(keys) if keys is not None else None


def _find(target: Target, named: str) -> Certificate:
    return erasing.find_certificate(Objects(target.client("s3"), target.lake_bucket), target.topics, named)


def _document(
    selected: Selected | None, found: Sequence[Counted], done: Sequence[Certificate]
) -> dict[str, Any]:
    return {
        "erased": bool(done),
        "by": selected.by if selected else erasing.LATE,
        "keys": len(selected.keys) if selected else None,
        "places": {one.place: one.as_json() for one in found},
        "certificates": [msgspec.to_builtins(one) for one in done],
    }


def _show(topic: str, selected: Selected | None, found: Sequence[Counted], unfinished: str | None) -> None:
    keys = f"{len(selected.keys):,} keys" if selected else "keys that were erased before"
    show_table(
        f"What there is of {keys} in topic {topic}",
        ["place", "rows or letters", "files to write again", "snapshots to forget"],
        [[one.place, one.rows, one.files, one.snapshots] for one in found],
    )
    say("Tables that are written again can no longer be rolled back, nor read as they were.", style="yellow")
    if unfinished:
        say(f"Erasure {unfinished} was begun and not finished; it is finished first.", style="yellow")


def _agreed() -> bool:
    """Ask, where somebody can answer."""
    return sys.stdin.isatty() and typer.confirm("Erase it? This cannot be undone")


def _tell(done: Sequence[Certificate]) -> None:
    for one in done:
        _tell_searched(one.searched)
        say(f"Certificate: erasure {one.id}; `lean-ops erase verify {one.id}` searches again.")
        if not one.complete:
            say(
                "Not everything is known to be gone: see what was found above, then give the same command "
                "again.",
                style="yellow",
            )


def _tell_searched(searched: dict[str, Any]) -> None:
    say(
        f"Searched {searched['versions']:,} versions of {searched['objects']:,} objects, "
        f"{human_bytes(searched['bytes'])}: {len(searched['found']) or 'nothing'} found."
    )
    for one in searched["found"][:_SHOWN]:
        say(f"  {one['what']} in {one['key']} ({one['where']})", style="red")
    for place, count in searched["mentioned"].items():
        say(f"{place}: {count:,} mentions of an erased key in rows of other keys, which are no copies.")
    for key in searched["unread"][:_SHOWN]:
        say(f"  {key} cannot be decoded; its bytes were searched", style="yellow")
