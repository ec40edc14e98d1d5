"""How fast payload texts become columns, exactly: learned shapes against the other exact ways.

    python tests/benchmarks/bench_flattening.py [--rows 100000] [--runs 5] [--write]

Every way but DuckDB's keeps ``1.10``, 30-digit integers and arrays as written and finds unknown keys by
itself; each is checked against the others before it is timed. DuckDB is given the paths, changes ``1.10`` to
``1.1``, and is what one would use who does not mind. Payloads have 16 leaves on 3 levels. Rows a second of
processor time, so one core; all in one run, the ways taking turns.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
from page import write_section

from common.payload.flattening import flatten
from common.payload.leaves import column_name, read_leaves
from common.runtime.arrowtypes import Array

BLOCK = 2_000

PATHS = (
    *("order.id", "order.channel", "order.items", "customer.id", "customer.name", "customer.address.city"),
    *("customer.address.zip", "amount", "tax", "discount", "currency", "status", "ledger", "reference"),
    *("risk", "notes"),
)

Way = Callable[[Array], pa.Table]


def payloads(rows: int, *, spaced: bool) -> list[str]:
    """Orders with 16 leaves on 3 levels, about 400 bytes; ``spaced``: as ``json.dumps`` writes by default."""
    chance = random.Random(1)

    def order(number: int) -> dict[str, Any]:
        items = [{"sku": f"s{chance.randrange(999)}", "qty": chance.randrange(9)} for _ in range(2)]
        city = chance.choice(["Zürich", "Genf", "Bern"])
        return {
            "order": {"id": f"o-{number:09d}", "channel": chance.choice(["web", "store"]), "items": items},
            "customer": {
                "id": f"c{chance.randrange(10**6)}",
                "name": f"Name {chance.randrange(10**5)}",
                "address": {"city": city, "zip": str(chance.randrange(9999))},
            },
            "amount": chance.randrange(10**6) / 100,
            "tax": chance.random(),
            "discount": chance.randrange(100) / 10,
            "currency": "CHF",
            "status": "paid",
            "ledger": chance.randrange(10**18),
            "reference": "R9300762011623852957",
            "risk": chance.random(),
            "notes": f"some notes about {number}",
        }

    separators = None if spaced else (",", ":")
    return [json.dumps(order(n), separators=separators, ensure_ascii=spaced) for n in range(rows)]


def with_repeated_keys(texts: list[str], one_in: int) -> list[str]:
    """Some payloads have a key twice, which no shape can read."""
    return [text[:-1] + ',"notes":1}' if n % one_in == 0 else text for n, text in enumerate(texts)]


def msgspec_hook(texts: Array) -> pa.Table:
    """The fastest exact way known: untyped msgspec with numbers kept as text, then Python dictionaries."""
    decode = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode())).decode
    encode = msgspec.json.encode

    def walk(node: dict[str, Any], prefix: str, row: dict[str, str]) -> dict[str, str]:
        for key, value in node.items():
            if isinstance(value, str):
                row[prefix + key] = value
            elif isinstance(value, msgspec.Raw):
                row[prefix + key] = bytes(value).decode()
            elif isinstance(value, dict):
                walk(value, f"{prefix}{key}__", row)
            elif value is not None:
                row[prefix + key] = str(value) if type(value) is int else encode(value).decode()
        return row

    return _table(texts, lambda text: walk(decode(text), "", {}))


def leaf_by_leaf(texts: Array) -> pa.Table:
    """The rule itself, ``common.payload.leaves``: what odd payloads cost."""
    return _table(texts, lambda text: {column_name(leaf.path): leaf.text for leaf in read_leaves(text, 8)})


def by_shape(texts: Array) -> pa.Table:
    """``common.payload.flattening``."""
    return flatten(texts)


def in_duckdb(texts: Array) -> pa.Table:
    """DuckDB's ``json_extract_string`` with all paths in one list: inexact."""
    connection = duckdb.connect(config={"threads": 1})
    payloads = pa.table({"payload": texts})
    paths = ", ".join(f"'$.{path}'" for path in PATHS)
    columns = ", ".join(f"leaves[{i}] as {path.replace('.', '__')}" for i, path in enumerate(PATHS, 1))
    connection.register("payloads", payloads)
    return connection.sql(
        f"select {columns} from (select json_extract_string(payload, [{paths}]) leaves from payloads)"
    ).to_arrow_table()


def _table(texts: Array, read: Callable[[str], dict[Any, Any]]) -> pa.Table:
    """Rows to columns as fast as Python does it, in blocks that fit the CPU's cache."""
    parts = []
    for start in range(0, len(texts), BLOCK):
        columns: dict[Any, list[str | None]] = {}
        block: list[Any] = texts.slice(start, BLOCK).to_pylist()
        for number, text in enumerate(block):
            for name, value in read(text).items():
                column = columns.setdefault(name, [])
                if len(column) < number:
                    column.extend([None] * (number - len(column)))
                column.append(value)
        padded = {name: column + [None] * (len(block) - len(column)) for name, column in columns.items()}
        parts.append(pa.table({name: pa.array(column, pa.string()) for name, column in padded.items()}))
    return pa.concat_tables(parts, promote_options="default")


def main() -> None:
    """Check, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write the figures into docs/benchmarks.md")
    options = parser.parse_args()

    compact, spaced = (payloads(options.rows, spaced=flag) for flag in (False, True))
    sample = pa.array(compact[:1000])
    expected = msgspec_hook(sample)
    for other in (leaf_by_leaf, by_shape):
        if not other(sample).select(expected.column_names).combine_chunks().equals(expected.combine_chunks()):
            raise SystemExit(
                f"{other.__name__} does not give what msgspec_hook gives; its speed means nothing"
            )

    ways: dict[str, tuple[Way, Array]] = {
        "msgspec, numbers as text (the fastest exact way known before)": (msgspec_hook, pa.array(compact)),
        "DuckDB `json_extract_string`, inexact, paths given": (in_duckdb, pa.array(compact)),
        "leaf by leaf (the rule itself)": (leaf_by_leaf, pa.array(compact)),
        "**by shape**": (by_shape, pa.array(compact)),
        "by shape, spaced and escaped payloads": (by_shape, pa.array(spaced)),
        "by shape, 1 in 100 with a repeated key": (by_shape, pa.array(with_repeated_keys(compact, 100))),
        "by shape, all with a repeated key": (by_shape, pa.array(with_repeated_keys(compact, 1))),
    }
    rates: dict[str, list[float]] = {label: [] for label in ways}
    for _ in range(options.runs):
        for label, (way, texts) in ways.items():
            start = time.process_time()
            way(texts)
            rates[label].append(len(texts) / (time.process_time() - start))
    medians = [statistics.median(of) for of in rates.values()]
    lines = [
        "| way | rows a second of one core, median | slowest to fastest | to the exact way | to DuckDB |",
        "|---|---|---|---|---|",
    ]
    for (label, of), median in zip(rates.items(), medians, strict=True):
        lines.append(
            f"| {label} | {median:,.0f} | {min(of):,.0f} to {max(of):,.0f} "
            f"| {median / medians[0]:.2f} | {median / medians[1]:.2f} |"
        )
    text = "\n".join(lines)
    print(text)
    if options.write:
        write_section("Flattening", "python tests/benchmarks/bench_flattening.py --write", text)


if __name__ == "__main__":
    main()
