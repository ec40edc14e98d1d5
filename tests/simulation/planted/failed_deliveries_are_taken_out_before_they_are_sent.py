"""A replay that is killed in between loses them."""

from typing import Any

import pytest

from lean_ops.operate.replay import deliveries

MEETS = ("letters",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    send = deliveries._send

    def early(sender: Any, error_object: Any, lines: Any, selection: Any, found: Any) -> Any:
        sender._target.client("s3").delete_object(Bucket="lake", Key=error_object.key)
        return send(sender, error_object, lines, selection, found)

    patch.setattr(deliveries, "_send", early)
