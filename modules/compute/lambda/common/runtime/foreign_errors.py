"""Errors of libraries and services, sorted into the project's tree at the edge of a job or function.

Two things would be wrong with letting them through. The state machine retries what it does not know, so that
a ValueError, which no retry mends, is tried until the retries are used up. And their messages may quote a
value (Arrow names the text that it could not cast), which would reach the log, the execution's history and
whoever is notified. So a sorted error says where it came from and of what class it is, never its message.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from common.runtime.errors import (
    CommitConflict,
    CommitUnknown,
    InternalFault,
    LeanOpsError,
    ServiceFailure,
    ServiceRefused,
    TableMismatch,
    TableMissing,
)
from common.runtime.retrying import may_pass

# By name: functions that never touch a table must not load pyiceberg.
_OF_ICEBERG: Final[dict[str, tuple[type[LeanOpsError], str]]] = {
    "CommitFailedException": (CommitConflict, "another writer was first; the next try plans on what it left"),
    "CommitStateUnknownException": (CommitUnknown, "look at the table's newest snapshot before trying again"),
    "NoSuchTableError": (TableMissing, "create it with `terraform apply` (`lean-ops up` locally)"),
    "NoSuchNamespaceError": (TableMissing, "create it with `terraform apply` (`lean-ops up` locally)"),
    "ServerError": (ServiceFailure, "the catalog may answer later"),
    "ServiceUnavailableError": (ServiceFailure, "the catalog may answer later"),
    "ValidationError": (TableMismatch, "compare the table with its specification in modules/storage/tables"),
    "ResolveError": (TableMismatch, "give the column that was changed by hand its type again, or rebuild"),
}
_OF_SYSTEM: Final[tuple[tuple[type[Exception], type[LeanOpsError], str], ...]] = (
    (PermissionError, ServiceRefused, "the function's role lacks a right (infra/policies)"),
    (FileNotFoundError, TableMismatch, 'a file is gone: docs/runbook.md, "A table that cannot be read"'),
    (OSError, ServiceFailure, "reading, writing or calling may succeed later"),
    (BotoCoreError, ServiceFailure, "the call may succeed later"),
)
_HERE: Final = Path(__file__).parents[2]


@contextmanager
def sorted_errors(doing: str) -> Iterator[None]:
    """Raise what is raised inside as an error of the tree; ``doing`` says what was done, and to what."""
    try:
        yield
    except Exception as error:
        if isinstance(error, LeanOpsError):
            raise
        # Not "from error": a log of the cause would show the message that is left out here.
        raise sorted_error(error, doing) from None


def sorted_error(error: Exception, doing: str) -> LeanOpsError:
    """The error of the tree that stands for ``error``; one that is of the tree stays as it is."""
    if isinstance(error, LeanOpsError):
        return error
    sort, advice = _sorting(error)
    return sort(f"{doing}: expected it to succeed, found {type(error).__name__} {_place(error)}; {advice}")


def _sorting(error: Exception) -> tuple[type[LeanOpsError], str]:
    """The class of the tree, and what there is to do."""
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        call = f"{error.operation_name} answered {code}"
        if may_pass(error):
            return ServiceFailure, f"{call}, which may pass"
        return ServiceRefused, f"{call}: a right, a name or a limit of the service"
    for kind, sort, advice in _OF_SYSTEM:
        if isinstance(error, kind):
            return sort, advice
    for kind in type(error).__mro__:
        if kind.__module__.startswith("pyiceberg.") and kind.__name__ in _OF_ICEBERG:
            return _OF_ICEBERG[kind.__name__]
    advice = (
        "its message is left out, since it may quote a value. Something is not as the code takes it to be"
    )
    return InternalFault, f'{advice}: see docs/runbook.md, "A run ends in InternalFault"'


def _place(error: Exception) -> str:
    """The innermost line of this project that the error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).is_relative_to(_HERE) and f.filename != __file__]
    own = own or frames[-1:]
    return (
        f"at {Path(own[-1].filename).name}:{own[-1].lineno}, {own[-1].name}" if own else "at an unknown place"
    )
