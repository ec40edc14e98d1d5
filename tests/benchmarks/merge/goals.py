"""The table of goals: what was asked of speed, what was measured beside what, and whether it is met."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from figures import MIB, Figure, Figures

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Row:
    """One line. ``part``: of which the figures are. ``met`` is None where it was not measured."""

    part: str
    work: str
    figure: str
    yardstick: str
    ratio: str
    goal: str
    met: bool | None

    def text(self, when: str) -> str:
        """The line in Markdown; ``when``: day and load of the measurement."""
        verdict = {True: "yes", False: "**no**", None: NOT_MEASURED}[self.met]
        cells = (self.work, self.figure, self.yardstick, self.ratio, self.goal, verdict, when)
        return f"| {' | '.join(cells)} |"


_KEYS = (
    "reading what decides: of 7.8 processor seconds keys of 500 files take 1.2, times 0.5, message ids and arrival in the 419 files with a "
    "repeated message 1.6 (zstd of random hex is 30 % of all instructions); next: pages of a thousand rows of which single ones are "
    "decoded, and prints of keys before the footer, so that keys are decoded where one may match"
)
LEVERS = {
    "large": _KEYS,
    "time-ordered keys": "as for random keys",
    "short numeric keys": "as for random keys, though keys take less",
    "hot keys": "as for random keys; DuckDB gains by fewer rows (6.8 to 5.1 s), we do not",
    "backlog": "as for random keys, and writing some 970 files; next: as for random keys",
    "growth": "more rows to decode in files that are looked into; next: as for random keys",
    "growth to 100 M": "keys of 100 M rows are decoded for the 1,000 of a batch that may be there: of 17.2 processor seconds reading keys takes "
    "8.8, searching them 4.0, times 2.3, opening 500 files 0.5; next: prints of keys before the footer (8 bytes a row instead of 36 to "
    "decode), then pages of which single ones are decoded",
    "slow store": "processor time, 13.8 s on two cores with the store's own part; waiting for 1,921 requests, 32 at once, is 1.8 s of it; next: "
    "as for random keys, and fewer files (one for several buckets of a day that get few rows)",
    "semantic": "we use 1.26 of two cores and DuckDB 1.67; in processor seconds we take 0.93 of its; next: cast a portion while the one before "
    "it is written",
    "curation": "reading, flattening and staging take 9.2 of 19.9 s and one of the two cores, merging 10.5 s and 1.45 of them; next: flatten "
    "two batches at once",
    "flattening": "joining and decoding values as JSON, exactly, is half of it (28 and 25 %), cutting blocks a sixth; next: cut and join in Arrow's "
    "own buffers instead of Python's bytes",
    "sqs_processor": "a quarter is JSON in and out (msgspec), three quarters checks of each event in Python; next: check a batch at once",
    "demo": "sending (33 %), running (24 %), the page (21 %, added since the goal was set), reading back (14 %); next: functions of "
    "the local stack that stay warm between runs, and fewer looks of the page at one table",
    "start": "the libraries that any such job loads (yardstick) and pyiceberg with pydantic; next: a snapshot of the started process (Lambda SnapStart)",
    "200 columns": "each file has a chunk, statistics and an index of every column, null or not; next: leave columns out of files in which "
    "all is null (readers give null for what a file has not)",
    "500 columns": "as for 200 columns",
}
"""By part: what stands in the way where a goal is missed, and what would be next."""


def table(figures: Figures) -> str:
    """All goals as a Markdown table, and of the missed ones what would be next."""
    found = list(rows(figures))
    head = [
        "| work | figure | yardstick | ratio | goal | met | measured |",
        "|---|---|---|---|---|---|---|",
    ]
    lines = [row.text(figures.when(row.part)) for row in found]
    missed = dict.fromkeys(row.part for row in found if row.met is False)
    why = [f"- {part}: {LEVERS[part]}." for part in missed if part in LEVERS]
    return "\n".join(
        [*head, *lines, *(["", "What stands in the way, and what is next:", "", *why] if why else [])]
    )


def rows(figures: Figures) -> Iterator[Row]:
    """All lines."""
    case, fact = figures.case, figures.fact
    large = case("large", "lean-ops")
    yield _faster("large", "100 k into 10 M, random keys", large, ("Spark 3.5", case("large", "spark")), 20)
    yield _faster("large", "the same", large, ("DuckDB 1.5", case("large", "duckdb")), 2.5)
    yield _memory("large", "the same", large, 512)
    written, batch = large.written, fact("large", "batch bytes")
    yield _at_most(
        *("large", "the same, bytes written / bytes of the rows"),
        (written / batch if batch and large.seconds else None, "{:.2f} times"),
        *(3, "≤ 3 times"),
    )
    for part in ("time-ordered keys", "short numeric keys", "hot keys", "200 columns", "500 columns"):
        into = "1 M" if part.endswith("columns") else "10 M"
        ours, duckdb = case(part, "lean-ops"), case(part, "duckdb")
        yield _faster(part, f"100 k into {into}, {part}", ours, ("DuckDB 1.5", duckdb), 2)
    backlog = case("backlog", "lean-ops")
    yield _faster("backlog", "1 M into 10 M", backlog, ("DuckDB 1.5", case("backlog", "duckdb")), 2)
    yield _memory("backlog", "the same", backlog, 2048)
    yield _times(
        "growth", "10 k into 10 M", case("growth", "into 10 M"), ("into 1 M", case("growth", "into 1 M")), 1.3
    )
    huge, before = (case("growth to 100 M", f"into {rows}") for rows in ("100 M", "10 M"))
    yield _times("growth to 100 M", "10 k into 100 M", huge, ("into 10 M", before), 2)
    slow = case("slow store", "lean-ops")
    yield _seconds("slow store", "100 k into 10 M at 30 ms a request, 90 MB/s a connection", slow, 3)
    for turn in ("first", "second", "third"):
        asked, alone = fact("requests", f"{turn}: now"), fact("requests", f"{turn}: alone")
        yield Row(
            *("requests", f"requests of the {turn} merge of 2 k into 480 files"),
            f"{asked:,.0f}" if asked else NOT_MEASURED,
            f"Arrow and pyiceberg left alone: {alone:,.0f}" if alone else "",
            f"{asked / alone:.2f}" if asked and alone else "",
            "≤ 0.60",
            asked <= 0.6 * alone if asked and alone else None,
        )
    semantic, duckdb = case("semantic", "semantic"), case("semantic", "duckdb-semantic")
    yield _times(
        "semantic",
        "Semantic: cast and merge 1 M rows of 30 columns",
        semantic,
        ("DuckDB, inexact", duckdb),
        1,
    )
    yield _memory("semantic", "the same", semantic, 1536)
    curation, duckdb = case("curation", "curation"), case("curation", "duckdb-curation")
    yield _seconds(
        "curation", "curation of 1 M RAW rows into 10 M", curation, 8, f"DuckDB, inexact: {duckdb.time}"
    )
    flattened = case("flattening", "by shape")
    yield _rate("flattening", "flattening, exact", flattened, case("flattening", "duckdb"), 450_000)
    usual = case("sqs_processor", "usual")
    yield _faster(
        "sqs_processor", "`sqs_processor`", case("sqs_processor", "ours"), ("Powertools + json", usual), 7
    )
    demo = case("demo", "demo")
    yield _seconds("demo", "the demo, 100,000 events and the weather year", demo, 25, "(2026-11-24: 40 s)")
    yield _memory("demo", "the same, largest process", demo, 763)
    for name, goal in (("p50", 90), ("p99", 150)):
        measured = (fact("latency", name), "{:.0f} s")
        yield _at_most(
            "latency",
            f"arrival to Semantic at 500 events/s, a run a minute: {name}",
            measured,
            goal,
            f"≤ {goal} s",
        )
    started, imports = case("start", "curation"), case("start", "yardstick")
    beside = f"`import boto3, pyarrow.parquet`: {imports.time}"
    yield _seconds("start", "cold start of `curation`: import", started, 0.35, beside)
    upsert = case("upsert", "upsert")
    yield _faster("upsert", "10 k into 1 M", case("upsert", "lean-ops"), ("pyiceberg `upsert`", upsert), 80)
    for reader in ("DuckDB", "pyiceberg"):
        after, fresh = (case("day", f"{reader}, {state}") for state in ("after maintenance", "fresh"))
        yield _times(
            "day", f"96 merges of 10 k, upkeep, scan by {reader}", after, ("written afresh", fresh), 1.3
        )
    most = (fact("day", "most files in a partition"), "{:.0f}")
    yield _at_most("day", "the same, files a partition before upkeep", most, 8, "≤ 8")


def _faster(part: str, work: str, ours: Figure, yardstick: tuple[str, Figure], goal: float) -> Row:
    name, other = yardstick
    ratio = other.median / ours.median if ours.seconds and other.seconds else None
    met = ratio >= goal if ratio is not None else None
    return Row(
        part, work, ours.time, f"{name}: {other.time}", _or_nothing(ratio, "{:.2f}"), f"≥ {goal:g} times", met
    )


def _times(part: str, work: str, ours: Figure, yardstick: tuple[str, Figure], goal: float) -> Row:
    name, other = yardstick
    ratio = ours.median / other.median if ours.seconds and other.seconds else None
    met = ratio <= goal if ratio is not None else None
    return Row(
        part, work, ours.time, f"{name}: {other.time}", _or_nothing(ratio, "{:.2f}"), f"≤ {goal:g} times", met
    )


def _seconds(part: str, work: str, ours: Figure, goal: float, beside: str = "") -> Row:
    return Row(
        part, work, ours.time, beside, "", f"≤ {goal:g} s", ours.median <= goal if ours.seconds else None
    )


def _memory(part: str, work: str, ours: Figure, goal: int) -> Row:
    figure = f"peak {ours.memory / MIB:,.0f} MiB" if ours.seconds else ours.missing
    return Row(
        part, work, figure, "", "", f"≤ {goal:,} MiB", ours.memory <= goal * MIB if ours.seconds else None
    )


def _rate(part: str, work: str, ours: Figure, other: Figure, goal: int) -> Row:
    """Of figures whose ``seconds`` are of 100,000 rows."""
    rate: Callable[[Figure], float | None] = lambda f: 100_000 / f.median if f.seconds else None  # noqa: E731
    mine, theirs = rate(ours), rate(other)
    ratio = mine / theirs if mine and theirs else None
    return Row(
        *(part, work, _or_nothing(mine, "{:,.0f} rows/s")),
        f"DuckDB, inexact: {_or_nothing(theirs, '{:,.0f} rows/s')}",
        *(_or_nothing(ratio, "{:.2f}"), f"≥ {goal:,} rows/s", mine >= goal if mine else None),
    )


def _at_most(part: str, work: str, measured: tuple[float | None, str], goal: float, said: str) -> Row:
    value, form = measured
    return Row(
        part, work, _or_nothing(value, form), "", "", said, value <= goal if value is not None else None
    )


def _or_nothing(value: float | None, form: str) -> str:
    return NOT_MEASURED if value is None else form.format(value)
