"""A field of Curated taken into a contract's text: one property more, the next minor version, nothing else.

The text is edited where YAML says that the properties end, so that comments and the order of the author stay;
what comes out is read again, and is the contract that was there with one property more, or is not handed out.
"""

from typing import Any

import yaml

from common.contract.changes import review
from common.contract.contracts import load_contract
from common.layers.proposing import propose_property
from common.runtime.errors import ContractError, InvalidInput
from lean_ops.environment.target import Target


def promoted(target: Target, topic: str, column: str, text: str) -> tuple[str, str]:
    """The contract's new text, and the lines that were added.

    Raises InvalidInput where a property reads the column already, and what ``propose_property`` raises.
    """
    contract = load_contract(text, topic)
    if reads := [p.name for p in contract.properties if p.source == column]:
        raise InvalidInput(
            f"column {column}: expected one that no property reads, found {reads[0]} reading it"
        )
    names = {p.name for p in contract.properties}
    lines = propose_property(topic, column, names, settings=target.settings, catalog=target.catalog())
    new, added = _with_property(text, lines)
    errors = [str(finding) for finding in review(new, topic, text) if finding.severity == "error"]
    if errors or load_contract(new, topic).properties[:-1] != contract.properties:
        raise ContractError(
            f"contract of {topic}: expected to add a property and change nothing else, found "
            f"{'; '.join(errors) or 'another contract'}; add it by hand: {' / '.join(lines)}"
        )
    return new, added


def _with_property(text: str, lines: list[str]) -> tuple[str, str]:
    document: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    properties = _member(_member(document, "schema").value[0], "properties")
    version = _member(document, "version")
    if properties.flow_style:
        raise ContractError(
            f"contract: expected the properties as a list of lines, found them in brackets; add it by hand: "
            f"{' / '.join(lines)}"
        )
    indent = " " * properties.start_mark.column
    added = "".join(f"{indent}{line}\n" for line in lines)
    # A list ends where the next thing begins: blank lines and comments between belong to that.
    last = properties.value[-1].end_mark
    head, tail = text[: last.index].rstrip(), text[last.index :]
    gap = text[len(head) : last.index]
    end = len(head) + (gap.find("\n") + 1 if "\n" in gap else len(gap))
    kept = text[:end] if text[:end].endswith("\n") else text[:end] + "\n"
    new = kept + added + text[end : last.index] + tail
    major, minor, _patch = version.value.split(".")
    start, stop = version.start_mark.index, version.end_mark.index
    return f"{new[:start]}{major}.{int(minor) + 1}.0{new[stop:]}", added


def _member(mapping: Any, name: str) -> Any:
    return next(value for key, value in mapping.value if key.value == name)
