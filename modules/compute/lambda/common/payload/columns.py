"""Which path of a payload has which column: a column belongs to the path that made it.

Many paths may be spelled alike as column names: ``NO₂`` and ``NO₃``, or ``a.b``, ``a b`` and ``A_B``. One of
them owns the column; the values of the others go to ``_rescued``. The owner is written into the column's
comment (``doc`` in Iceberg, the comment in Glue), in the commit that adds the column, so that no order of
rows, runs, replays or rebuilds changes what a column holds.

Who gets what is not yet owned is decided over all rows of a portion, not by who comes first:

- a column is owned by the path that is spelled exactly like it, else by the most used, else by the first in
  the order of code points. This holds for new columns, and for those that were made before owners were
  written down;
- columns that the contract names are always admitted; others while the table has fewer than
  ``Limits.columns``, the most used first, then in the order of their names.

Rows are read once and in steps, so decisions are made step by step; ``Columns.revised`` says afterwards
whether the whole portion asks for others. A rebuild counts over all rows first (``Columns.most_used``), and
decides anew which of the columns that leaves have made (``leaf_columns``) stay.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Any, Final, Self

import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField, StringType

from common.payload.leaves import NOT_FOR_LEAVES, Path, is_usable, normalised, normalised_each, pointer
from common.payload.rescued import Rescued, Why
from common.runtime.arrowtypes import Field

NOTE: Final = "Payload path "
DOC_KEY: Final = b"doc"  # where Iceberg's Arrow schemas keep a column's comment
# AWS Glue API, Column: a comment is "not more than 255 bytes long, matching the Single-line string
# pattern".
_COMMENT_BYTES: Final = 255
_SAMPLE: Final = 100
# Paths whose use is counted; beyond, the rarely used that have no column are forgotten. Bounds memory.
_COUNTED: Final = 20_000


@dataclass(frozen=True)
class Limits:
    """``depth``: keys in a path that has a column; ``columns``: payload columns of the table."""

    depth: int = 8
    columns: int = 500


DEFAULT_LIMITS: Final = Limits()


@dataclass
class Columns:
    """The payload columns of a table, by the paths that own them.

    ``owners``: the note of each column's owner (``path_note``), None where none is written down.
    ``contracted``: columns that the contract names. ``reserved``: names beyond ``NOT_FOR_LEAVES`` that no
    leaf may have. ``bound``: notes of columns to be decided on anew, which only their owners may have again.

    ``claimed`` gives the notes of columns that got an owner here, ``new`` those among them that the table
    does not have, and ``rescued`` what had to go without a column. ``renamed`` gives columns that somebody
    gave another name, with the name that their owner asks for. ``samples``: one text of each new column, in
    clear and cut, for whoever tells of it.
    """

    owners: Mapping[str, str | None] = field(default_factory=dict)
    contracted: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset()
    limits: Limits = DEFAULT_LIMITS
    bound: Mapping[str, str] = field(default_factory=dict)
    claimed: dict[str, str] = field(default_factory=dict)
    rescued: dict[Rescued, None] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    samples: dict[str, str] = field(default_factory=dict)
    _columns: dict[Path, str] = field(default_factory=dict)
    _uses: dict[Path, int] = field(default_factory=dict)
    _final: bool = False

    @classmethod
    def of(cls, schema: Schema, reserved: frozenset[str], contracted: frozenset[str], limits: Limits) -> Self:
        """The payload columns of a table, each with the owner that its comment names.

        A column that is no text or has capital letters was made by hand: no leaf has its name.
        """
        by_hand = {
            column.name.lower()
            for column in schema.fields
            if not isinstance(column.field_type, StringType) or column.name != column.name.lower()
        }
        return cls(
            {
                column.name: column.doc if (column.doc or "").startswith(NOTE) else None
                for column in schema.fields
                if column.name.lower() not in NOT_FOR_LEAVES | reserved | by_hand
            },
            contracted,
            reserved | by_hand,
            limits,
            renamed=_renamed(schema),
        )

    @property
    def new(self) -> dict[str, str]:
        """Notes of the columns that the table does not have yet, by their names."""
        return {name: note for name, note in sorted(self.claimed.items()) if name not in self.owners}

    def news(self) -> int:
        """How many findings there are to tell of: owners, and kinds of leaves without a column."""
        return len(self.claimed) + len(self.rescued) + len(self.renamed)

    def take_samples(self, rows: pa.Table) -> None:
        """Keep a text of each new column that ``rows`` has as the first ones."""
        for name in self.claimed.keys() - self.owners.keys() - self.samples.keys():
            if name in rows.column_names:
                texts: list[Any] = rows[name].drop_null().slice(0, 1).to_pylist()
                for text in texts:
                    self.samples[name] = text[:_SAMPLE]

    def column(self, path: Path) -> str | None:
        """The column of a path that was looked at (``look_at``); None where it has none."""
        return self._columns.get(path)

    def look_at(self, uses: Mapping[Path, int]) -> None:
        """Decide on the paths of some rows; ``uses`` counts the rows in which each has a value."""
        candidates, rivals = self._candidates(uses)
        room = self.limits.columns - len(self.owners.keys() | self.claimed.keys())
        chosen = self._choose(candidates, rivals, room)
        for name, path in chosen.items():
            self._claim(name, path)
            if name in rivals:
                self.rescue(Why.OTHER_PATH, name)
        if len(chosen) < len(candidates):
            self.rescue(Why.COLUMN_LIMIT)
        rarely = 0
        while len(self._uses) - len(self.claimed) > _COUNTED:
            rarely += 1
            self._uses = {p: n for p, n in self._uses.items() if n > rarely or p in self._columns}

    def rescue(self, why: Why, column: str = "") -> None:
        """Note that a leaf has no column."""
        self.rescued[Rescued(why, column)] = None

    def revised(self) -> "Columns | None":
        """What all rows that were looked at ask for, where that is not what was decided step by step."""
        if self._final:
            return None
        chosen = self._chosen_of_all()
        if all(self._columns.get(path) == name for name, path in chosen.items()):
            return None
        fresh = Columns(
            self.owners,
            self.contracted,
            self.reserved,
            self.limits,
            self.bound,
            renamed=self.renamed,
            _final=True,
        )
        for name, path in chosen.items():
            fresh._claim(name, path)
        return fresh

    def put_together(self, parts: "Sequence[Columns]") -> "Columns":
        """What rows ask for that were looked at in parts, each part by a copy of these columns."""
        uses: Counter[Path] = Counter()
        for part in parts:
            uses.update(part._uses)
        whole = Columns(
            self.owners, self.contracted, self.reserved, self.limits, self.bound, renamed=self.renamed
        )
        whole._uses = dict(uses)
        for name, path in whole._chosen_of_all().items():
            whole._claim(name, path)
        whole._final = True
        for part in parts:
            whole.samples |= part.samples
        return whole

    def are_those_of(self, part: "Columns") -> bool:
        """Whether ``part``, which was put together with others, gave its paths just these columns."""
        return all(part._columns.get(path) == self._columns.get(path) for path in part._uses)

    def take_in(self, parts: "Sequence[Columns]") -> None:
        """Decide on what copies of these columns have looked at since they were made."""
        uses: Counter[Path] = Counter()
        for part in parts:
            uses.update({path: n for path, n in part._uses.items() if path not in self._uses})
            self.rescued |= part.rescued
        self.look_at(uses)

    def most_used(self) -> dict[str, str]:
        """Notes of the columns that all rows that were looked at ask for, by name."""
        return {name: path_note(path) for name, path in self._chosen_of_all().items()}

    def field(self, name: str) -> Field:
        """A column as an Arrow field; its metadata names the owner, as Iceberg keeps a column's comment."""
        note = self.claimed.get(name) or self.owners.get(name)
        return pa.field(name, pa.string(), metadata={DOC_KEY: note.encode()} if note else None)

    def _candidates(self, uses: Mapping[Path, int]) -> tuple[dict[str, Path], dict[str, list[Path]]]:
        """Count the uses; gives a path of each name that has no owner yet, and all of a name with several."""
        # A payload may have a hundred thousand paths: what is done for each is all the time that this takes.
        candidates: dict[str, Path] = {}
        rivals: dict[str, list[Path]] = {}
        known = self._uses
        spoken_for = NOT_FOR_LEAVES.union(self.reserved, self.bound, self.owners, self.claimed)
        for (path, rows), name in zip(uses.items(), normalised_each(uses), strict=True):
            if path in known:
                known[path] += rows
                continue
            if name in spoken_for or not is_usable(name):
                if path in self._columns or not self._is_free(name, path):
                    continue
                if name in self.claimed:
                    known[path] = rows
                    self.rescue(Why.OTHER_PATH, name)
                    continue
            known[path] = rows
            if candidates.setdefault(name, path) is not path:
                rivals.setdefault(name, [candidates[name]]).append(path)
        return candidates, rivals

    def _is_free(self, name: str, path: Path) -> bool:
        """Whether a path may come to own a column; its owner gets it at once, for others it is noted."""
        if name in NOT_FOR_LEAVES or name in self.reserved:
            self.rescue(Why.RESERVED_NAME, name)
            return False
        if not is_usable(name):
            self.rescue(Why.UNUSABLE_NAME)
            return False
        if name in self.bound and self.bound[name] != path_note(path):
            self.rescue(Why.OTHER_PATH, name)
            return False
        owner = self.owners.get(name)
        if owner is None:
            return True
        if owner == path_note(path):
            self._columns[path] = name
        else:
            self.rescue(Why.OTHER_PATH, name)
        return False

    def _chosen_of_all(self) -> dict[str, Path]:
        candidates: dict[str, Path] = {}
        rivals: dict[str, list[Path]] = {}
        for path, name in zip(self._uses, normalised_each(self._uses), strict=True):
            if candidates.setdefault(name, path) is not path:
                rivals.setdefault(name, [candidates[name]]).append(path)
        return self._choose(candidates, rivals, self.limits.columns - len(self.owners))

    def _choose(
        self, candidates: Mapping[str, Path], rivals: Mapping[str, list[Path]], room: int
    ) -> dict[str, Path]:
        """The owners of the columns that are admitted, of the paths that would have each name.

        ``candidates`` has one path of each name, ``rivals`` all of a name that several would have.
        """
        uses = self._uses
        best = {
            **candidates,
            **{
                name: min(paths, key=lambda path: ("__".join(path) != name, -uses[path], path))
                for name, paths in rivals.items()
            },
        }
        first = best.keys() & (self.owners.keys() | self.contracted)
        room -= len(first - self.owners.keys())
        # As values, not by a key function: there may be a hundred thousand.
        others = [(-uses[path], name) for name, path in best.items() if name not in first]
        admitted = [name for _, name in nsmallest(max(0, room), others)]
        return {name: best[name] for name in (*sorted(first), *admitted)}

    def _claim(self, name: str, path: Path) -> None:
        self.claimed[name] = path_note(path)
        self._columns[path] = name


def path_note(path: Path) -> str:
    """The comment of a column that belongs to a path: the same for the same path, and for no other.

    The path is a JSON Pointer (RFC 6901) written as a JSON string, so that it has no line break; one that is
    too long for Glue is named by its hash.
    """
    text = pointer(path)
    literal = json.dumps(text, ensure_ascii=not text.isprintable())
    if len((NOTE + literal).encode()) <= _COMMENT_BYTES:
        return NOTE + literal
    return f"{NOTE}with SHA-256 {hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def leaf_columns(schema: Schema) -> dict[str, str]:
    """Notes of the columns that leaves have made and nobody has touched since, by name.

    Not among them is what may be somebody's: a column without an owner's note, of another type, with another
    name than its owner asks for, or whose owner is named by its hash, which does not tell the name.
    """
    return {
        column.name: column.doc
        for column, name in _asked_for(schema)
        if column.doc and name == column.name and isinstance(column.field_type, StringType)
    }


def _renamed(schema: Schema) -> dict[str, str]:
    """Columns whose owner would have another name, by it; not told of an owner that is named by its hash."""
    return {column.name: name for column, name in _asked_for(schema) if name != column.name}


def _asked_for(schema: Schema) -> Iterator[tuple[NestedField, str]]:
    """Columns whose note tells their owner's path, and the name that it asks for."""
    for column in schema.fields:
        note = column.doc or ""
        if not note.startswith(f'{NOTE}"'):
            continue
        try:
            keys = json.loads(note.removeprefix(NOTE)).split("/")[1:]
        except ValueError:  # a comment that somebody changed
            continue
        yield column, normalised(tuple(key.replace("~1", "/").replace("~0", "~") for key in keys))


def notes_of(schema: pa.Schema) -> dict[str, str]:
    """The notes that Arrow columns carry about their owners, by column."""
    notes = {f.name: (f.metadata or {}).get(DOC_KEY, b"").decode() for f in schema}
    return {name: note for name, note in notes.items() if note.startswith(NOTE)}
