"""Jobs on Spark, by what they write down (``spark.job``): how far one is, and whether one works.

Every two seconds, in one object a topic. The service that runs jobs is not asked: who may read the lake may
know this, on AWS and on the local stack alike.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec
from botocore.exceptions import ClientError

from common.runtime import outside
from lean_ops.environment.target import Target

# Of a job that has not written for so long nothing is known: it is dead, or cut off from S3.
_SILENT: Final = timedelta(minutes=1)

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


@dataclass(frozen=True)
class JobProgress:
    """How far a job on Spark is: ``stage`` is reading or writing, ``rows`` None until all are read.

    ``seconds_left`` speaks of this stage alone, None where nothing of it is done yet.
    """

    stage: str
    tasks: int
    tasks_done: int
    rows: int | None
    seconds_left: float | None


class _Said(msgspec.Struct, frozen=True):
    """What ``spark.job`` writes. ``stage``: reading, writing, between stages, or ended."""

    run_id: str
    stage: str
    stage_begun: _Moment
    at: _Moment
    tasks: int = 0
    tasks_done: int = 0
    rows: int | None = None


def progress(target: Target, topic: str, execution_arn: str) -> JobProgress | None:
    """How far the job of a run is; None where it has not said yet, or is between two stages."""
    said = _said(target, topic)
    if said is None or said.run_id != execution_arn.rpartition(":")[2] or not said.tasks:
        return None
    spent = (said.at - said.stage_begun).total_seconds()
    left = spent * (said.tasks - said.tasks_done) / said.tasks_done if said.tasks_done else None
    return JobProgress(said.stage, said.tasks, said.tasks_done, said.rows, left)


def at_work(target: Target, topic: str) -> bool:
    """Whether a job has written lately, whoever began it, and not that it has ended: it may commit."""
    said = _said(target, topic)
    return said is not None and said.stage != "ended" and outside.now() - said.at < _SILENT


def _said(target: Target, topic: str) -> _Said | None:
    """What a job of the topic wrote last; None where there never was one, or where nobody can read it."""
    try:
        found = target.client("s3").get_object(Bucket=target.lake_bucket, Key=f"jobs/{topic}.json")
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"NoSuchKey", "404"}:
            raise
        return None
    try:
        return msgspec.json.decode(found["Body"].read(), type=_Said)
    except msgspec.MsgspecError:  # damaged by hand; a job that works writes it anew in two seconds
        return None
