"""What executors start their Python workers from (``spark.python.daemon.module``).

Spark forks a worker for every core. Forked from a process that has the job's libraries already, it starts in
no time, where loading Arrow and Iceberg takes a second or two each.
"""

from pyspark.daemon import manager

from spark import parts

__all__ = ["parts"]

if __name__ == "__main__":
    manager()
