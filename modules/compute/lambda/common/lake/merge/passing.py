"""Which failures of a catalog or object store may pass, so that looking again makes sense."""

from pyiceberg.exceptions import CommitStateUnknownException, ServerError, ServiceUnavailableError

from common.runtime import retrying

_OF_CATALOGS = (CommitStateUnknownException, ServerError, ServiceUnavailableError)


def may_pass(error: Exception) -> bool:
    """As ``common.runtime.retrying.may_pass``; of Iceberg's catalogs what says that the server failed."""
    return isinstance(error, _OF_CATALOGS) or retrying.may_pass(error)
