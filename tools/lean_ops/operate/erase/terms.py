"""Many texts looked for at once in a lot of bytes.

A text is found where it stands alone: within ``sensor-12`` there is no ``sensor-1``. It may stand as it is,
or as JSON writes it, once or twice (a JSON text within another). Of each text the last eight bytes are held
against every eight bytes of the content, as numbers and all at once: ends of names tell more than
beginnings.
"""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_LONG: Final = 8
_SHORT: Final = 4
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_BITS: Final = 20
# What joins parts of a name, where more of a name follows.
_BEFORE: Final = re.compile(rb"(?:[0-9A-Za-z_\x80-\xff]|[0-9A-Za-z_\x80-\xff][-.:/#|@+])\Z")
_AFTER: Final = re.compile(rb"[0-9A-Za-z_\x80-\xff]|[-.:/#|@+][0-9A-Za-z_\x80-\xff]")

Bytes = npt.NDArray[np.uint8]


class Terms:
    """Texts to look for, by their places in ``texts``."""

    def __init__(self, texts: Collection[str]) -> None:
        self.texts: Final = tuple(texts)
        self.number_of: Final = {text: number for number, text in enumerate(self.texts)}
        self.number_of_bytes: Final = {_utf8(text): number for number, text in enumerate(self.texts)}
        self._forms: Final[list[tuple[bytes, int]]] = []
        by_end: dict[int, dict[int, list[int]]] = {_LONG: defaultdict(list), _SHORT: defaultdict(list)}
        self._tiny: Final[list[int]] = []
        self.tiny: Final = {text: n for n, text in enumerate(self.texts) if _is_short(text)}
        """Texts too short to be looked for but within quotes, and their places."""
        for number, text in enumerate(self.texts):
            for form in _forms(text):
                place = len(self._forms)
                self._forms.append((form, number))
                width = _LONG if len(form) >= _LONG else _SHORT
                if len(form) < _SHORT:
                    self._tiny.append(place)
                else:
                    by_end[width][int.from_bytes(form[-width:], "little")].append(place)
        self._ends: Final = {width: _Ends(width, ends) for width, ends in by_end.items() if ends}

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self.texts)

    def standing_alone(self, content: bytes) -> set[int]:
        """Texts that stand alone somewhere in ``content``."""
        found = set()
        for first, end, number in self.places(np.frombuffer(content, np.uint8)):
            if number not in found and stands_alone(content, first, end):
                found.add(number)
        return found

    def after_their_length(self, content: bytes) -> set[int]:
        """Texts that stand in ``content`` behind their length, as Avro writes a text or bytes."""
        return {
            number
            for first, end, number in self.places(np.frombuffer(content, np.uint8))
            if content[:first].endswith(_avro_length(end - first))
            and self.number_of_bytes.get(content[first:end]) == number
        }

    def places(self, content: Bytes) -> Iterator[tuple[int, int, int]]:
        """Where each text begins and ends in ``content``, alone or not."""
        for ends in self._ends.values():
            for end, place in ends.within(content):
                form, number = self._forms[place]
                first = end - len(form)
                if first >= 0 and content[first:end].tobytes() == form:
                    yield first, end, number
        for place in self._tiny:
            form, number = self._forms[place]
            for match in re.finditer(re.escape(form), content.tobytes()):
                yield match.start(), match.end(), number


class _Ends:
    """The last ``width`` bytes of texts, as numbers."""

    def __init__(self, width: int, places: dict[int, list[int]]) -> None:
        self._width: Final = width
        self._places: Final = places
        self._type: Final[Any] = np.dtype("<u8" if width == _LONG else "<u4")
        self._seen: Final = np.zeros(1 << _BITS, dtype=bool)
        self._numbers: Final = np.sort(np.array(list(places), dtype=np.uint64))
        self._seen[_mixed(self._numbers)] = True

    def within(self, content: Bytes) -> Iterator[tuple[int, int]]:
        """Ends of such bytes in ``content``, with the places of the texts that end so."""
        for shift in range(self._width):
            count = (len(content) - shift) // self._width
            if count <= 0:
                continue
            window = content[shift : shift + count * self._width].view(self._type).astype(np.uint64)
            likely = np.flatnonzero(self._seen[_mixed(window)])
            if not len(likely):
                continue
            nearest = np.searchsorted(self._numbers, window[likely]).clip(max=len(self._numbers) - 1)
            for index in likely[self._numbers[nearest] == window[likely]].tolist():
                for place in self._places[int(window[index])]:
                    yield shift + (index + 1) * self._width, place


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    mixed: npt.NDArray[np.uint64] = (numbers * _MIX) >> np.uint64(64 - _BITS)
    return mixed


def stands_alone(content: bytes, first: int, end: int) -> bool:
    """Whether what stands there is no part of a longer word, number or name."""
    return not _BEFORE.search(content[max(0, first - 2) : first]) and not _AFTER.match(content[end : end + 2])


def _forms(text: str) -> set[bytes]:
    """A text in UTF-8 as it is, and as JSON writes it once or twice; a short one with its quotes only."""
    plain = _utf8(text)
    forms = set() if _is_short(text) else {plain}
    for ascii_only in (True, False):
        once = json.dumps(text, ensure_ascii=ascii_only)
        shown = once if _is_short(text) else once[1:-1]
        twice = json.dumps(shown, ensure_ascii=ascii_only)[1:-1]
        forms |= {_utf8(form) for form in (shown, twice)}
    return forms


def _is_short(text: str) -> bool:
    return len(_utf8(text)) < _SHORT


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _avro_length(size: int) -> bytes:
    """A length as Avro writes it: zig-zag, seven bits a byte (Avro specification 1.11, "Binary encoding")."""
    number, found = size << 1, bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
