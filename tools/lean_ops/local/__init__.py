"""The local stack: an emulator of AWS and a stand-in for Firehose, provisioned from the same files as AWS.

Open to others:

    target      the stack as a target
    stack       its processes: up, down, status
    provision   its queues, tables, streams, functions and schedules
    processes   peak memory of its processes
    spark       what jobs run on that outgrow a function
    trino       the engine of Athena on its tables
"""

__all__ = [
    "processes",
    "provision",
    "spark",
    "stack",
    "target",
    "trino",
]
