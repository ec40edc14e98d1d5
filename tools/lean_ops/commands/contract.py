"""``contract``: check a data contract before it is merged."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from common.contract.changes import review
from common.contract.contracts import Finding
from common.contract.yaml_bounds import MAX_CHARACTERS
from common.runtime.errors import ContractError
from lean_ops.commands.options import JsonOption
from lean_ops.console.printing import say, show_json
from lean_ops.environment.repository import contract_files

app = typer.Typer(help="Check data contracts.", no_args_is_help=True)


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
            for finding in findings:
                say(f"  {finding}")
    if any(finding.severity == "error" for findings in found.values() for finding in findings):
        raise typer.Exit(1)


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
