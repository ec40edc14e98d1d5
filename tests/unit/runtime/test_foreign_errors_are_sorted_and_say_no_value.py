"""Errors of libraries and services become errors of the tree, and no message of theirs goes further."""

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NoSuchTableError,
    ServiceUnavailableError,
    ValidationError,
)

from common.runtime import errors
from common.runtime.foreign_errors import sorted_error, sorted_errors

CANARY = "c4n4ry"


def refused(code: str, status: int) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": CANARY},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "PutItem")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError(CANARY), errors.InternalFault),
        (TypeError(CANARY), errors.InternalFault),
        (KeyError(CANARY), errors.InternalFault),
        (pa.ArrowInvalid(CANARY), errors.InternalFault),
        (pa.ArrowNotImplementedError(CANARY), errors.InternalFault),
        (RecursionError(CANARY), errors.InternalFault),
        (AssertionError(CANARY), errors.InternalFault),
        (ExceptionGroup(CANARY, [ValueError(CANARY)]), errors.InternalFault),
        (OSError(5, CANARY), errors.ServiceFailure),
        (PermissionError(CANARY), errors.ServiceRefused),
        (FileNotFoundError(CANARY), errors.TableMismatch),
        (ServiceUnavailableError(CANARY), errors.ServiceFailure),
        (TimeoutError(CANARY), errors.ServiceFailure),
        (EndpointConnectionError(endpoint_url=CANARY), errors.ServiceFailure),
        (refused("ThrottlingException", 400), errors.ServiceFailure),
        (refused("ProvisionedThroughputExceededException", 400), errors.ServiceFailure),
        (refused("InternalServerError", 500), errors.ServiceFailure),
        (refused("AccessDeniedException", 403), errors.ServiceRefused),
        (refused("ValidationException", 400), errors.ServiceRefused),
        (CommitFailedException(CANARY), errors.CommitConflict),
        (NoSuchTableError(CANARY), errors.TableMissing),
        (ValidationError(CANARY), errors.TableMismatch),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
def test_an_error_is_sorted_by_whether_another_try_can_help(
    error: Exception, expected: type[errors.LeanOpsError]
) -> None:
    with pytest.raises(expected) as raised, sorted_errors("merge into lake.curated_t"):
        raise error
    assert type(raised.value) is expected
    assert str(raised.value).startswith("merge into lake.curated_t: expected it to succeed, found ")
    assert CANARY not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_an_error_of_the_tree_stays_as_it_is() -> None:
    known = errors.ContractError("contract: expected x, found y")
    with pytest.raises(errors.ContractError) as raised, sorted_errors("anything"):
        raise known
    assert raised.value is known


@pytest.mark.parametrize(
    "fails",
    [
        lambda: pa.array([CANARY]).cast(pa.int64()),
        lambda: pc.strptime(pa.array([CANARY]), "%Y", "us"),
        lambda: int(CANARY),
        lambda: json.loads(f'{{"{CANARY}"'),
        lambda: msgspec.json.decode(f'{{"a": "{CANARY}"}}', type=dict[str, int]),
        lambda: datetime.fromisoformat(CANARY),
        lambda: Decimal(CANARY),
        lambda: dict[str, int]()[CANARY],
        lambda: CANARY.encode("utf-16").decode("utf-8"),
        lambda: GlueCatalog._identifier_to_tuple_without_catalog(None, CANARY),  # type: ignore[attr-defined]  # any error
    ],
)
def test_what_a_library_says_about_a_value_is_not_said_again(fails: Callable[[], Any]) -> None:
    try:
        fails()
    except Exception as error:
        found = sorted_error(error, "curation of topic events")
        assert CANARY not in str(found)
        assert type(error).__name__ in str(found)
    else:
        pytest.fail("expected an error")
