"""One source: the description of how a kind of device speaks, compiled; reading a message by it."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from common.intake.events import DELETE, MAX_FUTURE_US, EventParser, RawRecord, RejectCode, unprocessable
from common.intake.sources import slices
from common.intake.sources.express import Express, express
from common.intake.sources.expressions import (
    OPERATIONS,
    Condition,
    Place,
    condition,
    described,
    listed,
    mapping,
    only,
    value,
    words,
)
from common.intake.sources.matching import Match, match_of
from common.intake.sources.outcome import Made, Outcome, Refusal
from common.intake.sources.paths import Reference, names_in, plain_names
from common.intake.sources.rows import Rows
from common.intake.sources.scope import (
    CONTENT_NAMES,
    TRANSPORT_NAMES,
    Message,
    MessageRefused,
    Scope,
    Transport,
)
from common.intake.sources.times import Clock, clock, earliest
from common.intake.sources.unpacking import MAX_READINGS, Chain, Unpack, Volume, chain, part, too_many
from common.runtime.errors import RejectedEvent

NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
_LEVEL: Final = re.compile(r"[a-z][a-z0-9_]{0,29}")
_TOPIC: Final = re.compile(r"[a-z][a-z0-9_]{0,29}")
_PERIOD: Final = re.compile(r"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])")
_REASON: Final = re.compile(r"[a-z0-9][a-z0-9 _-]{0,59}")
_MAX_ID: Final = 128
_MAX_KEY: Final = 256
_MAX_LEVELS: Final = 8
_FIELDS: Final = (
    "version", "description", "match", "unpack", "skip", "refuse", "each", "readings", "topic", "key", "time",
    "not_before", "id", "payload", "delete", "correlation", "period",
)  # fmt: skip
_OF_READING: Final = (
    "each", "skip", "refuse", "topic", "key", "time", "not_before", "id", "payload", "delete", "correlation",
    "period",
)  # fmt: skip
_OF_LEVEL: Final = ("in", "as", "entries", "single", "optional", "carry", "unpack", "skip", "refuse")


@dataclass(frozen=True)
class _Rule:
    """A reading, a level or a message that is left out (``skip``) or refused, and why."""

    reason: str
    when: Condition
    skips: bool
    of_transport: bool


@dataclass(frozen=True)
class _Level:
    """One step of fan-out: ``inside`` gives an array, or an object whose entries count."""

    inside: Reference
    name: str
    entries: bool
    single: bool
    optional: bool
    carry: tuple[str, ...]
    parts: tuple[Unpack, ...]
    rules: tuple[_Rule, ...]


@dataclass(frozen=True)
class _Kind:
    """One kind of reading: where readings of it are, and what each becomes."""

    name: str
    levels: tuple[_Level, ...]
    rules: tuple[_Rule, ...]
    topic: Callable[[Scope], str]
    key: Callable[[Scope], str]
    clock: Clock
    identify: Callable[[Scope, str, int | None], str]
    payload: Reference
    deleted: Condition | None
    correlation: Reference | None
    period: Reference | None


class Source:
    """A compiled source. ``name`` is that of its file, ``version`` what the file says."""

    def __init__(
        self,
        name: str,
        version: int,
        *,
        match: Match,
        unpack: tuple[Chain, list[Unpack]],
        rules: tuple[_Rule, ...],
        kinds: tuple[_Kind, ...],
        short: Express | None,
    ) -> None:
        self.name: Final = name
        self.version: Final = version
        self.match: Final = match
        self._unpack, self._parts = unpack
        self._first_rules = tuple(rule for rule in rules if rule.of_transport)
        self._rules = tuple(rule for rule in rules if not rule.of_transport)
        self._kinds = kinds
        self._label = f"{name}@{version}"
        # Most devices send one reading as plain JSON.
        self.express = short

    def read(
        self,
        content: bytes | str,
        transport: Transport,
        captures: Mapping[str, str],
        parser: EventParser,
        ingestion_us: int,
    ) -> Outcome:
        """The events of a message; what cannot be one is refused by its place and keeps no other back.

        Raises RejectedEvent where the message as a whole can be nothing: it cannot be unpacked, or is too
        much.
        """
        out = Outcome(self.name, self.version)
        if self.express is not None and (text := _text_of(content)) is not None:
            event = self.express(text, captures, parser, ingestion_us)
            if event is not None:
                out.events.append(Made("", *event))
                return out
        message = Message(transport)
        names = {name: slices.of(text) for name, text in captures.items()}
        label = self._label
        try:
            if isinstance(content, str):
                # Half a surrogate pair, which SQS may hand out, is no text: the step that reads it says so.
                content = content.encode("utf-8", "surrogatepass")
            if self._first_rules and _stopped(self._first_rules, Scope(slices.NULL, names, message), out):
                return out
            volume = Volume()
            found = self._unpack(content, volume)
            if isinstance(found, Rows):
                for i, row in enumerate(found.rows):
                    if isinstance(row, RejectedEvent):
                        out.refused.append(Refusal(f"[{i}]", row.code, row.detail))
                        continue
                    self._document(
                        row, names, message, f"[{i}]", _Reading(out, parser, ingestion_us, label, volume)
                    )
            else:
                self._document(found, names, message, "", _Reading(out, parser, ingestion_us, label, volume))
        except RejectedEvent as reason:
            refused = MessageRefused(reason.code, f"source {label}: {reason.detail}")
            refused.source = self.name
            raise refused from None
        return out

    def _document(
        self,
        found: msgspec.Raw,
        names: dict[str, msgspec.Raw],
        message: Message,
        place: str,
        reading: "_Reading",
    ) -> None:
        """The readings of one document: a message, or one of several in it."""
        try:
            for unpack in self._parts:
                found = unpack(Scope(found, names, message), reading.volume)
            message.document = found
            scope = Scope(found, dict(names), message)
            if self._rules and _stopped(self._rules, scope, reading.out):
                return
        except MessageRefused:
            raise
        except RejectedEvent as reason:
            if not place:
                raise
            reading.out.refused.append(Refusal(place, reason.code, reason.detail))
            return
        for kind in self._kinds:
            reading.walk(kind, scope, 0, place)


class _Reading:
    """The reading of one message: what goes from level to level beside the scope."""

    __slots__ = ("_count", "_ingestion_us", "_label", "_parser", "out", "volume")

    def __init__(
        self, out: Outcome, parser: EventParser, ingestion_us: int, label: str, volume: Volume
    ) -> None:
        self.out = out
        self.volume = volume
        self._parser = parser
        self._ingestion_us = ingestion_us
        self._label = label
        self._count = len(out.events) + len(out.refused)

    def walk(self, kind: _Kind, scope: Scope, depth: int, place: str) -> None:
        """All readings of a kind in a scope."""
        if depth == len(kind.levels):
            self.event(kind, scope, place)
            return
        level = kind.levels[depth]
        try:
            found = list(_inside(level, scope))
        except MessageRefused:
            raise
        except RejectedEvent as reason:
            self._refuse(place, reason)
            return
        if not found:
            self.out.skip("empty")
            return
        carried: dict[str, msgspec.Raw] = {}
        for i, (key, item) in enumerate(found):
            self._count += 1
            if self._count > MAX_READINGS:
                raise too_many()
            at = f"{place}[{i}]"
            try:
                inner = _item_scope(level, scope, item, key=key, index=i, carried=carried, volume=self.volume)
                if inner is None or (level.rules and _stopped(level.rules, inner, self.out)):
                    continue
            except MessageRefused:
                raise
            except RejectedEvent as reason:
                self._refuse(at, reason)
                continue
            self.walk(kind, inner, depth + 1, at)

    def event(self, kind: _Kind, scope: Scope, place: str) -> None:
        """The event of one reading, or its refusal."""
        try:
            if kind.rules and _stopped(kind.rules, scope, self.out):
                return
            made = self._made(kind, scope, place)
        except MessageRefused:
            raise
        except RejectedEvent as reason:
            self._refuse(f"{place} {kind.name}".strip(), reason)
        except (
            Exception
        ) as error:  # a fault that nobody thought of: its neighbours go on, an operator sees it
            self._refuse(f"{place} {kind.name}".strip(), unprocessable(error))
        else:
            self.out.events.append(made)

    def _made(self, kind: _Kind, scope: Scope, place: str) -> Made:
        found = kind.clock(scope)
        if found.us > self._ingestion_us + MAX_FUTURE_US:
            raise RejectedEvent(
                RejectCode.TIME_OUT_OF_RANGE,
                "time: expected at most one day after the queue accepted the message, found a later one",
            )
        scope.publish_us = found.us
        deleted = kind.deleted is not None and kind.deleted(scope)
        key = kind.key(scope)
        topic = kind.topic(scope)
        row = RawRecord(
            kind.identify(scope, key, found.us if found.measured else None),
            key,
            topic,
            None if kind.period is None else _period(kind.period(scope)),
            None if kind.correlation is None else _text_or_none(kind.correlation(scope)),
            found.us,
            self._ingestion_us,
            None if deleted else _payload(kind.payload(scope)),
            DELETE if deleted else None,
            self._label,
        )
        return Made(place, topic, self._parser.record(row))

    def _refuse(self, place: str, reason: RejectedEvent) -> None:
        self.out.refused.append(Refusal(place, reason.code, reason.detail))


def _stopped(rules: tuple[_Rule, ...], scope: Scope, out: Outcome) -> bool:
    """Whether a rule leaves this out; raises RejectedEvent where one refuses it."""
    for rule in rules:
        if rule.when(scope):
            if rule.skips:
                out.skip(rule.reason)
                return True
            raise RejectedEvent(RejectCode.MALFORMED_FIELD, f"refused by the source's rule: {rule.reason}")
    return False


def _inside(level: _Level, scope: Scope) -> Iterator[tuple[str | None, msgspec.Raw]]:
    """The items of a level, each with its name where it is an entry of an object."""
    found = level.inside(scope)
    kind = None if found is None else slices.kind(found)
    if found is None or kind == "null":
        if level.optional:
            return
        raise RejectedEvent(
            RejectCode.MISSING_FIELD,
            f"each: expected {level.name}, found none; optional: true where that is meant",
        )
    if level.entries:
        entries = slices.fields(found)
        if entries is None:
            raise RejectedEvent(
                RejectCode.MALFORMED_FIELD, f"each: expected {level.name} to be an object, found {kind}"
            )
        yield from entries.items()
    elif kind == "array":
        yield from ((None, item) for item in slices.items(found) or [])
    elif level.single:
        yield None, found
    else:
        raise RejectedEvent(
            RejectCode.MALFORMED_FIELD, f"each: expected {level.name} to be an array, found {kind}"
        )


def _item_scope(
    level: _Level,
    scope: Scope,
    item: msgspec.Raw,
    *,
    key: str | None,
    index: int,
    carried: dict[str, msgspec.Raw],
    volume: Volume,
) -> Scope | None:
    """The scope of one item; None of one that only sets what those after it carry on."""
    if level.carry and (fields := slices.fields(item)) is not None:
        carried.update((name, fields[name]) for name in level.carry if name in fields)
        if fields.keys() <= set(level.carry):
            return None
        item = slices.of_fields({**carried, **fields})
        volume.add(len(memoryview(item)))
    names = {**scope.names, "parent": scope.item, "index": slices.of(index)}
    if key is not None:
        names["key"] = names[f"{level.name}_key"] = slices.of(key)
    inner = Scope(item, names, scope.message)
    for unpack in level.parts:
        inner = Scope(unpack(inner, volume), names, scope.message)
    names[level.name] = inner.item
    return inner


def _period(found: msgspec.Raw | None) -> str | None:
    text = _text_or_none(found)
    if text is not None and not _PERIOD.fullmatch(text):
        raise RejectedEvent(RejectCode.MALFORMED_FIELD, "period: expected YYYY-MM, found another text")
    return text


def _text_or_none(found: msgspec.Raw | None) -> str | None:
    return None if found is None else slices.text(found)


def _payload(found: msgspec.Raw | None) -> str:
    if found is None:
        raise RejectedEvent(RejectCode.MISSING_FIELD, "payload: expected an object, found none")
    if memoryview(found)[0] != 0x7B:
        raise RejectedEvent(
            RejectCode.MALFORMED_FIELD,
            f"payload: expected an object, found {slices.kind(found)}; make one of it (object:)",
        )
    return bytes(found).decode()


def compile_source(name: str, written: object, descriptors: Mapping[str, bytes] | None = None) -> Source:
    """Compile a source; raises SourceError with the place of the first thing that cannot be.

    ``written``: what its file says, as JSON would have it. ``descriptors``: sets of Protobuf, by file name.
    """
    top = Place("", TRANSPORT_NAMES | CONTENT_NAMES)
    if not NAME.fullmatch(name):
        raise top.error("expected a name of 1 to 40 lower-case letters, digits and hyphens; rename the file")
    given = mapping(written, top)
    only(given, top, *_FIELDS)
    version = given.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise top.at("version").error(f"expected a whole number from 1, found {described(version)}")
    if "description" in given:
        words(given["description"], top.at("description"))
    match = match_of(given.get("match"), top.at("match"))
    captures = {capture for topics in match.topics for capture in topics.captures}
    if taken := captures & (top.names | {"time"}):
        raise top.at("match").error(f"expected other names for levels, found {', '.join(sorted(taken))}")
    inside = top.knowing(*captures)
    unpack = chain(given.get("unpack"), inside.at("unpack"), descriptors or {})
    several = "readings" in given
    # Beside readings of several kinds, rules are of the message; else there is nothing that they could tell
    # apart.
    rules = (*_rules(given, inside, "skip", captures), *_rules(given, inside, "refuse", captures))
    kinds: list[_Kind] = []
    if several:
        common = {
            field: given[field] for field in _OF_READING if field in given and field not in {"skip", "refuse"}
        }
        at = inside.at("readings")
        for i, one in enumerate(listed(given["readings"], at)):
            of_kind = mapping(one, at.at(i))
            only(of_kind, at.at(i), "name", *_OF_READING)
            kind_name = words(of_kind.get("name"), at.at(i).at("name"))
            if not _LEVEL.fullmatch(kind_name) or any(kind.name == kind_name for kind in kinds):
                raise at.at(i).at("name").error("expected a name of its own: letters, digits and underscores")
            own = {field: of_kind[field] for field in of_kind if field != "name"}
            kinds.append(_kind(kind_name, {**common, **own}, at.at(i), rules_too=True))
    else:
        kinds.append(_kind("", given, inside, rules_too=False))
    return Source(
        name,
        version,
        match=match,
        unpack=unpack,
        rules=rules,
        kinds=tuple(kinds),
        short=_short(given, f"{name}@{version}", inside, frozenset(captures)),
    )


def _short(given: Mapping[str, Any], label: str, place: Place, captures: frozenset[str]) -> Express | None:
    if not {"topic", "key", "time"} <= given.keys():
        return None  # every kind of reading has its own
    identity = given.get("id")
    generation = identity.get("generation", 1) if isinstance(identity, Mapping) else 1
    not_before_us = earliest(given.get("not_before"), place.at("not_before"))
    return express(given, label, _salt(generation, ""), not_before_us, captures)


def _salt(generation: int, kind: str) -> bytes:
    return f"{generation}|{kind}|".encode()


def _text_of(content: bytes | str) -> str | None:
    if isinstance(content, str):
        return content
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _kind(name: str, given: Mapping[str, Any], place: Place, *, rules_too: bool) -> _Kind:
    levels, place = _levels(given.get("each"), place)
    for required in ("topic", "key", "time"):
        if required not in given:
            raise place.at(required).error("expected one, found none")
    timed = place.knowing("time")
    rules = (*_rules(given, place, "skip"), *_rules(given, place, "refuse")) if rules_too else ()
    return _Kind(
        name,
        levels,
        rules,
        _topic(given["topic"], timed.at("topic")),
        _key(given["key"], timed.at("key")),
        clock(given["time"], given.get("not_before"), place),
        _identity(name, given.get("id"), timed.at("id")),
        _payload_of(given.get("payload", "@"), timed.at("payload")),
        condition(given["delete"], timed.at("delete")) if "delete" in given else None,
        value(given["correlation"], timed.at("correlation")) if "correlation" in given else None,
        value(given["period"], timed.at("period")) if "period" in given else None,
    )


def _levels(written: object, place: Place) -> tuple[tuple[_Level, ...], Place]:
    """The levels, and the place with the names that they give."""
    if written is None:
        return (), place
    at = place.at("each")
    parts = written if isinstance(written, list) else [written]
    if not 0 < len(parts) <= _MAX_LEVELS:
        raise at.error(f"expected 1 to {_MAX_LEVELS} levels, found {len(parts)}")
    levels: list[_Level] = []
    for i, part_of in enumerate(parts):
        here = (at.at(i) if isinstance(written, list) else at).knowing(*place.names)
        given: Mapping[str, Any] = {"in": part_of} if isinstance(part_of, str) else mapping(part_of, here)
        only(given, here, *_OF_LEVEL)
        name = words(given.get("as", f"level_{i + 1}"), here.at("as"))
        if not _LEVEL.fullmatch(name) or name in place.names or name == "time":
            raise here.at("as").error(
                "expected a name of its own: lower-case letters, digits and underscores"
            )
        flags = {}
        for flag in ("entries", "single", "optional"):
            flags[flag] = given.get(flag, False)
            if not isinstance(flags[flag], bool):
                raise here.at(flag).error(f"expected true or false, found {described(flags[flag])}")
        inside = value(given.get("in"), here.at("in"))
        place = place.knowing(name, f"{name}_key")
        here = here.knowing(*place.names)
        carry_at, unpack_at = here.at("carry"), here.at("unpack")
        carry = tuple(
            words(one, carry_at.at(j))
            for j, one in enumerate(listed(given.get("carry", []), carry_at, least=0))
        )
        unpacks = tuple(
            part(mapping(one, unpack_at.at(j)), unpack_at.at(j), {})
            for j, one in enumerate(listed(given.get("unpack", []), unpack_at, least=0))
        )
        rules = (*_rules(given, here, "skip"), *_rules(given, here, "refuse"))
        levels.append(_Level(inside, name, carry=carry, parts=unpacks, rules=rules, **flags))
    return tuple(levels), place


def _rules(
    given: Mapping[str, Any], place: Place, field: str, captures: set[str] | None = None
) -> tuple[_Rule, ...]:
    if field not in given:
        return ()
    at = place.at(field)
    rules = []
    for i, one in enumerate(listed(given[field], at)):
        rule = mapping(one, at.at(i))
        only(rule, at.at(i), "reason", "when")
        reason = words(rule.get("reason"), at.at(i).at("reason"))
        if not _REASON.fullmatch(reason):
            raise (
                at.at(i).at("reason").error("expected 1 to 60 lower-case letters, digits, spaces and hyphens")
            )
        known = TRANSPORT_NAMES | (captures or set())
        of_transport = captures is not None and _roots(rule.get("when")) <= known
        rules.append(
            _Rule(reason, condition(rule.get("when"), at.at(i).at("when")), field == "skip", of_transport)
        )
    return tuple(rules)


def _roots(written: object) -> set[str]:
    """The names that the values of a condition begin at; ``@`` of those that begin at the item."""
    if isinstance(written, str):
        return set(names_in(written)) or {"@"}
    if isinstance(written, Mapping):
        return set().union(
            *(
                _roots(inner)
                for name, inner in written.items()
                if name in {"of", "all", "any", "not", *OPERATIONS}
            )
        )
    return set().union(*(_roots(inner) for inner in written)) if isinstance(written, list) else set()


def _topic(written: object, place: Place) -> Callable[[Scope], str]:
    if isinstance(written, str):
        if not _TOPIC.fullmatch(written):
            raise place.error(
                "expected the name of a topic, found another text; one from a field is written path: …"
            )
        return lambda _scope: written
    of = value(written, place)

    def find(scope: Scope) -> str:
        found = of(scope)
        text = None if found is None else slices.text(found)
        if text is None:
            raise RejectedEvent(RejectCode.MISSING_FIELD, "topic: expected a text, found none")
        return text

    return find


def _key(written: object, place: Place) -> Callable[[Scope], str]:
    several = isinstance(written, list)
    parts = [
        value(one, place.at(i) if several else place)
        for i, one in enumerate(listed(written, place) if several else [written])
    ]

    def find(scope: Scope) -> str:
        texts = []
        for i, part_of in enumerate(parts):
            found = part_of(scope)
            text = None if found is None else slices.text(found)
            if not text:
                raise RejectedEvent(
                    RejectCode.MISSING_FIELD,
                    f"key: expected part {i + 1} of {len(parts)} to be a text or number, found none",
                )
            # So that "a|b" and "c" are not "a" and "b|c".
            texts.append(
                text.replace("\\", "\\\\").replace("|", "\\|") if "|" in text or "\\" in text else text
            )
        key = "|".join(texts)
        return key if len(key) <= _MAX_KEY else f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"

    return find


def _identity(kind: str, written: object, place: Place) -> Callable[[Scope, str, int | None], str]:
    if isinstance(written, str) or (
        isinstance(written, Mapping) and any(name in written for name in OPERATIONS)
    ):
        of = value(written, place)

        def native(scope: Scope, _key: str, _us: int | None) -> str:
            found = of(scope)
            text = None if found is None else slices.text(found)
            if not text:
                raise RejectedEvent(RejectCode.MISSING_FIELD, "id: expected a text or number, found none")
            return text if len(text) <= _MAX_ID else hashlib.sha256(text.encode()).hexdigest()

        return native
    given: Mapping[str, Any] = {} if written is None else mapping(written, place)
    only(given, place, "hash", "without", "generation")
    generation = given.get("generation", 1)
    if not isinstance(generation, int) or isinstance(generation, bool) or generation < 1:
        raise place.at("generation").error(f"expected a whole number from 1, found {described(generation)}")
    salt = _salt(generation, kind)
    if "hash" in given:
        if "without" in given:
            raise place.at("without").error("expected it beside the whole reading, found it beside hash")
        at = place.at("hash")
        parts = [value(one, at.at(i)) for i, one in enumerate(listed(given["hash"], at))]
        return lambda scope, key, us: _hashed(
            salt, key, us, b"|".join(b"-" if (f := one(scope)) is None else _sorted(f) for one in parts)
        )
    without = [
        _names(one, place.at("without").at(i))
        for i, one in enumerate(listed(given.get("without", []), place.at("without"), least=0))
    ]
    if not without:
        return lambda scope, key, us: _hashed(salt, key, us, _sorted(scope.item))

    def whole(scope: Scope, key: str, us: int | None) -> str:
        item = scope.item
        for names in without:
            item = _left_out(item, names)
        return _hashed(salt, key, us, _sorted(item))

    return whole


def _hashed(salt: bytes, key: str, us: int | None, content: bytes) -> str:
    """An id: the same for the same reading, whenever and however often it comes."""
    name = key.encode()
    return hashlib.blake2b(
        b"%b%d|%b|%b|%b" % (salt, len(name), name, b"" if us is None else b"%d" % us, content), digest_size=16
    ).hexdigest()


def _sorted(found: msgspec.Raw) -> bytes:
    try:
        return slices.canonical(found)
    except ValueError:  # a number of more digits than Python reads: its fields keep their order
        return bytes(found)


def _names(written: object, place: Place) -> list[str]:
    names = plain_names(words(written, place))
    if not names:
        raise place.error("expected a field, or names with dots between them; found another path")
    return names


def _left_out(item: msgspec.Raw, names: list[str]) -> msgspec.Raw:
    fields = slices.fields(item)
    if fields is None or names[0] not in fields:
        return item
    if len(names) == 1:
        del fields[names[0]]
    else:
        fields[names[0]] = _left_out(fields[names[0]], names[1:])
    return slices.of_fields(fields)


def _payload_of(written: object, place: Place) -> Reference:
    if not isinstance(written, Mapping) or any(name in written for name in OPERATIONS):
        return value(written, place)
    only(written, place, "from", "without", "with")
    of = value(written.get("from", "@"), place.at("from"))
    without = [
        _names(one, place.at("without").at(i))
        for i, one in enumerate(listed(written.get("without", []), place.at("without"), least=0))
    ]
    added = {
        str(name): value(one, place.at("with").at(str(name)))
        for name, one in (mapping(written["with"], place.at("with")) if "with" in written else {}).items()
    }

    def find(scope: Scope) -> msgspec.Raw | None:
        found = of(scope)
        if found is None:
            return None
        for names in without:
            found = _left_out(found, names)
        fields = slices.fields(found)
        if not added or fields is None:
            return found
        fields.update((name, more) for name, one in added.items() if (more := one(scope)) is not None)
        return slices.of_fields(fields)

    return find
