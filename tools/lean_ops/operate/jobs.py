"""Jobs on Spark, by what they write down (``spark.job``): how far one is, and whether one works.

Every two seconds, in one object a topic. The service that runs jobs is not asked: who may read the lake may
know this, on AWS and on the local stack alike.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from botocore.exceptions import ClientError

from common.runtime import outside
from lean_ops.environment.target import Target

# Of a job that has not written for so long nothing is known: it is dead, or cut off from S3.
_SILENT: Final = timedelta(minutes=1)


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


def progress(target: Target, topic: str, execution_arn: str) -> JobProgress | None:
    """How far the job of a run is; None where it has not said yet, or is between two stages."""
    said = _said(target, topic)
    if not _is_of(execution_arn, said) or said["stage"] not in {"reading", "writing"}:
        return None
    spent = (datetime.fromisoformat(said["at"]) - datetime.fromisoformat(said["stage_begun"])).total_seconds()
    tasks, done = said["tasks"], said["tasks_done"]
    left = spent * (tasks - done) / done if done else None
    return JobProgress(said["stage"], tasks, done, said["rows"], left)


def at_work(target: Target, topic: str, execution_arn: str) -> bool:
    """Whether a job that an execution began has written lately, and not that it has ended: it may commit."""
    said = _said(target, topic)
    if not _is_of(execution_arn, said) or said["stage"] == "ended":
        return False
    return outside.now() - datetime.fromisoformat(said["at"]) < _SILENT


def _is_of(execution_arn: str, said: dict[str, Any]) -> bool:
    return said.get("run_id") == execution_arn.rpartition(":")[2]


def _said(target: Target, topic: str) -> dict[str, Any]:
    """What the latest job of a topic wrote last; empty where there never was one."""
    try:
        found = target.client("s3").get_object(Bucket=target.lake_bucket, Key=f"jobs/{topic}.json")
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"NoSuchKey", "404"}:
            raise
        return {}
    said: dict[str, Any] = json.loads(found["Body"].read())
    return said
