"""A stack, and the command line on it."""

from ..support.pipeline import lean_ops, ledger, send, stack, target

__all__ = ["lean_ops", "ledger", "send", "stack", "target"]
