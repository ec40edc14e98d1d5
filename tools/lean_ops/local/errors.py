"""What can go wrong with the local stack itself."""

from common.runtime.errors import PermanentError


class LocalStackError(PermanentError):
    """The local stack cannot start, stop or be found; the message says what to do."""
