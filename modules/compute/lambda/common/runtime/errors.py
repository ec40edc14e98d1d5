"""The errors of this project, one small tree.

    LeanOpsError
    ├── PermanentError        trying again cannot help: the input, a contract or the set-up must change
    │   ├── RejectedEvent     one event breaks the event contract (goes to the dead-letter queue)
    │   ├── InvalidInput      a job was started with input it cannot accept
    │   ├── MissingSetting    an environment variable is absent or malformed
    │   ├── ContractError     a data contract cannot be read or contradicts itself
    │   ├── TableMissing      a table, or its catalog database, does not exist
    │   ├── TableMismatch     a table exists but is not what the job needs (columns, partition spec, format)
    │   ├── ServiceRefused    an AWS service refused a call: a right, a name or a limit
    │   └── InternalFault     an error that nobody foresaw, sorted in at the edge of a job
    └── TransientError        the same call may succeed later
        ├── ServiceFailure    an AWS service or the network failed
        ├── CommitConflict    another writer kept winning the commit; nothing was written to the table
        └── CommitUnknown     the catalog did not say whether the commit happened; look before retrying

An error of one subject alone stands beside what raises it, and hangs in the same tree:

    RejectedEvent       MessageRefused (intake.sources)
    PermanentError      MalformedArchive (intake), SourceError (intake.sources),
                        MappingMissing (intake.breaker), FileDamaged, Malformed (lake.avro),
                        ErasuresUnreadable (layers), AlertRefused (alert), SnowflakeRefused
                        (readers), LayersUnseen (observation), TopicsUnreconciled (reconciliation)
    TransientError      BreakerBusy, MappingBusy (intake.breaker), Unanswered (runtime.asking),
                        SnowflakeUnreachable (readers), AlertUndelivered (alert)

What libraries raise is sorted into it where a job or a function ends (``common.runtime.foreign_errors``), so
that nothing is retried for being unknown. The state machine retries by class name: what it may retry derives
from ``TransientError`` (a test holds the two together). Every message says what was expected, what was found,
where, and what to do.
"""

from typing import Final


class LeanOpsError(Exception):
    """Root of all errors that this project raises on purpose."""


class PermanentError(LeanOpsError):
    """Trying again cannot help."""


class TransientError(LeanOpsError):
    """The same call may succeed later."""


class RejectedEvent(PermanentError):  # noqa: N818 - the event is rejected; "error" would say less
    """One event breaks the event contract.

    ``code`` is a stable identifier for metrics and replay filters (see ``common.intake.events.RejectCode``);
    ``detail`` says what was expected and found without repeating payload values.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code: Final = code
        self.detail: Final = detail


class InvalidInput(PermanentError):  # noqa: N818
    """A job was started with input it cannot accept."""


class MissingSetting(PermanentError):  # noqa: N818
    """An environment variable is absent or malformed."""


class ContractError(PermanentError):
    """A data contract cannot be read or contradicts itself."""


class TableMissing(PermanentError):  # noqa: N818
    """A table, or its catalog database, does not exist."""


class TableMismatch(PermanentError):  # noqa: N818
    """A table exists but is not what the job needs."""


class ServiceRefused(PermanentError):  # noqa: N818 - the service refused
    """An AWS service refused a call that it would refuse again."""


class InternalFault(PermanentError):  # noqa: N818 - a fault is what it is
    """An error that nobody foresaw: of the product, or of a table that is not as it takes tables to be."""


class ServiceFailure(TransientError):  # noqa: N818 - a failure is what it is
    """An AWS service or the network failed."""


class CommitConflict(TransientError):  # noqa: N818
    """Another writer kept winning the commit; the table is as that writer left it."""


class CommitUnknown(TransientError):  # noqa: N818
    """The catalog did not say whether the commit happened."""
