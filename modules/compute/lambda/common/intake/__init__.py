"""The way of an event into RAW, and of what cannot go there. Light: no Arrow and no Iceberg is loaded here.

Open to others:

    events         the event contract: a message becomes a RAW record or is rejected with a reason
    sources        devices as they already speak: their messages become events by description
    delivery       records into Firehose, with retries
    dead_letters   rejected messages with their reason, into the dead-letter queue
    archive        the form in which dead letters are kept in the lake bucket
    reading        what a message becomes, by the sources of the environment
    queue_pass     one pass over a queue that sees every message once
    breaker        the circuit breaker of the source queue
"""

__all__ = [
    "archive",
    "breaker",
    "dead_letters",
    "delivery",
    "events",
    "queue_pass",
    "reading",
    "sources",
]
