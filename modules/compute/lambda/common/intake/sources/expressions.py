"""Values and conditions of a source: a path, or one operation on values.

A value is a path (``reading.temp``) or a mapping with one of the operations in ``OPERATIONS``. It is absent
where what it is made of is absent; an operation that finds something it cannot work on refuses the reading.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal, DecimalException
from functools import reduce
from typing import Any, Final

import msgspec

from common.intake.events import RejectCode
from common.intake.sources import slices
from common.intake.sources.mqtt import FilterError, MqttFilter
from common.intake.sources.paths import Reference, SourceError, reference
from common.intake.sources.scope import Scope
from common.runtime.errors import RejectedEvent

Condition = Callable[[Scope], bool]
_KINDS: Final = ("array", "boolean", "null", "number", "object", "text")


class Place:
    """Where in the description something stands, and which ``$name`` may be used there."""

    __slots__ = ("names", "where")

    def __init__(self, where: str, names: frozenset[str]) -> None:
        self.where = where
        self.names = names

    def at(self, step: str | int) -> "Place":
        """The place of a field or an item of what stands here."""
        if isinstance(step, int):
            return Place(f"{self.where}[{step}]", self.names)
        return Place(f"{self.where}.{step}" if self.where else step, self.names)

    def knowing(self, *names: str) -> "Place":
        """The same place with more names."""
        return Place(self.where, self.names.union(names))

    def error(self, message: str) -> SourceError:
        """An error at this place."""
        return SourceError(self.where, message)


def value(written: object, place: Place) -> Reference:
    """Compile a value; raises SourceError."""
    if isinstance(written, str):
        return reference(written, place.where, place.names)
    if isinstance(written, Mapping):
        used = [name for name in OPERATIONS if name in written]
        if len(used) == 1:
            return OPERATIONS[used[0]](written, place)
        found = " and ".join(used) or ", ".join(map(str, written)) or "nothing"
        raise place.error(f"expected one of the operations {', '.join(OPERATIONS)}; found {found}")
    raise place.error(
        f"expected a path or an operation, found {described(written)}; a fixed value is written constant: …"
    )


def described(written: object) -> str:
    """The kind of something in a description."""
    names = {
        str: "text",
        bool: "true or false",
        int: "number",
        float: "number",
        list: "list",
        dict: "mapping",
    }
    return "nothing" if written is None else names.get(type(written), "another kind")


def only(written: Mapping[str, Any], place: Place, *allowed: str) -> None:
    """Raise SourceError for a field that is none of ``allowed``."""
    for name in written:
        if name not in allowed:
            raise place.at(str(name)).error(f"expected one of {', '.join(allowed)}; found {name}")


def listed(written: object, place: Place, *, least: int = 1) -> list[Any]:
    """A list of a description; raises SourceError."""
    if not isinstance(written, list) or len(written) < least:
        found = f"one of {len(written)}" if isinstance(written, list) else described(written)
        raise place.error(f"expected a list of {least} or more, found {found}")
    return written


def mapping(written: object, place: Place) -> Mapping[str, Any]:
    """A mapping of a description; raises SourceError."""
    if not isinstance(written, Mapping) or not written:
        found = "an empty one" if isinstance(written, Mapping) else described(written)
        raise place.error(f"expected a mapping, found {found}")
    return written


def words(written: object, place: Place) -> str:
    """A text of a description that is not empty; raises SourceError."""
    if not isinstance(written, str) or not written:
        raise place.error(f"expected a text, found {'an empty one' if written == '' else described(written)}")
    return written


def decimal(written: object, place: Place) -> Decimal:
    """A number of a description, as number or as text; raises SourceError."""
    if isinstance(written, (int, float, str)) and not isinstance(written, bool):
        found = slices.number(slices.of(str(written)))
        if found is not None:
            return found
    raise place.error(f"expected a number, found {described(written)}")


def _constant(written: Mapping[str, Any], place: Place) -> Reference:
    only(written, place, "constant")
    fixed = slices.of(written["constant"])
    return lambda _scope: fixed


def _first(written: Mapping[str, Any], place: Place) -> Reference:
    only(written, place, "first")
    candidates = _values(written["first"], place.at("first"))

    def find(scope: Scope) -> msgspec.Raw | None:
        for candidate in candidates:
            found = candidate(scope)
            if found is not None and bytes(found) != b"null":
                return found
        return None

    return find


def _join(written: Mapping[str, Any], place: Place) -> Reference:
    only(written, place, "join", "with")
    parts = _values(written["join"], place.at("join"))
    between = written.get("with", "")
    if not isinstance(between, str):
        raise place.at("with").error(f"expected a text, found {described(between)}")

    def find(scope: Scope) -> msgspec.Raw | None:
        texts = []
        for part in parts:
            found = part(scope)
            if found is None or (text := slices.text(found)) is None:
                if found is None or bytes(found) == b"null":
                    continue
                raise _malformed("join: expected texts and numbers", found)
            texts.append(text)
        return slices.of(between.join(texts)) if texts else None

    return find


def _sum(written: Mapping[str, Any], place: Place) -> Reference:
    only(written, place, "sum")
    parts = _values(written["sum"], place.at("sum"))

    def find(scope: Scope) -> msgspec.Raw | None:
        numbers = [n for part in parts if (n := _number(part(scope), "sum")) is not None]
        return slices.of_number(reduce(slices.EXACT.add, numbers)) if numbers else None

    return find


def _scale(written: Mapping[str, Any], place: Place) -> Reference:
    only(written, place, "scale", "by", "plus")
    of = value(written["scale"], place.at("scale"))
    by = decimal(written.get("by", 1), place.at("by"))
    plus = decimal(written.get("plus", 0), place.at("plus"))

    def find(scope: Scope) -> msgspec.Raw | None:
        found = _number(of(scope), "scale")
        return None if found is None else slices.of_number(slices.EXACT.fma(found, by, plus))

    return find


def _product(written: Mapping[str, Any], place: Place) -> Reference:
    only(written, place, "product")
    parts = _values(written["product"], place.at("product"))

    def find(scope: Scope) -> msgspec.Raw | None:
        made = Decimal(1)
        for part in parts:
            number = _number(part(scope), "product")
            if number is None:
                return None
            try:
                made = slices.EXACT.multiply(made, number)
            except DecimalException:
                raise RejectedEvent(
                    RejectCode.MALFORMED_FIELD, "product: expected at most 400 digits, found more"
                ) from None
        return slices.of_number(made)

    return find


def _pick(written: Mapping[str, Any], place: Place) -> Reference:
    """The item or entry of one value that another names: parallel arrays, tables of names."""
    only(written, place, "pick", "at")
    of = value(written["pick"], place.at("pick"))
    at = value(written.get("at"), place.at("at"))

    def find(scope: Scope) -> msgspec.Raw | None:
        found, named = of(scope), at(scope)
        name = None if named is None else slices.text(named)
        if found is None or name is None:
            return None
        entries = slices.fields(found)
        if entries is not None:
            return entries.get(name)
        items = slices.items(found) or []
        position = int(name) if name.isascii() and name.isdigit() and len(name) < 10 else len(items)
        return items[position] if position < len(items) else None

    return find


def _zip(written: Mapping[str, Any], place: Place) -> Reference:
    """An object of an array of names and one of values: rows whose columns are named once."""
    only(written, place, "zip")
    at = place.at("zip")
    parts = _values(written["zip"], at)
    if len(parts) != 2:
        raise at.error(f"expected names and values, found {len(parts)} of them")

    def find(scope: Scope) -> msgspec.Raw | None:
        names, values = (None if (found := part(scope)) is None else slices.items(found) for part in parts)
        if names is None or values is None:
            return None
        texts = [slices.text(name) for name in names]
        if len(names) != len(values) or None in texts or len(set(texts)) < len(texts):
            raise RejectedEvent(
                RejectCode.MALFORMED_FIELD, "zip: expected a name of its own for each value, found others"
            )
        return slices.of_fields({str(n): v for n, v in zip(texts, values, strict=True)})

    return find


def _low_high(written: Mapping[str, Any], place: Place) -> Reference:
    only(written, place, "low_high")
    of = value(written["low_high"], place.at("low_high"))

    def find(scope: Scope) -> msgspec.Raw | None:
        pair = of(scope)
        if pair is None:
            return None
        halves = slices.fields(pair)
        if halves is None:
            return pair  # some decoders write such a pair only where the number needs it
        low, high = (slices.number(halves.get(name, slices.NULL)) for name in ("low", "high"))
        if low is None or high is None or not (_is_half(low) and _is_half(high)):
            raise _malformed("low_high: expected whole numbers low and high of 32 bits", pair)
        unsigned = bytes(halves.get("unsigned", slices.NULL)) == b"true"
        whole = (int(high) % 2**32) * 2**32 + int(low) % 2**32
        return slices.of(whole if unsigned or whole < 2**63 else whole - 2**64)

    return find


def _is_half(number: Decimal) -> bool:
    return -(2**31) <= number < 2**32 and number == number.to_integral_value()


def _lookup(written: Mapping[str, Any], place: Place) -> Reference:
    only(written, place, "lookup", "in", "else")
    of = value(written["lookup"], place.at("lookup"))
    table = {
        str(name): slices.of(meaning) for name, meaning in mapping(written.get("in"), place.at("in")).items()
    }
    otherwise = written.get("else", "refuse")
    if otherwise not in {"refuse", "keep", "absent"}:
        raise place.at("else").error(f"expected refuse, keep or absent; found {described(otherwise)}")

    def find(scope: Scope) -> msgspec.Raw | None:
        asked = of(scope)
        if asked is None:
            return None
        name = slices.text(asked)
        if name is not None and name in table:
            return table[name]
        if otherwise == "refuse":
            raise RejectedEvent(
                RejectCode.MALFORMED_FIELD, f"lookup: expected one of {len(table)} names, found another"
            )
        return asked if otherwise == "keep" else None

    return find


def _split(written: Mapping[str, Any], place: Place) -> Reference:
    only(written, place, "split", "by", "take")
    of = value(written["split"], place.at("split"))
    by = words(written.get("by"), place.at("by"))
    take = written.get("take")
    if not isinstance(take, int) or isinstance(take, bool):
        raise place.at("take").error(f"expected the position of a part, from 0, found {described(take)}")

    def find(scope: Scope) -> msgspec.Raw | None:
        found = of(scope)
        text = None if found is None else slices.text(found)
        parts = [] if text is None else text.split(by)
        return slices.of(parts[take]) if -len(parts) <= take < len(parts) else None

    return find


def _number_of(written: Mapping[str, Any], place: Place) -> Reference:
    only(written, place, "number")
    of = value(written["number"], place.at("number"))

    def find(scope: Scope) -> msgspec.Raw | None:
        found = of(scope)
        if found is None or bytes(found) == b"null":
            return found
        if slices.number(found) is None:
            raise _malformed("number: expected a number, or a text that is one", found)
        return msgspec.Raw((slices.text(found) or "").strip().encode())

    return find


def _object(written: Mapping[str, Any], place: Place) -> Reference:
    only(written, place, "object")
    inside = place.at("object")
    parts = {
        str(name): value(part, inside.at(str(name)))
        for name, part in mapping(written["object"], inside).items()
    }

    def find(scope: Scope) -> msgspec.Raw | None:
        made = {name: found for name, part in parts.items() if (found := part(scope)) is not None}
        return slices.of_fields(made) if made else None

    return find


def _list(written: Mapping[str, Any], place: Place) -> Reference:
    only(written, place, "list")
    parts = _values(written["list"], place.at("list"))
    return lambda scope: slices.of_items([found for part in parts if (found := part(scope)) is not None])


def _path(written: Mapping[str, Any], place: Place) -> Reference:
    only(written, place, "path")
    return reference(words(written["path"], place.at("path")), place.at("path").where, place.names)


OPERATIONS: Final[Mapping[str, Callable[[Mapping[str, Any], Place], Reference]]] = {
    "path": _path,
    "constant": _constant,
    "first": _first,
    "join": _join,
    "split": _split,
    "sum": _sum,
    "scale": _scale,
    "product": _product,
    "pick": _pick,
    "zip": _zip,
    "number": _number_of,
    "low_high": _low_high,
    "lookup": _lookup,
    "object": _object,
    "list": _list,
}


def _values(written: object, place: Place) -> list[Reference]:
    return [value(part, place.at(i)) for i, part in enumerate(listed(written, place))]


def _number(found: msgspec.Raw | None, what: str) -> Decimal | None:
    if found is None or bytes(found) == b"null":
        return None
    number = slices.number(found)
    if number is None:
        raise _malformed(f"{what}: expected a number of at most 60 digits, or a text that is one", found)
    return number


def _malformed(expected: str, found: msgspec.Raw) -> RejectedEvent:
    return RejectedEvent(RejectCode.MALFORMED_FIELD, f"{expected}, found {slices.kind(found)}")


def condition(written: object, place: Place) -> Condition:
    """Compile a condition; raises SourceError.

    A path holds where its value is one that JMESPath calls true: not absent, null, false, or empty.
    """
    if isinstance(written, str):
        of = value(written, place)
        return lambda scope: _is_true(of(scope))
    written = mapping(written, place)
    for name, combine in (("all", all), ("any", any)):
        if name in written:
            only(written, place, name)
            inside = place.at(name)
            parts = [condition(part, inside.at(i)) for i, part in enumerate(listed(written[name], inside))]
            return lambda scope, combine=combine: combine(part(scope) for part in parts)  # type: ignore[misc]
    if "not" in written:
        only(written, place, "not")
        inverse = condition(written["not"], place.at("not"))
        return lambda scope: not inverse(scope)
    return _test(written, place)


def _test(written: Mapping[str, Any], place: Place) -> Condition:
    only(written, place, "of", *_TESTS)
    used = [name for name in _TESTS if name in written]
    if "of" not in written or len(used) != 1:
        raise place.error(
            f"expected all, any, not, or of: with one of {', '.join(_TESTS)}; "
            f"found {', '.join(map(str, written))}"
        )
    of = value(written["of"], place.at("of"))
    return _TESTS[used[0]](of, written[used[0]], place.at(used[0]))


def _present(of: Reference, wanted: object, place: Place) -> Condition:
    if not isinstance(wanted, bool):
        raise place.error(f"expected true or false, found {described(wanted)}")
    return lambda scope: ((found := of(scope)) is not None and bytes(found) != b"null") is wanted


def _equals(of: Reference, wanted: object, place: Place) -> Condition:
    return _one_of(of, [wanted], place)


def _one_of(of: Reference, wanted: object, place: Place) -> Condition:
    known = {_comparable(slices.of(one)) for one in listed(wanted, place)}
    return lambda scope: (found := of(scope)) is not None and _comparable(found) in known


def _begins(of: Reference, wanted: object, place: Place) -> Condition:
    start = words(wanted, place)
    return lambda scope: (found := of(scope)) is not None and (slices.text(found) or "").startswith(start)


def _ends(of: Reference, wanted: object, place: Place) -> Condition:
    end = words(wanted, place)
    return lambda scope: (found := of(scope)) is not None and (slices.text(found) or "").endswith(end)


def _kind(of: Reference, wanted: object, place: Place) -> Condition:
    if wanted not in _KINDS:
        raise place.error(f"expected one of {', '.join(_KINDS)}; found {described(wanted)}")
    return lambda scope: (found := of(scope)) is not None and slices.kind(found) == wanted


def _like(of: Reference, wanted: object, place: Place) -> Condition:
    try:
        topics = MqttFilter(words(wanted, place))
    except FilterError as error:
        raise place.error(str(error)) from None
    return lambda scope: (
        (found := of(scope)) is not None
        and (text := slices.text(found)) is not None
        and topics.match(text) is not None
    )


_TESTS: Final[Mapping[str, Callable[[Reference, object, Place], Condition]]] = {
    "equals": _equals,
    "one_of": _one_of,
    "present": _present,
    "begins": _begins,
    "ends": _ends,
    "kind": _kind,
    "like": _like,
}


def _comparable(found: msgspec.Raw) -> object:
    kind = slices.kind(found)
    if kind == "number":
        return slices.number(found)
    return (kind, slices.text(found) if kind == "text" else bytes(found))


def _is_true(found: msgspec.Raw | None) -> bool:
    return found is not None and bytes(found) not in {b"null", b"false", b'""', b"[]", b"{}"}
