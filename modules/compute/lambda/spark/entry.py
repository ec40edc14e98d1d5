"""What ``spark-submit`` is given on AWS: the job of the archive, or one sentence where that is not to be had.

A file of its own, of Python's library alone: the archive (``make build``) may be missing, or be for another
interpreter than the release has, and then nothing of it can be imported to say so.
"""

import json
import platform
import sys


def main() -> int:
    """Run the job; gives the exit code."""
    try:
        from spark.job import main as run  # noqa: PLC0415 - may fail, which is to be said
    except ImportError as error:
        message = (
            f"job: expected code and libraries in the archive that spark.archives names, for Python "
            f"{platform.python_version()} on {platform.machine()}, found {error}; nothing was done: run "
            "`make build` and apply the environment, and the next run goes on from the same checkpoint"
        )
        print(json.dumps({"errorType": "JobPackageBroken", "errorMessage": message}), file=sys.stderr)  # noqa: T201 - the service shows the end of a job's output
        return 1
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
