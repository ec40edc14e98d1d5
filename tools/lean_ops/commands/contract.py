"""``contract``: check a data contract before it is merged, and see what it would do before it is in place."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml
from msgspec.structs import asdict as asdict_of

from common.contract.changes import compare, review
from common.contract.contracts import load_contract
from common.contract.problems import Finding
from common.contract.yaml_bounds import MAX_CHARACTERS
from common.layers.planning import Broken, Planned
from common.layers.proposing import propose
from common.layers.semantic import ColumnChange
from common.runtime.errors import ContractError, InvalidInput
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.commands.options import JsonOption, WaitOption, a_number
from lean_ops.console.printing import progress, say, show_json, show_table
from lean_ops.environment.repository import contract_files
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.target import LocalTarget
from lean_ops.operate import contracts, exporting, plan_markdown, promoting, publishing, quality, views
from lean_ops.operate.checkpoints import MergedLayer

FileArgument = Annotated[
    Path | None, typer.Argument(help="The contract; default: contracts/<topic>.yaml of this checkout.")
]
MostOption = Annotated[
    float,
    typer.Option("--most", help="Share of rows, or of a column's values, that may be lost.", min=0, max=1),
]

_WORST_FIRST: Final = ("error", "note", "warning")
_APART: Final = 3
"""So many findings that say the same are said one by one."""

app = typer.Typer(help="Check data contracts, and see what they would do.", no_args_is_help=True)


@app.command("lint")
def lint(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Contracts to check; default: every file in contracts/.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="The version that readers use now: says what would break them.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say what is wrong or doubtful in contracts; exit code 1 when something must change before a merge."""
    before = _text(against) if against else None
    found: dict[str, list[Finding]] = {
        str(path): review(_text(path), path.stem, before) for path in files or contract_files().values()
    }
    if json:
        show_json({path: [asdict(finding) for finding in findings] for path, findings in found.items()})
    for path, findings in found.items():
        if not json:
            say(f"{path}: {'nothing to say' if not findings else ''}")
            _say_findings(findings)
    if any(finding.severity == "error" for findings in found.values() for finding in findings):
        raise typer.Exit(1)


@app.command("diff")
def diff(
    old: Annotated[Path, typer.Argument(help="The version that readers use now.")],
    new: Annotated[Path, typer.Argument(help="The version to come.")],
    json: JsonOption = False,
) -> None:
    """Say what one version of a contract changes against another, and whom that breaks.

    Exit code 1 when it breaks readers without a new major version.
    """
    topic = new.stem
    changes = compare(load_contract(_text(old), topic), load_contract(_text(new), topic))
    if json:
        show_json({"topic": topic, "changes": [asdict(change) for change in changes]})
    else:
        for change in changes:
            say(str(change))
        if not changes:
            say("Nothing changes for readers, rows or devices.")
    if any(change.severity == "error" for change in changes):
        raise typer.Exit(1)


@app.command("init")
@on_target(topic=True)
def init(call: Call) -> Answer:
    """Propose a contract from the rows that Curated has, for a person to complete. Writes no file.

    It refuses none of the rows that it was made from. What looks like personal data is said, yours to settle.
    """
    with progress(quiet=call.json) as bar:
        task = bar.add_task("looking at rows", total=None)
        proposed = propose(
            call.topic,
            settings=call.target.settings,
            catalog=call.target.catalog(),
            told=lambda rows: bar.update(task, completed=rows),
        )
    return Answer(asdict(proposed), lambda: say(proposed.text.rstrip()))


@app.command("promote")
@on_target(topic=True)
def promote(
    call: Call,
    column: Annotated[str, typer.Argument(help="Column of Curated, as the drift log names it.")],
) -> Answer:
    """Take a field of Curated into contracts/<topic>.yaml of this checkout, as its rows suggest.

    Adds one property and raises the minor version; comments and all else stay as they are.
    """
    path = _of_checkout(call.topic)
    text, added = promoting.promoted(call.target, call.topic, column, _text(path))
    path.write_bytes(text.encode())

    def tell() -> None:
        say(added.rstrip())
        say(f"Added to {path}. Complete it, then `lean-ops contract plan --topic {call.topic}`.")

    return Answer({"topic": call.topic, "file": path, "added": added}, tell)


@app.command("test")
@on_target(topic=True)
def test(
    call: Call,
    file: Annotated[
        Path | None, typer.Argument(help="The contract; default: the one that is in place.")
    ] = None,
    timeout: Annotated[
        float,
        typer.Option("--timeout", help="Seconds that a rule in SQL may take.", min=1, callback=a_number),
    ] = 300.0,
) -> Answer:
    """Measure the rules of a contract about all rows together (`quality`) on Semantic as it is now.

    Runs do so after each commit, but for rules in SQL. Changes nothing. Exit code 1 where a rule of severity
    error or critical does not hold, and where one could not be measured.
    """
    text = _text(file) if file else contracts.published_text(call.target, call.topic)
    if text is None:
        raise InvalidInput(
            f"contract of {call.topic}: expected one in place, found none; name a FILE, or publish one"
        )
    found = quality.measure_now(call.target, load_contract(text, call.topic), timeout)
    rows = [
        [
            one.name,
            one.expected,
            one.found or "-",
            "holds" if one.holds else one.why or "broken",
            one.severity,
        ]
        for one in found.rules
    ]

    def tell() -> None:
        say(f"Contract of {call.topic}, version {found.version}; {found.rows:,} rows were read.")
        if rows:
            show_table("", ["rule", "expected that", "found", "", "severity"], rows)
        else:
            say("It has no rule about all rows together.")

    failures = [
        f"contract of {call.topic}: rule {one.name!r}: expected that {one.expected}, found "
        f"{one.found or 'nobody who could measure it: ' + one.why}; mend the readings or the contract"
        for one in found.rules
        if (one.broken and one.severity != "warning") or not one.found
    ]
    document: dict[str, Any] = {"topic": call.topic, "version": found.version}
    document["snapshot_id"] = found.snapshot_id
    document |= {"rows": found.rows, "bytes": found.bytes, "rules": [asdict_of(one) for one in found.rules]}
    return Answer(document, tell, failures)


@app.command("plan")
@on_target(topic=True)
def plan(
    call: Call,
    file: FileArgument = None,
    values: Annotated[
        bool,
        typer.Option("--values", help="Samples as they are, but of personal data; default: their shape."),
    ] = False,
    most: MostOption = contracts.MOST,
    accept: Annotated[bool, typer.Option("--accept", help="Exit code 0 whatever would be lost.")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, as for a comment on a pull request.")
    ] = False,
) -> Answer:
    """Say what a contract would do to the rows that are there, before it is put in place. Changes nothing.

    Exit code 1 when it cannot be read, breaks readers, or would lose more than --most without --accept.
    """
    path = file or _of_checkout(call.topic)
    text = _text(path)
    findings = review(text, call.topic)
    if not _errors(findings):
        with progress(quiet=call.json) as bar:
            task = bar.add_task("judging rows", total=None)
            planned = contracts.plan_contract(
                call.target,
                call.topic,
                text,
                in_clear=values,
                told=lambda rows: bar.update(task, completed=rows),
            )
        findings = contracts.compared(call.target, call.topic, text) + findings
        too_much = contracts.excess(planned, most)
        return Answer(
            _document(planned, findings, too_much),
            lambda: (
                _say_markdown(plan_markdown.markdown(planned, findings, too_much))
                if markdown
                else _tell(planned, findings)
            ),
            [] if accept else [f"{path}: {clause}; mend it, or --accept it" for clause in too_much],
            failed=_errors(findings),
        )
    document: dict[str, Any] = {"topic": call.topic, "findings": [asdict(finding) for finding in findings]}
    if markdown:
        said = plan_markdown.unreadable(call.topic, findings)
        return Answer(document, lambda: _say_markdown(said), failed=True)
    return Answer(document, lambda: _say_findings(findings), failed=True)


@app.command("publish")
@on_target(topic=True, reason=True)
def publish(
    call: Call,
    file: FileArgument = None,
    most: MostOption = contracts.MOST,
    accept: Annotated[bool, typer.Option("--accept", help="Put it in place whatever would be lost.")] = False,
    leave_rows: Annotated[
        bool, typer.Option("--leave-rows", help="Semantic's rows stay as they are until they change.")
    ] = False,
    wait: WaitOption = 60.0,
) -> Answer:
    """Put a contract in place, and bring the rows that are there along: Semantic is rebuilt where it must be.

    What is personal under it is treated in Quarantine too. Killed, the same command goes on where it ended.
    """
    path = file or _of_checkout(call.topic)
    text = _text(path)
    before = contracts.published_text(call.target, call.topic)
    findings = review(text, call.topic)
    if not _errors(findings):
        findings += contracts.compared(call.target, call.topic, text)
    if _errors(findings):
        document = {"topic": call.topic, "findings": [asdict(finding) for finding in findings]}
        return Answer(document, lambda: _say_findings(findings), failed=True)
    _expect_tables(call, path)
    too_much = [] if accept or before == text else _too_much(call, text, most)
    if too_much:
        sentences = [f"{path}: {clause}; mend it, or --accept it" for clause in too_much]
        return Answer({"topic": call.topic, "too_much": too_much}, lambda: None, sentences)
    contract = load_contract(text, call.topic)
    with call.operation("contract.publish", version=contract.version) as entry:
        _make_tables(call, text)
        done = publishing.publish(
            call.target,
            contract,
            text,
            before,
            entry,
            wait_s=wait,
            leave=leave_rows,
            most=1 if accept else most,
        )
        entry.counts["rows_left"] = sum(done.left.rows.values())
        left = _not_swapped(done)
        if done.swapped is not None:
            left += views.follow_table(call.target, call.topic, MergedLayer.SEMANTIC)
    return Answer(asdict(done), lambda: _tell_published(done), left)


@app.command("show")
@on_target(topic=True)
def show(call: Call) -> Answer:
    """Show the contract in place, column by column, and which versions typed the rows that are there."""
    text = contracts.published_text(call.target, call.topic)
    if text is None:
        raise InvalidInput(
            f"contract of {call.topic}: expected one in place, found none; `lean-ops contract publish` "
            "puts one there"
        )
    contract = load_contract(text, call.topic)
    behind = publishing.behind(call.target, contract, publishing.known(call.target, call.topic))
    columns = [
        {
            "column": of.name if of.column_type else "",
            "type": str(of.column_type) if of.column_type else "dropped",
            "source": of.source,
            "then": "refused" if of.critical else "null",
            "personal": of.pii or "",
            "description": of.description or "",
        }
        for of in contract.properties
    ]

    def tell() -> None:
        say(f"Contract of {call.topic}, version {contract.version}:")
        show_table("", list(columns[0]), [list(column.values()) for column in columns])
        _say_behind(behind, call.topic)

    return Answer(
        {"topic": call.topic, "version": contract.version, "columns": columns, **asdict(behind)}, tell
    )


@app.command("export")
@on_target(topic=True)
def export(
    call: Call,
    file: Annotated[
        Path | None, typer.Argument(help="The contract; default: the one that is in place.")
    ] = None,
) -> Answer:
    """Print a contract as tools of the standard read it: about the table that is there, with its server.

    `datacontract test` (datacontract-cli) holds the rows against it.
    """
    text = _text(file) if file else contracts.published_text(call.target, call.topic)
    if text is None:
        raise InvalidInput(
            f"contract of {call.topic}: expected one in place, found none; name a FILE, or publish one"
        )
    document = exporting.exported(call.target, call.topic, text)

    def tell() -> None:
        say("# Made by `lean-ops contract export`; change the contract that it was made from.")
        settings = call.target.reader_settings()
        say("# datacontract test FILE" + (" reads the tables with these variables:" if settings else ""))
        for name, value in settings.items():
            say(f"#   {name}={value}")
        say(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110).rstrip())

    return Answer(document, tell)


@app.command("history")
@on_target(topic=True)
def history(call: Call) -> Answer:
    """List the versions of a contract that this command line put in place, with what each one changed.

    What `terraform apply` put in place alone is not among them, but for the one that is there.
    """
    kept = publishing.kept(call.target, call.topic)
    rows: list[dict[str, Any]] = []
    for before, one in zip([None, *kept], kept, strict=False):
        old, new = (publishing.readable(of.text if of else None, call.topic) for of in (before, one))
        changes = compare(old, new) if old and new else []
        notes = [str(finding) for finding in changes if finding.where != "version"]
        rows.append({"version": one.version, "at": one.at, "changes": notes})
    in_place = contracts.published_text(call.target, call.topic)
    known = [one.version for one in kept if one.text == in_place]
    rows = [row | {"in_place": row["version"] in known[-1:]} for row in rows]

    def tell() -> None:
        if not rows:
            say(f"No version of the contract of {call.topic} was put in place by this command line.")
        for row in rows:
            say(f"{row['version']}  {row['at']:%Y-%m-%d %H:%M:%S}{'  in place' if row['in_place'] else ''}")
            for change in row["changes"]:
                say(f"    {change}")
        if in_place is not None and not known:
            say("Another one is in place, put there by `terraform apply`: `lean-ops contract show`.")

    return Answer({"topic": call.topic, "versions": rows}, tell)


def _is_first(call: Call) -> bool:
    """Whether the topic has no tables for what a contract makes."""
    return not call.target.catalog().table_exists(call.target.settings.table("semantic", call.topic))


def _expect_tables(call: Call, path: Path) -> None:
    """Raise InvalidInput where tables have to be made first, and not by this command."""
    if not _is_first(call):
        return
    own = contract_files().get(call.topic)
    if own is None or own.resolve() != path.resolve():
        raise InvalidInput(
            f"contract of {call.topic}: expected the first one in contracts/{call.topic}.yaml of this "
            f"checkout, from which the tables are made, found {path}; save it there, then publish it"
        )
    if not isinstance(call.target, LocalTarget):
        raise InvalidInput(
            f"contract of {call.topic}: expected the tables of a topic with a contract, found none yet; "
            f"`terraform apply` makes them from contracts/{call.topic}.yaml and puts this first one in place"
        )


def _make_tables(call: Call, text: str) -> None:
    """Bring the local stack to a checkout with one contract more; all other contracts stay as they are."""
    if isinstance(call.target, LocalTarget) and _is_first(call):
        kept = {topic: contracts.published_text(call.target, topic) for topic in contract_files()}
        provision(call.target, Tuning(schedules=True), kept=kept | {call.topic: text})


def _too_much(call: Call, text: str, most: float) -> list[str]:
    with progress(quiet=call.json) as bar:
        task = bar.add_task("judging rows", total=None)
        planned = contracts.plan_contract(
            call.target, call.topic, text, told=lambda rows: bar.update(task, completed=rows)
        )
    return contracts.excess(planned, most)


def _errors(findings: list[Finding]) -> bool:
    return any(finding.severity == "error" for finding in findings)


def _tell_published(done: publishing.Published) -> None:
    if _not_swapped(done):
        return
    was = f", after {done.before}" if done.put and done.before and done.before != done.version else ""
    say(f"Contract of {done.topic}, version {done.version}, {'is' if done.put else 'was'} in place{was}.")
    if done.before is None:
        say(f"Rows of Curated are typed by it with the next run: `lean-ops run --topic {done.topic}`.")
    if done.refused:
        say(f"{done.refused:,} refused rows of before are treated as it says.")
    if (found := done.comparison) is not None and done.swapped is not None:
        say(
            f"Semantic is rebuilt: {found.rebuilt_rows:,} rows; {found.only_live:,} went, "
            f"{found.only_rebuilt:,} came, {found.different:,} changed. "
            "`lean-ops rollback semantic` can undo it."
        )
    _say_behind(done.left, done.topic)
    if done.snapshots:
        say(
            f"{done.snapshots:,} snapshots of Semantic still show {', '.join(done.behind.clear)} as it stood:"
            " `lean-ops maintain --snapshot-days 0`, or wait for them to expire.",
            "yellow",
        )


def _say_behind(behind: publishing.Behind, topic: str) -> None:
    for version, rows in behind.rows.items():
        say(
            f"{rows:,} rows of Semantic are typed by version {version or 'unknown'}, otherwise than now.",
            "yellow",
        )
    if behind.clear:
        say(
            f"They show {', '.join(behind.clear)}, which is personal: `lean-ops contract publish --topic "
            f"{topic}`, or `lean-ops erase` their keys where RAW has dropped what they were made from.",
            "yellow",
        )


def _not_swapped(done: publishing.Published) -> list[str]:
    found = done.comparison
    if found is None or done.swapped is not None:
        return []
    lacks = f"the rebuilt table lacks {found.only_live:,} of {found.live_rows:,} rows that Semantic has"
    why = found.unreadable or (
        f"{lacks}, such as keys {', '.join(found.samples)}" if found.only_live else lacks
    )
    mend = f"see `lean-ops contract plan --topic {done.topic}`, mend it, or publish it with --accept"
    if found.unreadable:
        mend = f"`lean-ops rebuild --layer semantic --topic {done.topic}` mends the table"
    elif not found.rebuilt_rows:
        why = "it refuses every row, and an empty table is not swapped in"
        mend = "mend it, or leave the rows of before with --leave-rows"
    return [f"contract of {done.topic}: what is in place stays, and so do the rows: {why}; {mend}"]


def _of_checkout(topic: str) -> Path:
    files = contract_files()
    if topic not in files:
        raise InvalidInput(
            f"contract of {topic}: expected contracts/{topic}.yaml in this checkout, or a FILE, found "
            f"neither; `lean-ops contract init --topic {topic}` proposes one from the rows that are there"
        )
    return files[topic]


def _document(planned: Planned, findings: list[Finding], too_much: list[str]) -> dict[str, Any]:
    """Everything that was found, for programs: a comment on a pull request is made of it."""
    return {
        "topic": planned.topic,
        "version": planned.version,
        "published": planned.published,
        "snapshot_id": planned.snapshot_id,
        "rows": planned.rows,
        "refused": planned.refused,
        "refused_before": planned.refused_before,
        "newly_refused": planned.newly_refused,
        "broken": [asdict(broken) for broken in planned.broken],
        "values": {name: asdict(values) for name, values in planned.values.items()},
        "table": [
            {
                "column": change.column.name,
                "change": change.kind,
                "type": str(change.column.field_type),
                "was": str(change.was.field_type) if change.was else None,
            }
            for change in planned.changes
        ],
        "left": planned.left,
        "in_clear": [asdict(place) for place in planned.in_clear],
        "suspected": planned.suspected,
        "absent": {name: asdict(absent) for name, absent in planned.absent.items()},
        "too_much": too_much,
        "findings": [asdict(finding) for finding in findings],
    }


def _say_markdown(text: str) -> None:
    for line in text.splitlines():
        say(line)


def _say_findings(findings: list[Finding]) -> None:
    """Each with its place, but for what is doubtful in one way about many: that is said once."""
    alike: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda one: _WORST_FIRST.index(one.severity)):
        of = "" if finding.severity == "error" else finding.message
        alike.setdefault(of or str(finding), []).append(finding)
    for ones in alike.values():
        first = ones[0]
        if len(ones) <= _APART:
            for finding in ones:
                say(f"  {finding}")
            continue
        names = ", ".join(finding.where.removeprefix("property ") for finding in ones)
        say(f"  {first.severity}: {len(ones)} properties: {first.message}: {names}")


def _tell(planned: Planned, findings: list[Finding]) -> None:
    against = f"against {planned.published}, which is" if planned.published else "none is"
    say(f"Contract of {planned.topic}, version {planned.version}; {against} published:")
    _say_findings(findings)
    _tell_rows(planned)
    for name, absent in planned.absent.items():
        say(f"  source? {name} {absent}", "yellow")
    for change in planned.changes:
        say(f"  table: {_column_change(planned.topic, change)}")
    for name in planned.left:
        say(f"  table: column {name} stays with what it has, and is null in new rows")
    for place in planned.in_clear:
        count = f"{place.rows:,} values" if place.rows is not None else "every value"
        say(f"  personal: {place.column}: {count} {place.what} in {place.where}; {place.remedy}", "yellow")
    for name, looks in planned.suspected.items():
        say(
            f"  personal? {name} is published in clear, and its values look like {looks}: classify it",
            "yellow",
        )


def _tell_rows(planned: Planned) -> None:
    if planned.snapshot_id is None:
        say(f"Curated of {planned.topic} holds no row to judge; `lean-ops run` brings some.")
        return
    before = "" if planned.refused_before is None else f" ({planned.refused_before:,} by the published one)"
    say(f"Of {planned.rows:,} rows in Curated, one a key, it would refuse {planned.refused:,}{before}.")
    if planned.broken:
        show_table(
            "",
            ["column", "rule", "expected", "rows", "then", "such as"],
            [
                [b.column, b.rule, b.expected, b.rows, _consequence(b), "  ".join(b.samples)]
                for b in planned.broken
            ],
        )
    for name, of in planned.values.items():
        if planned.published is not None and (of.lost or of.gained or of.changed):
            say(
                f"  {name}: of {of.present:,} values {of.lost:,} become null, {of.changed:,} change, "
                f"{of.gained:,} are new"
            )


def _consequence(broken: Broken) -> str:
    return "refused" if broken.critical else "null"


def _column_change(topic: str, change: ColumnChange) -> str:
    name, kind = change.column.name, change.column.field_type
    publish = f"`lean-ops contract publish --topic {topic}` fills it"
    if change.kind == "add":
        return f"column {name} {kind} is added; in rows that are there {publish}"
    was = change.was.field_type if change.was else None
    if change.kind == "widen":
        return f"column {name} is widened from {was} to {kind}, in place"
    if change.kind == "replace":
        return f"column {name} {was} is replaced by {kind}; in rows that are there {publish}"
    return f"column {name} has another comment"


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(4 * MAX_CHARACTERS + 4)  # more than is let in, and never a file without end
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ContractError(
            f"{path}: expected a text in UTF-8, found byte {error.object[error.start]:#04x} at "
            f"{error.start}; save the file as UTF-8"
        ) from error
