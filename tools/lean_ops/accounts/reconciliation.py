"""Reconciliation: does what arrived account for what was sent?

The laws held here, once a pipeline has settled:

- every message sent is in RAW, in the dead-letter queue, or still in flight;
- RAW has every good message once (by ``message_id``), the dead-letter queue every broken one under its code;
- Curated has every key once; every key of Curated that is not deleted is in Semantic or in Quarantine;
- a key is in Semantic if any of its versions since its last delete keeps the contract, and waits in
  Quarantine if its newest breaks it;
- a row that could not be processed is a dead letter ``SET_ASIDE`` beside RAW, or is in Quarantine unjudged;
- what is past by the retention of a table (``Since``) is neither expected in it nor counted.

Queues and Firehose deliver at least once: a message that arrived twice is reported, not held against the
run, for a repetition changes nothing in the tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.layers.uncurable import ERROR_CODE as SET_ASIDE


@dataclass(frozen=True)
class Since:
    """From when on the tables of a topic have rows, in microseconds since 1970; older ones are past.

    0: rows of any time.
    """

    raw: int = 0
    curated: int = 0
    semantic: int = 0


@dataclass(frozen=True)
class SentTopic:
    """Good messages sent to one topic, and what must become of their keys.

    ``good_keys`` counts keys of which any version since the last delete keeps the contract, ``bad_keys``
    those whose newest version breaks it; of ``tied_keys``, versions of the newest time do both. ``judged`` is
    false where some sender does not know the contract: then these three say nothing. ``violations`` counts
    messages by the rule they break.
    """

    messages: int
    message_ids: int
    keys: int
    good_keys: int
    bad_keys: int
    tied_keys: int
    judged: bool
    violations: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Sent:
    """Everything sent. ``messages`` the queue accepted; of the ``uncertain`` ones some may have left.

    ``erased``: messages beside these whose key was erased since, so that nothing may be left of them;
    ``past``: those that are past for RAW, which may have dropped them.
    """

    messages: int = 0
    uncertain: int = 0
    erased: int = 0
    past: int = 0
    by_kind: Mapping[str, int] = field(default_factory=dict)
    broken: Mapping[str, int] = field(default_factory=dict)
    topics: Mapping[str, SentTopic] = field(default_factory=dict)


@dataclass(frozen=True)
class ObservedTopic:
    """What the tables of one topic hold.

    ``raw_message_ids`` and ``curated_keys`` are distinct counts. The last three are None for a topic without
    a contract; ``quarantine_keys`` counts the keys whose row of Curated is in Quarantine and not in Semantic,
    ``unserved_keys`` those of Curated that are in neither, ``set_aside_keys`` those in Quarantine that could
    not be judged at all. All of them count rows published ``since`` then.
    """

    raw_rows: int
    raw_message_ids: int
    curated_rows: int
    curated_keys: int
    semantic_keys: int | None = None
    quarantine_keys: int | None = None
    unserved_keys: int | None = None
    set_aside_keys: int = 0
    since: Since = field(default_factory=Since)


@dataclass(frozen=True)
class Observed:
    """What a stack holds. ``in_flight`` counts the messages that the source queue still has."""

    topics: Mapping[str, ObservedTopic]
    dead_letters: Mapping[str, int]
    in_flight: int = 0


@dataclass(frozen=True)
class Check:
    """One law: ``found`` must lie in ``least`` to ``most`` (both included)."""

    law: str
    least: int
    most: int
    found: int

    @property
    def holds(self) -> bool:
        """Whether the law is kept."""
        return self.least <= self.found <= self.most

    def __str__(self) -> str:
        expected = f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"
        return f"{self.law}: expected {expected}, found {self.found}"


@dataclass(frozen=True)
class Reconciliation:
    """Every law with its verdict. ``repeated`` counts deliveries beyond what was sent: harmless."""

    checks: tuple[Check, ...]
    repeated: int

    @property
    def balanced(self) -> bool:
        """Whether every law is kept."""
        return not self.differences

    @property
    def differences(self) -> tuple[Check, ...]:
        """The laws that are broken."""
        return tuple(check for check in self.checks if not check.holds)


def reconcile(sent: Sent, observed: Observed) -> Reconciliation:
    """Hold what arrived against what was sent; both of one stack, from its creation on."""
    # Rows of RAW that could not be curated: their letters are copies, counted where they are missing.
    aside = observed.dead_letters.get(SET_ASIDE, 0)
    letters = {code: count for code, count in observed.dead_letters.items() if code != SET_ASIDE}
    arrived = (
        sum(topic.raw_rows for topic in observed.topics.values()) + sum(letters.values()) + observed.in_flight
    )
    repeated = max(0, arrived - sent.messages - sent.uncertain)
    # Each of these may be the one that a count is short of.
    open_messages = observed.in_flight + sent.uncertain
    checks = [
        Check(
            "messages in RAW, dead-letter queue or flight",
            sent.messages,
            sent.messages + sent.uncertain + repeated,
            arrived,
        )
    ]
    for code in sorted({*sent.broken, *letters}):
        broken = sent.broken.get(code, 0)
        least, most = max(0, broken - open_messages), broken + (repeated if broken else 0)
        checks.append(Check(f"dead letters {code}", least, most, letters.get(code, 0)))
    for name in sorted({*sent.topics, *observed.topics}):
        expected = sent.topics.get(name, _NOTHING)
        checks += _topic_checks(name, expected, observed.topics.get(name, _EMPTY), open_messages, aside)
    return Reconciliation(tuple(checks), repeated)


_NOTHING = SentTopic(0, 0, 0, 0, 0, 0, judged=True)
_EMPTY = ObservedTopic(0, 0, 0, 0)


def _topic_checks(
    name: str, sent: SentTopic, found: ObservedTopic, open_messages: int, aside: int
) -> list[Check]:
    def short_of(count: int, missing: int = 0) -> int:
        return max(0, count - open_messages - missing)

    unjudged = found.set_aside_keys

    checks = [
        Check(
            f"{name}: messages in RAW", short_of(sent.message_ids), sent.message_ids, found.raw_message_ids
        ),
        Check(f"{name}: keys in Curated", short_of(sent.keys, aside), sent.keys, found.curated_keys),
        Check(f"{name}: rows beyond one a key in Curated", 0, 0, found.curated_rows - found.curated_keys),
    ]
    if found.unserved_keys is not None:
        checks.append(
            Check(f"{name}: keys of Curated in neither Semantic nor Quarantine", 0, 0, found.unserved_keys)
        )
    if sent.judged and found.semantic_keys is not None and found.quarantine_keys is not None:
        checks += [
            Check(
                f"{name}: keys in Semantic",
                short_of(sent.good_keys, aside + unjudged),
                sent.good_keys,
                found.semantic_keys,
            ),
            Check(
                f"{name}: keys that wait in Quarantine",
                short_of(sent.bad_keys, aside),
                sent.bad_keys + sent.tied_keys + unjudged + aside + open_messages,
                found.quarantine_keys,
            ),
        ]
    return checks
