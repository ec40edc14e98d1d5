"""What it takes to clear a backlog, in time and in money: portions of a function, and jobs on Spark.

Both layers, at sizes that the function catalogue says, from processor seconds a row that were measured on one
machine (``prices.json``, assumptions). Taken for granted: work that divides evenly over processors like those
of the measurement, no time lost to S3, and of a job its start, twice. A function works on one portion after
the other, whatever there is of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from lean_ops.environment.repository import SparkEntry
from lean_ops.operate.cost.prices import PriceTable
from lean_ops.operate.cost.settings import Settings

_HOUR_S: Final = 3_600
_JOBS: Final = 2
"""One a layer, one after the other."""


@dataclass(frozen=True)
class Workers:
    """What a job has: ``vcpus`` that work on rows, and of all, the driver's among them, vcpus and GB."""

    vcpus: int
    paid_vcpus: int
    paid_gb: int

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> "Workers":
        """As many executors as the catalogue's settings allow, and the driver."""
        driver, executor = (_size(settings, kind) for kind in ("driver", "executor"))
        executors = int(settings["spark.dynamicAllocation.maxExecutors"])
        return cls(
            executors * executor[0],
            driver[0] + executors * executor[0],
            driver[1] + executors * executor[1],
        )


@dataclass(frozen=True)
class Clearing:
    """One engine's way with a backlog of so many rows."""

    engine: str
    seconds: float
    usd: float
    commits: int


def clearing(rows: float, settings: Settings, spark: SparkEntry, table: PriceTable) -> list[Clearing]:
    """Both ways; raises MissingPrice."""
    return [_function(rows, settings, table), _job(rows, spark, table)]


def faster_from(settings: Settings, spark: SparkEntry, table: PriceTable) -> float:
    """Rows from which on the job is done sooner; infinite where it never is."""
    million, start = 1e6, _job(0, spark, table).seconds
    function = _function(million, settings, table).seconds / million
    job = (_job(million, spark, table).seconds - start) / million
    return start / (function - job) if function > job else float("inf")


def _function(rows: float, settings: Settings, table: PriceTable) -> Clearing:
    function = settings.functions["curation"]
    vcpus = function.memory_mb / table.assumed("function-mb-a-vcpu")
    portions = ceil(rows / settings.batch_rows)
    seconds = rows * table.assumed("processor-seconds-a-row-function") / vcpus
    memory = table.price("lambda-gb-second")
    states = table.price("transition")
    usd = seconds * function.memory_mb / 1024 * memory.usd / memory.per
    return Clearing(
        "lambda",
        seconds,
        usd + portions * settings.busy_states * states.usd / states.per,
        _JOBS * portions,
    )


def _job(rows: float, spark: SparkEntry, table: PriceTable) -> Clearing:
    workers = Workers.of(spark.settings)
    start = table.assumed("job-start-seconds")
    seconds = _JOBS * start + rows * table.assumed("processor-seconds-a-row-job") / workers.vcpus
    an_hour = (
        workers.paid_vcpus * table.price("spark-vcpu-hour").usd
        + workers.paid_gb * table.price("spark-gb-hour").usd
    )
    batch = int(spark.environment["curation"]["LEAN_OPS_BATCH_ROWS"])
    return Clearing("spark", seconds, seconds / _HOUR_S * an_hour, _JOBS * ceil(rows / batch))


def _size(settings: Mapping[str, str], kind: str) -> tuple[int, int]:
    """Vcpus and GB of a worker: of the heap, and beside it."""
    gigabytes = [settings[f"spark.{kind}.{name}"].removesuffix("g") for name in ("memory", "memoryOverhead")]
    return int(settings[f"spark.{kind}.cores"]), sum(map(int, gigabytes))
