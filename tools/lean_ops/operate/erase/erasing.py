"""Erasing: place after place, each step repeatable, the work list first and last.

    remember     the hashes of the keys: from here on nothing brings their rows back
    tables       Quarantine, Semantic, Curated, RAW; what is being rebuilt is discarded
    letters      dead-letter queue, archive, delivery errors
    versions     of every file that went
    search       everything that is left; what lies about without a table is removed
    certificate  and then the work list

A process that is killed leaves its hold of the topic, so that no run begins; the same command again, or
another erasure of the topic, takes it over and goes on with the work list that it finds.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from io import BytesIO
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table import Table

from common.intake.sources.registry import sources_if_any
from common.lake.checkpoints import SourceCheckpoint
from common.lake.progress import checkpoint_of
from common.lake.specifications import existing, open_table
from common.lake.upkeep import Doomed, erase, foresee_erasure, referenced_now
from common.layers.erased import AHEAD, Erasure, Hasher, microseconds, remember, remembered
from common.layers.upkeep import RULES
from common.runtime import outside
from common.runtime.errors import TableMismatch
from lean_ops.accounts.ledger import Ledger
from lean_ops.environment import audit
from lean_ops.environment.target import Target
from lean_ops.operate import leases, rebuild
from lean_ops.operate.checkpoints import MergedLayer
from lean_ops.operate.erase import certificate as certificates
from lean_ops.operate.erase import letters, values, work
from lean_ops.operate.erase.certificate import LATE, Certificate, as_document, now, wanted
from lean_ops.operate.erase.letters import PLACES, Meant
from lean_ops.operate.erase.objects import Objects, Version
from lean_ops.operate.erase.search import Finding, Searched, Wanted, search
from lean_ops.operate.erase.selection import Selected
from lean_ops.operate.erase.work import Work
from lean_ops.operate.holds import Held, Place
from lean_ops.operate.rebuild.filling import erased_of, hashing_secret

QUEUE: Final = "dead-letter queue"
# Where Athena puts them (modules/readers): copies, which whoever asked can have again.
QUERY_RESULTS: Final = "athena-results/"
# The layers that others are made from last: what a killed erasure needs to know is there until then.
_ORDER: Final = ("quarantine", "semantic", "curated", "raw")
_PARQUET: Final = b"PAR1"


@dataclass(frozen=True)
class Counted:
    """What one place has of the keys. ``rows``: rows, letters or lines.

    Files and snapshots of tables only.
    """

    place: str
    rows: int
    files: int = 0
    snapshots: int = 0

    def as_json(self) -> dict[str, int]:
        """The numbers."""
        return {"rows": self.rows, "files": self.files, "snapshots": self.snapshots}


def foresee(target: Target, topic: str, selected: Selected | None) -> list[Counted]:
    """What every place has of the keys (None: of those that were erased before); changes nothing."""
    meant = _meant(target, topic, selected.keys if selected else (), now() + AHEAD)
    doomed = _doomed(meant)
    tables = _tables(target, topic)
    showing = {layer: foresee_erasure(table, doomed) for layer, table in tables.items()}
    somewhere = any(one.anywhere for one in showing.values())
    found = []
    for layer, one in showing.items():
        snapshots = one.snapshots - 1 if one.anywhere or (somewhere and one.stale) else 0
        found.append(Counted(tables[layer].name()[-1], one.rows, len(one.live), snapshots))
        if layer in tuple(MergedLayer) and (beside := _beside(target, topic, MergedLayer(layer))) is not None:
            found.append(Counted(beside.name()[-1], foresee_erasure(beside, doomed).rows))
    objects = Objects(target.client("s3"), target.lake_bucket)
    found.append(Counted(QUEUE, letters.count_in_queue(target, meant, _queue(target))))
    found += [
        Counted(place, letters.count_in_objects(objects, meant, prefix)) for place, prefix in PLACES.items()
    ]
    return found


def erased_before(target: Target, topic: str) -> bool:
    """Whether any key of a topic was erased before."""
    return bool(erased_of(target, topic))


def unfinished(target: Target, topic: str) -> str | None:
    """The id of the erasure of a topic that was begun and not finished; None without one."""
    begun = work.unfinished(Objects(target.client("s3"), target.lake_bucket), topic)
    return begun.id if begun is not None else None


@dataclass
class Erasing:
    """One erasure of a topic, recorded in ``entry``."""

    target: Target
    topic: str
    entry: audit.Entry
    told: Callable[[str], None] = lambda _sentence: None
    removed: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def __post_init__(self) -> None:
        self._objects = Objects(self.target.client("s3"), self.target.lake_bucket)
        self._complete = True

    @contextmanager
    def alone(self, wait_s: float) -> Iterator[tuple[Held, ...]]:
        """Keep runs, rebuilds and other operations away from the topic meanwhile."""
        doing = f"erasure in {self.topic}"
        with (
            Place(self.target, self.topic, "rebuild-curated").worked_on(
                self.entry, doing, wait_s=wait_s
            ) as curated,
            Place(self.target, self.topic, "rebuild-semantic").worked_on(
                self.entry, doing, wait_s=wait_s
            ) as semantic,
            leases.exclusively(self.target, self.topic, self.entry, doing, wait_s=wait_s) as runs,
        ):
            yield curated, semantic, runs

    def erase(self, selected: Selected | None, before: Iterable[Counted], wait_s: float) -> list[Certificate]:
        """Finish an erasure of the topic that was begun, then do this one; the certificate of each.

        ``selected`` None: what has arrived of keys that were erased before. ``before``: as ``foresee``
        gives it. Raises InvalidInput where another operation, or a run, is still at work after ``wait_s``
        seconds.
        """
        with self.alone(wait_s) as held:
            begun = work.unfinished(self._objects, self.topic)
            done = [self.carry_out(begun, held)] if begun is not None else []
            if begun is None or not (selected and set(selected.keys) <= set(begun.keys)):
                done.append(self.carry_out(self.begin(selected, before), held))
        return done

    def begin(self, selected: Selected | None, before: Iterable[Counted]) -> Work:
        """Write down what is to be done; without a selection: keys that were erased before."""
        begun = now()
        keys = selected.keys if selected else ()
        found, count = values.values_of(_tables(self.target, self.topic).values(), keys) if keys else ([], 0)
        new = Work(
            self.entry.operation_id,
            self.topic,
            selected.by if selected else LATE,
            begun,
            begun + AHEAD,
            keys,
            tuple(found),
            count,
            {one.place: one.as_json() for one in before if one.rows or one.snapshots},
        )
        work.save(self._objects, new)
        return new

    def carry_out(self, todo: Work, held: tuple[Held, ...]) -> Certificate:
        """Do all of it, and write the certificate. Can be repeated, whatever ended it before."""
        self.removed.clear()
        self._complete = True
        _changing(held)
        self.target.deliver_now()
        if todo.keys:
            hasher = Hasher(hashing_secret(self.target), self.topic)
            erasure = Erasure(todo.id, todo.until, tuple(map(hasher, todo.keys)))
            remember(self._objects.s3, self._objects.bucket, self.topic, hasher, erasure)
        meant = _meant(self.target, self.topic, todo.keys, todo.until)
        for layer in (one for one in MergedLayer if one in _tables(self.target, self.topic)):
            _changing(held)
            if files := rebuild.discard(self.target, self.topic, layer):
                self.removed[f"rebuild of {layer}"]["files"] += files
        # Of a key that no table has, none is to lose its history for statistics that may quote it.
        somewhere = bool(todo.before) or any(
            foresee_erasure(table, _doomed(meant)).anywhere
            for table in _tables(self.target, self.topic).values()
        )
        self._erase_from_tables(meant, held, statistics=somewhere)
        self._erase_letters(meant)
        what = wanted(meant, todo.values)
        searched = self._search(what)
        if not somewhere and any(one.key.endswith(".avro") for one in searched.found):  # they do quote it
            self._erase_from_tables(meant, held, statistics=True)
            searched = self._search(what)
        done = self._certificate(todo, searched)
        self._objects.put(certificates.object_key(self.topic, done.id), done.written())
        work.remove(self._objects, self.topic)
        return done

    def _erase_from_tables(self, meant: Meant, held: tuple[Held, ...], *, statistics: bool) -> None:
        doomed = _doomed(meant)
        for layer, table in _tables(self.target, self.topic).items():
            _changing(held)
            done = erase(
                self.target.catalog(),
                ".".join(table.name()),
                RULES[layer],
                doomed,
                run_id=f"erase-{self.entry.operation_id}",
                readers=readers_of(self.target, self.topic) if layer == "raw" else (),
                statistics=statistics,
            )
            self._purge(done.removed)
            if done.snapshot_id is not None:
                self.removed[table.name()[-1]].update(
                    rows=done.rows,
                    files=len(done.removed),
                    snapshots=done.snapshots_forgotten,
                    bytes_rewritten=done.bytes_written,
                )
                self.told(
                    f"{table.name()[-1]}: {done.rows:,} rows out of {done.files_rewritten:,} files, "
                    f"{done.snapshots_forgotten:,} snapshots forgotten"
                )
            self.entry.counts["rows_erased"] += done.rows
            self.entry.heartbeat()

    def _purge(self, locations: Iterable[str]) -> None:
        """Remove what is left of removed files: their versions."""
        keys = [key for one in locations if (key := self._objects.key_of(one)) is not None]
        self._objects.remove_whole(keys)

    def _erase_letters(self, meant: Meant) -> None:
        folder = self.target.ledger_folder
        ledger = Ledger(folder) if folder is not None else None

        def counted(place: str, number: int) -> None:
            self.removed[place]["rows"] += number
            self.entry.counts["letters_erased"] += number
            self.entry.heartbeat()

        def left_the_queue(codes: Counter[str]) -> None:
            counted(QUEUE, codes.total())
            if ledger is not None:
                ledger.forget_letters(codes)

        if not letters.erase_from_queue(self.target, meant, _queue(self.target), left_the_queue):
            self._complete = False
            self.told(
                f"{QUEUE}: not the whole queue was seen, since it is too long or others hold letters of it; "
                "run this again in five minutes"
            )
        for place, prefix in PLACES.items():
            letters.erase_from_objects(self._objects, meant, prefix, partial(counted, place))
        if ledger is not None:
            ledger.forget(self.topic, meant.event, Hasher(hashing_secret(self.target), self.topic))

    def _search(self, what: Wanted) -> Searched:
        """Search everything; remove what no table refers to, and look at that again."""
        versions = certificates.every_version(self._objects)
        searched = search(self._objects, what, versions, self._beat)
        if mended := self._mend(searched.found, versions, what):
            left = [one for one in certificates.every_version(self._objects) if one.key in mended]
            again = search(self._objects, what, left, self._beat)
            searched.found = [one for one in searched.found if one.key not in mended] + again.found
        return searched

    def _beat(self, _versions: int) -> None:
        self.entry.heartbeat()

    def _mend(self, found: Iterable[Finding], versions: Iterable[Version], what: Wanted) -> set[str]:
        """Remove old versions, files that no table refers to, and results of queries; gives their keys.

        Firehose may be about to commit a file of RAW: such a file is left until it is older than that takes.
        """
        by_id = {(one.key, one.version_id): one for one in versions}
        folders = [f"{name}/" for name in self._folders()]
        referenced = self._referenced()
        mended: set[str] = set()
        for key, version_id in dict.fromkeys((one.key, one.version_id) for one in found):
            version = by_id[key, version_id]
            if not version.current:
                self._objects.remove([version])
            elif key.startswith(QUERY_RESULTS):
                self._objects.remove_whole([key])
            elif not key.startswith(tuple(folders)) or key in referenced:
                continue
            elif not key.startswith(f"raw_{self.topic}/"):
                self._objects.remove_whole([key])
            elif outside.now() - version.written >= self.target.delivery_takes:
                self._objects.replace(key, _without(self._objects.read(version) or b"", what))
            else:
                continue
            mended.add(key)
            place = "results of queries" if key.startswith(QUERY_RESULTS) else "files without a table"
            self.removed[place]["files"] += 1
        return mended

    def _folders(self) -> list[str]:
        settings = self.target.settings
        names = [settings.table(layer, self.topic) for layer in _ORDER]
        names += [settings.rebuild_table(layer, self.topic) for layer in MergedLayer]
        return [name.rpartition(".")[2] for name in names]

    def _referenced(self) -> set[str]:
        """Keys of the objects that the topic's tables refer to; raises TableMismatch for files elsewhere."""
        found: set[str] = set()
        with ThreadPoolExecutor() as pool:
            for table in _tables(self.target, self.topic).values():
                for path in referenced_now(table, pool):
                    if (key := self._objects.key_of(path)) is None:
                        raise TableMismatch(
                            f"table {table.name()[-1]}: expected its files in s3://{self._objects.bucket}, "
                            f"found {path}; what lies there was not searched"
                        )
                    found.add(key)
        return found

    def _unread(self, searched: Searched) -> bool:
        """Whether an object of the topic's own tables could not be decoded."""
        folders = tuple(f"{name}/" for name in self._folders())
        return any(key.startswith(folders) for key in searched.unread)

    def _certificate(self, todo: Work, searched: Searched) -> Certificate:
        tables = {
            table.name()[-1]: str(current.snapshot_id) if (current := table.current_snapshot()) else "none"
            for table in _tables(self.target, self.topic).values()
        }
        hasher = Hasher(hashing_secret(self.target), self.topic)
        memory = remembered(self._objects.s3, self._objects.bucket, self.topic)
        keys = tuple(map(hasher, todo.keys)) or tuple(
            k for e in (memory.erasures if memory else ()) for k in e.keys
        )
        return Certificate(
            certificates.FORMAT,
            todo.id,
            self.target.name_prefix,
            self.topic,
            todo.by,
            self.entry.who,
            self.entry.reason,
            todo.begun,
            now(),
            todo.until,
            keys,
            {
                "looked_for": len(todo.values) - searched.shared,
                "shared": searched.shared,
                "of": todo.values_found,
            },
            todo.before,
            {place: dict(counts) for place, counts in self.removed.items() if any(counts.values())},
            tables,
            as_document(searched),
            self._complete and not searched.found and not self._unread(searched),
        )


def readers_of(target: Target, topic: str) -> list[SourceCheckpoint]:
    """Checkpoints of those who read RAW by its snapshots: Curated, and Semantic's look-ups."""
    settings, dynamodb = target.settings, target.client("dynamodb")
    found: list[SourceCheckpoint | None] = []
    for layer, table in _tables(target, topic, ("curated", "semantic")).items():
        entry = checkpoint_of(table, layer, topic, settings, dynamodb)
        checkpoint = entry.checkpoint if entry else None
        found.append(checkpoint if layer == "curated" or checkpoint is None else checkpoint.versions)
    return [one for one in found if one is not None]


def _tables(target: Target, topic: str, layers: Collection[str] = _ORDER) -> dict[str, Table]:
    """The tables of a topic that exist, by layer."""
    catalog, settings = target.catalog(), target.settings
    names = {layer: settings.table(layer, topic) for layer in layers}
    return {layer: open_table(catalog, name) for layer, name in names.items() if catalog.table_exists(name)}


def _beside(target: Target, topic: str, layer: MergedLayer) -> Table | None:
    return next(existing(target.catalog(), [target.settings.rebuild_table(layer, topic)]), None)


def _queue(target: Target) -> str:
    return target.queue_url(target.dead_letter_queue)


def _meant(target: Target, topic: str, keys: Iterable[str], until: datetime) -> Meant:
    chosen = frozenset(keys)
    sources = sources_if_any(target.client("s3"), target.lake_bucket)
    return Meant(topic, target.topics, chosen, microseconds(until), erased_of(target, topic), sources)


def _changing(held: Iterable[Held]) -> None:
    for one in held:
        one.changing()


def _doomed(meant: Meant) -> Doomed:
    """Rows of the keys, and of all that were erased before."""
    clear = Doomed.of_keys(pa.array(sorted(meant.keys), pa.string()), meant.until_us)
    others = meant.erased.without_keys(meant.keys)
    return Doomed(lambda rows: clear.among(rows) | others.among(rows)) if others else clear


def _without(content: bytes, what: Wanted) -> bytes:
    """A Parquet file without the rows of erased keys; nothing where none is left, or it is no such file."""
    if content[:4] != _PARQUET:
        return b""
    rows = pq.read_table(pa.BufferReader(content))
    kept = rows.filter(pa.array(~what.rows(rows)))
    if not kept.num_rows:
        return b""
    written = BytesIO()
    pq.write_table(kept, written, compression="zstd")
    return written.getvalue()
