"""What every function needs, whatever it does. Light: no Arrow and no Iceberg is loaded here.

Open to others:

    errors           the one tree of errors
    foreign_errors   what libraries and services raise, sorted into it
    retrying         what may pass when it is tried again, and how long to wait before
    batching         entries cut into runs that one batch call takes
    settings         one typed class a function; absent is an error
    clients          boto3 clients whose calls end before their function does
    asking           HTTP calls, bounded in time and bytes
    logs             one line, one shape
    metrics          CloudWatch metrics in the log
    items            many items of a table in few calls
    outside          time, waiting, chance and new names, for which a simulation has others
    topics           which topics the environment has
    worst            which topics an alarm is about
    arrowtypes       names for Arrow's generic types, for annotations
"""

__all__ = [
    "arrowtypes",
    "asking",
    "batching",
    "clients",
    "errors",
    "foreign_errors",
    "items",
    "logs",
    "metrics",
    "outside",
    "retrying",
    "settings",
    "topics",
    "worst",
]
