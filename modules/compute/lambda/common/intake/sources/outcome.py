"""What a message became: events, skips by rule, refusals by place."""

from dataclasses import dataclass, field

from common.intake.events import RejectCode
from common.runtime.errors import RejectedEvent

_NAMED_PLACES = 3
_DETAIL_CHARS = 160


@dataclass(slots=True)
class Made:
    """An event: where its reading was in the message, its topic and its Firehose record."""

    place: str
    topic: str
    record: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reading that can be no event: where it was in the message, and why."""

    place: str
    code: str
    detail: str


@dataclass(slots=True)
class Outcome:
    """Of one message. ``skipped``: readings that a rule of the source leaves out, by the rule's name."""

    source: str
    version: int
    events: list[Made] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)

    def skip(self, rule: str) -> None:
        """Count a reading that a rule leaves out."""
        self.skipped[rule] = self.skipped.get(rule, 0) + 1

    @property
    def label(self) -> str:
        """The source with its version, as lineage has it."""
        return f"{self.source}@{self.version}"

    @property
    def reason(self) -> RejectedEvent | None:
        """Why the message is a dead letter, None where nothing in it was refused.

        Its code is that of the first refusal; the places and reasons of the first few are said, never values.
        """
        if not self.refused:
            return None
        first = self.refused[0]
        total = len(self.events) + len(self.refused)
        said = [
            f"{refusal.place or 'message'}: {refusal.detail[:_DETAIL_CHARS]}"
            for refusal in self.refused[:_NAMED_PLACES]
        ]
        more = len(self.refused) - len(said)
        if more > 0:
            said.append(f"and {more} more")
        return RejectedEvent(
            RejectCode(first.code),
            f"source {self.label}: {len(self.refused)} of {total} readings refused; " + "; ".join(said),
        )
