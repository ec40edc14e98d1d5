"""Commands of the runbook, as they are written there."""

import re

_BLOCK = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(section: str) -> list[str]:
    """Calls of ``lean-ops`` in the blocks of a section; those of AWS's own command line find nothing here."""
    lines = [line for block in _BLOCK.findall(section) for line in block.replace("\\\n", " ").splitlines()]
    foreign = [line for line in lines if not line.startswith(("lean-ops ", "aws "))]
    assert foreign == [], f"commands of neither lean-ops nor aws: {foreign}"
    return [line.removeprefix("lean-ops ") for line in lines if line.startswith("lean-ops ")]
