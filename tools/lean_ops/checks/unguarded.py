"""A copy of the Terraform configuration whose guards are off, for ``make destroy`` alone.

``python -m lean_ops.checks.unguarded dev <folder>`` copies what Terraform reads into ``<folder>`` and lays an
override file into each module: what holds data may be destroyed there, a bucket with what is in it, a secret
at once, so that its name is free again. The tree keeps its guards, also when the command is killed half-way.
Terraform merges the arguments of a ``lifecycle`` block one by one ("Override Files").
"""

import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from common.runtime.errors import InvalidInput
from lean_ops.environment.repository import ROOT

# Never prod: whoever means that edits the guards in a reviewed change.
ENVIRONMENTS: Final = ("dev", "staging")
_READ: Final = ("*.tf", "contracts", "environments", "infra/policies", "modules", ".terraform.lock.hcl")
_GUARDED: Final = re.compile(
    r'^resource "(?P<kind>\w+)" "(?P<name>\w+)" \{\n(?P<body>.*?)^\}', re.MULTILINE | re.DOTALL
)
# Guards of the service itself, and what frees a name at once.
_OPEN: Final = {
    "aws_s3_bucket": "force_destroy = true",
    "aws_dynamodb_table": "deletion_protection_enabled = false",
    "aws_secretsmanager_secret": "recovery_window_in_days = 0",
}


def copy(env: str, folder: Path, root: Path = ROOT) -> list[str]:
    """Make the copy anew; the resources whose guard is off, as ``<folder of module>/<type>.<name>``.

    Raises InvalidInput for an environment that is not destroyed by a command.
    """
    if env not in ENVIRONMENTS:
        raise InvalidInput(
            f"destroy: expected one of {', '.join(ENVIRONMENTS)}, found {env!r}; "
            "docs/deploy.md says how an environment with real data is given up"
        )
    shutil.rmtree(folder, ignore_errors=True)
    for pattern in _READ:
        for source in sorted(root.glob(pattern)):
            place = folder / source.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(
                    source, place, ignore=shutil.ignore_patterns("__pycache__", ".build", ".terraform")
                )
            else:
                shutil.copy(source, place)
    return _lay_overrides(folder)


def _lay_overrides(folder: Path) -> list[str]:
    blocks: defaultdict[Path, list[str]] = defaultdict(list)
    found = []
    for path in sorted(folder.rglob("*.tf")):
        for resource in _GUARDED.finditer(path.read_text()):
            if "prevent_destroy = true" in resource["body"]:
                blocks[path.parent].append(_override(resource["kind"], resource["name"]))
                module = path.parent.relative_to(folder).as_posix()
                found.append(f"{module}/{resource['kind']}.{resource['name']}")
    for place, texts in blocks.items():
        (place / "unguarded_override.tf").write_text("\n".join(texts))
    return found


def _override(kind: str, name: str) -> str:
    opened = f"  {_OPEN[kind]}\n\n" if kind in _OPEN else ""
    return f'resource "{kind}" "{name}" {{\n{opened}  lifecycle {{\n    prevent_destroy = false\n  }}\n}}\n'


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0 when the copy is there, 1 for an environment that is kept, 2 for a wrong call."""
    if len(arguments) != 2:
        print("unguarded: expected an environment and a folder", file=sys.stderr)
        return 2
    try:
        found = copy(arguments[0], Path(arguments[1]))
    except InvalidInput as error:
        print(f"unguarded: {error}", file=sys.stderr)
        return 1
    print("Guards are off in the copy alone, for:", *found, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
