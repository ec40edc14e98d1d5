"""``doctor``: is everything as it should be, and if not, what to do."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.console.printing import harmless, out, say
from lean_ops.operate.doctor import Checked, Examination, Severity, examine


@on_target()
def doctor(
    call: Call,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Read every manifest of every table, however many there are.")
    ] = False,
) -> Answer:
    """Check the whole environment and say what to do about each finding; exit code 1 on a problem."""
    found = examine(call.target, thorough=thorough)
    document = {
        "healthy": found.healthy,
        "caller": found.caller,
        "checks": [
            {"check": one.check, "passed": one.passed, "findings": [asdict(f) for f in one.findings]}
            for one in found.checked
        ],
    }
    return Answer(document, lambda: _show(found), failed=not found.healthy)


def _show(found: Examination) -> None:
    for one in found.checked:
        _show_check(one)
    problems = sum(f.severity is Severity.PROBLEM for one in found.checked for f in one.findings)
    style = "green" if found.healthy else "red"
    say("All is well." if found.healthy else f"Problems: {problems}", style=style)


def _show_check(checked: Checked) -> None:
    out.print(Text("✓" if checked.passed else "✗", style="green" if checked.passed else "red"), end=" ")
    say(checked.check)
    for finding in checked.findings:
        style = "red" if finding.severity is Severity.PROBLEM else "yellow"
        out.print(
            Text(f"    {harmless(finding.subject)}: {harmless(finding.found)}", style=style), soft_wrap=True
        )
        out.print(Text(f"    → {harmless(finding.advice)}"), soft_wrap=True)
