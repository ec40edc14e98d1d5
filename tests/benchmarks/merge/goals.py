"""The table of goals: what was asked of the merge engine, what was measured, and whether it is met."""

from dataclasses import dataclass

from figures import MIB, Figure, Figures

DECODING = (
    "almost half of the time decodes what is stored of 10 M keys (and of the message ids in the 419 files that "
    "hold a retried message), a third writes 968 files"
)


@dataclass(frozen=True)
class Row:
    """One line.

    ``reached``: the figure compared with the goal; ``met`` is None where it was not measured; ``limit`` says
    what stands in the way of more.
    """

    work: str
    ours: str
    other: str
    reached: str
    goal: str
    met: bool | None
    limit: str = ""

    def text(self) -> str:
        missed = f"**no**: {self.limit}" if self.limit else "**no**"
        verdict = {True: "yes", False: missed, None: "not measured"}[self.met]
        return f"| {self.work} | {self.ours} | {self.other} | {self.reached} | {self.goal} | {verdict} |"


def table(figures: Figures) -> str:
    """All goals as a Markdown table."""
    large = figures.case("large", "lean-ops")
    backlog = figures.case("backlog", "lean-ops")
    rows = [
        _faster("100 k into 10 M", large, "Spark 3.5", figures.case("large", "spark"), 20, limit=DECODING),
        _memory("the same", large, 512),
        _faster(
            "the same", large, "DuckDB 1.5 `MERGE INTO`", figures.case("large", "duckdb"), 2.5, limit=DECODING
        ),
        _seconds(
            "the same on a store with 30 ms a request and 90 MB/s a connection",
            figures.case("slow store", "lean-ops"),
            3,
        ),
        _faster(
            "10 k into 1 M",
            figures.case("upsert", "lean-ops"),
            "pyiceberg `upsert`",
            figures.case("upsert", "upsert"),
            80,
        ),
        _growth(figures.case("growth", "into 10 M"), figures.case("growth", "into 1 M")),
        _faster("1 M into 10 M", backlog, "DuckDB 1.5 `MERGE INTO`", figures.case("backlog", "duckdb"), 2),
        _memory("the same", backlog, 2048),
        _bytes(large, figures.fact("large", "batch bytes")),
        *_day(figures),
        *_curation(figures.case("curation", "curation"), figures.case("curation", "duckdb-curation")),
    ]
    head = ["| work | ours | to beat | reached | goal | met |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *(row.text() for row in rows)])


def _faster(work: str, ours: Figure, name: str, other: Figure, goal: float, *, limit: str = "") -> Row:
    reached, met = "", None
    if ours.seconds and other.seconds:
        ratio = other.median / ours.median
        reached, met = f"{ratio:.1f} times faster", ratio >= goal
    return Row(work, ours.time, f"{name}: {other.time}", reached, f"≥ {goal:g} times faster", met, limit)


def _memory(work: str, ours: Figure, goal: int) -> Row:
    known = bool(ours.seconds)
    peak = ours.memory / MIB
    return Row(
        work,
        f"peak {peak:,.0f} MiB" if known else ours.missing,
        "",
        f"{peak:,.0f} MiB" if known else "",
        f"≤ {goal:,} MiB",
        peak <= goal if known else None,
    )


def _beside(name: str, other: Figure) -> str:
    return f"({name}: {other.time})"


def _seconds(work: str, ours: Figure, goal: float, beside: str = "") -> Row:
    known = bool(ours.seconds)
    return Row(
        work,
        ours.time,
        beside,
        f"{ours.median:.1f} s" if known else "",
        f"≤ {goal:g} s",
        ours.median <= goal if known else None,
    )


def _growth(large: Figure, small: Figure) -> Row:
    reached, met = "", None
    if large.seconds and small.seconds:
        ratio = large.median / small.median
        reached, met = f"{ratio:.2f} times", ratio <= 1.3
    return Row(
        "10 k into 10 M", large.time, f"itself, 10 k into 1 M: {small.time}", reached, "≤ 1.3 times", met
    )


def _bytes(ours: Figure, batch: float | None) -> Row:
    reached, met = "", None
    if ours.seconds and batch:
        reached, met = f"{ours.written / batch:.2f} times", ours.written <= 3 * batch
    return Row(
        "100 k into 10 M, bytes written / bytes of the rows",
        f"{ours.written / 1e6:.1f} MB",
        f"batch: {(batch or 0) / 1e6:.1f} MB",
        reached,
        "≤ 3 times",
        met,
    )


def _day(figures: Figures) -> list[Row]:
    rows = []
    for reader in ("DuckDB", "pyiceberg"):
        after, fresh = (figures.case("day", f"{reader}, {state}") for state in ("after maintenance", "fresh"))
        reached, met = "", None
        if after.seconds and fresh.seconds:
            ratio = after.median / fresh.median
            reached, met = f"{ratio:.2f} times", ratio <= 1.3
        rows.append(
            Row(
                f"96 merges of 10 k into 1 M, maintenance, full scan by {reader}",
                after.time,
                f"the same rows written afresh: {fresh.time}",
                reached,
                "≤ 1.3 times",
                met,
            )
        )
    most = figures.fact("day", "most files in a partition")
    known = most is not None
    rows.append(
        Row(
            "the same, files a partition before maintenance",
            f"at most {most:.0f}" if most is not None else "not measured",
            "",
            f"{most:.0f}" if most is not None else "",
            "≤ 8",
            most <= 8 if most is not None and known else None,
        )
    )
    return rows


def _curation(ours: Figure, duckdb: Figure) -> list[Row]:
    work = "curation of 1 M RAW rows into 10 M: read, flatten, de-duplicate, merge"
    reached, met = "", None
    if ours.seconds and duckdb.seconds:
        ratio = ours.median / duckdb.median
        reached, met = f"{ratio:.2f} times its time", ratio <= 1.5
    name = "DuckDB 1.5 in SQL, inexact"
    return [
        _seconds(work, ours, 8, _beside(name, duckdb)),
        Row("the same", ours.time, f"{name}: {duckdb.time}", reached, "≤ 1.5 times its time", met),
    ]
