"""Several documents in one message: lines, rows, items in a row; a bad one beside good ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from common.intake.sources import slices
from common.runtime.errors import RejectedEvent


@dataclass(frozen=True)
class Rows:
    """The documents in their order; in place of one that cannot be read the reason why."""

    rows: Sequence[msgspec.Raw | RejectedEvent]

    @property
    def good(self) -> msgspec.Raw:
        """An array of those that can be read."""
        return slices.of_items([row for row in self.rows if isinstance(row, msgspec.Raw)])


Document = msgspec.Raw | Rows
