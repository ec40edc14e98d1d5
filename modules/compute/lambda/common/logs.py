"""Logs: one JSON line an event worth knowing, the same shape in every function. Never a payload value."""

from functools import cache

from aws_lambda_powertools import Logger


@cache
def logger(service: str) -> Logger:
    """The JSON logger of a function; ``POWERTOOLS_LOG_LEVEL`` sets the level."""
    return Logger(service=service, utc=True)
