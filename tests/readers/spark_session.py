"""Run by the interpreter that has pyspark: answers statements from standard input, a line of JSON each."""

import json
import math
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.types import TimestampNTZType


def cell(value: Any, *, zoned: bool) -> Any:
    """A value as JSON, or by the name of its type where JSON has none."""
    if isinstance(value, datetime):
        # Moments come in the session's zone, UTC, and without one.
        return {"timestamp": (value.replace(tzinfo=UTC) if zoned else value).isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    return value


def answer(session: SparkSession, sql: str) -> dict[str, Any]:
    found = session.sql(sql)
    zoned = [not isinstance(field.dataType, TimestampNTZType) for field in found.schema.fields]
    rows = [[cell(v, zoned=z) for v, z in zip(row, zoned, strict=True)] for row in found.collect()]
    return {"columns": found.columns, "rows": rows}


def main() -> None:
    settings, database = json.loads(sys.argv[1]), sys.argv[2]
    out = sys.stdout
    sys.stdout = sys.stderr  # Spark may print there
    builder = SparkSession.builder.master("local[2]").appName("readers")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    session.sql(f"USE lake.{database}")
    for line in sys.stdin:
        try:
            said = answer(session, json.loads(line)["sql"])
        except Exception as error:
            said = {"error": f"{type(error).__name__}: {str(error)[:2000]}"}
        print(json.dumps(said), file=out, flush=True)
    session.stop()


if __name__ == "__main__":
    main()
