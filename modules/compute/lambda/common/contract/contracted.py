"""What a topic's contract says to others than Semantic: columns, how old and late rows are, the engine."""

import logging
from typing import TYPE_CHECKING

from common.contract.contracts import Contract, load_contract
from common.contract.retention import FOR_GOOD, Retention
from common.contract.store import contract_exists, read_contract
from common.runtime.errors import ContractError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

logger = logging.getLogger(__name__)


def contracted_columns(s3: "S3Client", bucket: str, topic: str) -> frozenset[str]:
    """Columns that the contract names; none where there is no contract, or one that cannot be read.

    Such a contract stops Semantic, which says what is wrong with it; Curated goes on without.
    """
    contract = _contract(s3, bucket, topic, "no column is admitted first")
    return frozenset(property_.source for property_ in contract.properties) if contract else frozenset()


def row_retention(s3: "S3Client", bucket: str, topic: str) -> Retention:
    """How long rows are kept: for good where there is no contract, or one that cannot be read."""
    contract = _contract(s3, bucket, topic, "no row is dropped")
    return contract.retention if contract else FOR_GOOD


def promised_s(s3: "S3Client", bucket: str, topic: str) -> float | None:
    """How late rows may be, in seconds; None where nothing is promised, or the contract cannot be read."""
    contract = _contract(s3, bucket, topic, "its promise is not watched")
    return contract.promise.within.total_seconds() if contract and contract.promise else None


def spark_from_rows(s3: "S3Client", bucket: str, topic: str) -> int | None:
    """Rows from which on a backlog of the topic runs on Spark; None: the environment's thresholds count."""
    contract = _contract(s3, bucket, topic, "the environment's thresholds for Spark count")
    return contract.spark_from_rows if contract else None


def _contract(s3: "S3Client", bucket: str, topic: str, so_that: str) -> Contract | None:
    if not contract_exists(s3, bucket, topic):
        return None
    try:
        return load_contract(read_contract(s3, bucket, topic), topic)
    except ContractError as error:
        logger.warning("topic %s: its contract cannot be read, so that %s: %s", topic, so_that, error)
        return None
