"""Replay: events that wait in one of three places go on, once what kept them is mended.

| place                  | why events wait there                  | where replay sends them            |
|------------------------|----------------------------------------|------------------------------------|
| dead-letter queue      | rejected, or failed six times          | the source queue                   |
| delivery error objects | Firehose could not write them into RAW | the delivery stream of their topic |
| Quarantine             | they break the contract                | Semantic judges them again         |

What holds for all three:

- An event leaves its place only after the next one has accepted it. A replay that is interrupted, throttled
  or killed loses nothing: what it had not moved is still there, and the same command goes on.
- Replaying twice changes no row. A replayed message keeps its ``message_id``, and of its copies the one that
  was ingested first counts; the merge leaves out what it has seen.
- Every replay is in the audit trail, with its selection and its counts.

Open to others: a module a place (``dead_letters``, ``deliveries``, ``quarantine``), ``intake`` (the source
queue), ``selection`` (which events are meant) and ``pace`` (how fast).
"""

__all__ = ["dead_letters", "deliveries", "intake", "pace", "quarantine", "selection"]
