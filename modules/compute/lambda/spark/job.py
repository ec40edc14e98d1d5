"""What ``spark-submit`` runs: a function's job, with its work on Spark.

    job.py curation <topic> <run id> <source token> <source position> <snapshot>
    job.py semantic <topic> <run id> <source token> <source position> <snapshot> <raw token> <raw position>

As the state machine calls it (``modules/orchestration/pipeline.asl.json``): the arguments are those of the
function's event, the settings its environment. Nothing comes back: what was done is in the commit, and the
state machine looks it up. How far it is, is written to the lake bucket meanwhile (``progress_key``).

Exit code 1 and one line of JSON where it failed; begun again, it goes on from the last commit.
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final

from pyspark import SparkContext

from common.runtime import outside
from common.runtime.clients import client
from common.runtime.errors import InvalidInput, LeanOpsError
from common.runtime.logs import logged, logger
from common.runtime.settings import CurationSettings, SemanticSettings
from curation import handler as curation
from semantic import handler as semantic
from spark.cluster import Cluster, Stage

_OF_BOTH: Final = ("topic", "run_id", "source_token", "source_position", "target_snapshot")
_ARGUMENTS: Final = {"curation": _OF_BOTH, "semantic": (*_OF_BOTH, "raw_token", "raw_position")}
_SERVICE: Final = "spark"
_BEAT_S: Final = 2.0


def progress_key(topic: str) -> str:
    """Object of the lake bucket that says how far the latest job of a topic is."""
    return f"jobs/{topic}.json"


def main(arguments: Sequence[str]) -> int:
    """Run a job; gives the exit code."""
    context: Any = SimpleNamespace(aws_request_id=arguments[2] if len(arguments) > 2 else "spark")
    try:
        layer, event = asked(arguments)
        with spark_context(f"{event['topic']} {layer}") as running:
            cluster = Cluster(running)
            with told(cluster, layer, event):
                job: Callable[[dict[str, Any], Any], dict[str, Any]] = logged(_SERVICE)(
                    lambda given, _: (
                        curation.run(given, cluster.flatten)
                        if layer == "curation"
                        else semantic.run(given, cluster.judge)
                    )
                )
                answer = job(event, context)
    except LeanOpsError as error:
        print(json.dumps({"errorType": type(error).__name__, "errorMessage": str(error)}), file=sys.stderr)  # noqa: T201 - the service shows the end of a job's output
        return 1
    logger(_SERVICE).info("job done", extra=answer)
    return 0


def asked(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The layer's job and its event; raises InvalidInput."""
    layer, *values = arguments or ("",)
    names = _ARGUMENTS.get(layer, ())
    if not names or len(names) != len(values):
        forms = "; ".join(f"{name} <{'> <'.join(of)}>" for name, of in _ARGUMENTS.items())
        raise InvalidInput(
            f"job: expected the arguments {forms}, found {' '.join(arguments) or 'none'}; the state machine "
            "gives them, and so may you"
        )
    return layer, dict(zip(names, values, strict=True))


@contextmanager
def spark_context(name: str) -> Iterator[SparkContext]:
    """The context that ``spark-submit`` has set up, ended at the end."""
    running = SparkContext(appName=name)
    running.setLogLevel("ERROR")
    try:
        yield running
    finally:
        running.stop()


@contextmanager
def told(cluster: Cluster, layer: str, event: dict[str, Any]) -> Iterator[None]:
    """Write down how far the job is, again and again, and that it has ended."""
    bucket = (CurationSettings if layer == "curation" else SemanticSettings).from_environment().lake_bucket
    s3, begun, ended = client("s3"), {"": outside.now()}, threading.Event()

    def tell(stage: Stage | None, name: str) -> None:
        since = begun.setdefault(name, outside.now())
        said = {
            "run_id": event["run_id"],
            "layer": layer,
            "stage_begun": since.isoformat(),
            "at": outside.now().isoformat(),
        }
        body = json.dumps({**said, **(vars(stage) if stage else {"stage": name})})
        try:
            s3.put_object(Bucket=bucket, Key=progress_key(event["topic"]), Body=body.encode())
        except Exception as error:  # whoever looks sees an older state; the work goes on
            logger(_SERVICE).warning("progress not told", extra={"error": type(error).__name__})

    def beat() -> None:
        while not ended.wait(_BEAT_S):
            stage = cluster.stage()
            tell(stage, stage.stage if stage else "between stages")

    thread = threading.Thread(target=beat, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        tell(None, "ended")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
