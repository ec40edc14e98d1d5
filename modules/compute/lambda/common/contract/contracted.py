"""The columns of Curated that a topic's contract names: they are admitted whatever else fills the table."""

import logging
from typing import TYPE_CHECKING

from common.contract.contracts import load_contract
from common.contract.store import contract_exists, read_contract
from common.runtime.errors import ContractError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

logger = logging.getLogger(__name__)


def contracted_columns(s3: "S3Client", bucket: str, topic: str) -> frozenset[str]:
    """Columns that the contract names; none where there is no contract, or one that cannot be read.

    Such a contract stops Semantic, which says what is wrong with it; Curated goes on without.
    """
    if not contract_exists(s3, bucket, topic):
        return frozenset()
    try:
        contract = load_contract(read_contract(s3, bucket, topic), topic)
    except ContractError as error:
        logger.warning(
            "topic %s: its contract cannot be read, so that no column is admitted first: %s", topic, error
        )
        return frozenset()
    return frozenset(property_.source for property_ in contract.properties)
