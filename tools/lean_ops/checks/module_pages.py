"""``python -m lean_ops.checks.module_pages``: writes the inputs and outputs of every module into its page.

The tables stand between two marks; everything else on a page is written by hand. A test fails when a table
is not what the module says.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from common.runtime.errors import PermanentError
from lean_ops.environment.repository import ROOT

BEGIN: Final = "<!-- inputs and outputs: make module-pages -->"
END: Final = "<!-- end -->"

# A block as `terraform fmt` lays it out, and its arguments on one line each.
_BLOCK = r'^{kind} "(\w+)" \{{\n(.*?)^\}}'
_ARGUMENT = r"^  {name} += (.+)$"


class UnmarkedPage(PermanentError):  # noqa: N818 - the page is unmarked; "error" would say less
    """A page does not say where its tables stand."""


def pages(root: Path = ROOT) -> dict[Path, Path]:
    """Page by the folder of the module that it describes."""
    found = {
        folder: folder / "README.md" for folder in sorted((root / "modules").iterdir()) if folder.is_dir()
    }
    bootstrap = root / "infra/bootstrap"
    return found | {bootstrap: bootstrap / "README.md", root: root / "docs/deploy.md"}


def tables(module: Path) -> str:
    """The inputs and outputs of a module, as two tables."""
    inputs = "".join(
        f"| `{name}` | `{_argument(body, 'type')}` | {_default(body)} | {_text(body)} |\n"
        for name, body in _blocks(module, "variable").items()
    )
    outputs = "".join(f"| `{name}` | {_text(body)} |\n" for name, body in _blocks(module, "output").items())
    head, foot = "| input | type | default | |\n|---|---|---|---|\n", "\n| output | |\n|---|---|\n"
    return f"{head}{inputs}{foot}{outputs}".strip()


def with_tables(text: str, module: Path) -> str:
    """The page ``text`` with the tables of ``module`` between its marks; raises UnmarkedPage."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise UnmarkedPage(f"page of {module.name}: expected the lines {BEGIN} and {END}, found no such pair")
    return f"{head}{BEGIN}\n{tables(module)}\n{END}{tail}"


def _blocks(module: Path, kind: str) -> Mapping[str, str]:
    text = "\n".join(path.read_text() for path in sorted(module.glob("*.tf")))
    return dict(re.findall(_BLOCK.format(kind=kind), text, re.M | re.S))


def _argument(body: str, name: str) -> str:
    found = re.search(_ARGUMENT.format(name=name), body, re.M)
    return found[1] if found else ""


def _default(body: str) -> str:
    default = _argument(body, "default")
    return f"`{default}`" if default else "required"


def _text(body: str) -> str:
    return _argument(body, "description").strip('"').replace('\\"', '"').replace("|", "\\|")


def main() -> int:
    """Write every page; 1 with a sentence when one has no place for its tables."""
    try:
        for module, page in pages().items():
            page.write_text(with_tables(page.read_text(), module))
    except (OSError, UnmarkedPage) as error:
        print(f"module-pages: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
