"""Of a batch with refused records the neighbours are tried again, and the refused ones are gone."""

from typing import Any

import pytest

from common.intake.delivery import DeliveryOutcome
from sqs_processor import batch

MEETS = ("front",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    deliver = batch.deliver

    def beside(client: Any, stream: str, records: Any, **options: Any) -> DeliveryOutcome:
        outcome = deliver(client, stream, records, **options)
        outcome.failed = sorted({(i + 1) % len(records) for i in outcome.failed})
        return outcome

    patch.setattr(batch, "deliver", beside)
