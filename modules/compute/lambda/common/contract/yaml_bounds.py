"""How large a YAML document may become: it is measured as it would be without aliases, before it is built.

An alias stands for all that its anchor holds, and may stand in another anchor: nine lines of nine aliases
each are a gigabyte once something copies them. Nesting costs a call a level wherever a document is walked.
"""

from typing import Final

import yaml

from common.runtime.errors import ContractError

MAX_CHARACTERS: Final = 1_000_000
MAX_DEPTH: Final = 60


def check_bounds(text: str) -> None:
    """Raise ContractError for a text that is too long, too deep or too large once its aliases are filled in.

    Raises yaml.YAMLError where it is no YAML. Time and memory grow with the text alone.
    """
    if len(text) > MAX_CHARACTERS:
        raise ContractError(
            f"expected at most {MAX_CHARACTERS:,} characters, found {len(text):,}; shorten it"
        )
    open_sizes: list[int] = [0]
    open_anchors: list[str | None] = [None]
    sizes: dict[str, int] = {}
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.CollectionStartEvent):
            open_sizes.append(1)
            open_anchors.append(event.anchor)
            if len(open_sizes) > MAX_DEPTH:
                raise ContractError(
                    f"line {line}: expected at most {MAX_DEPTH} levels of nesting, found more"
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            _add(open_sizes, sizes, open_anchors.pop(), open_sizes.pop(), line)
        elif isinstance(event, yaml.ScalarEvent):
            _add(open_sizes, sizes, event.anchor, len(event.value) + 1, line)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in open_anchors:
                raise ContractError(f"line {line}: expected an alias of something else, found one of itself")
            # An anchor that is not known is the YAML reader's to explain.
            _add(open_sizes, sizes, None, sizes.get(event.anchor or "", 1), line)


def _add(open_sizes: list[int], sizes: dict[str, int], anchor: str | None, size: int, line: int) -> None:
    """Count one node of ``size`` characters towards the collection that it stands in."""
    if anchor is not None:
        sizes[anchor] = size
    open_sizes[-1] += size
    if open_sizes[-1] > MAX_CHARACTERS:
        raise ContractError(
            f"line {line}: expected at most {MAX_CHARACTERS:,} characters once aliases are filled in, found "
            "more; use fewer aliases"
        )
