"""The circuit breaker: intake pauses while Firehose is in trouble (docs/adr/0007).

Open to others:

    rules      when it opens, tries and closes: pure decisions
    evidence   what alarms and metrics say
    record     its state in DynamoDB
    mapping    the queue's event source mapping, which it turns off, on and down
    turn       one turn: look, decide, act, record
"""

__all__ = [
    "evidence",
    "mapping",
    "record",
    "rules",
    "turn",
]
