"""The disk that a local stack lives on: what is accepted has to be kept, so there has to be room to keep it.

ministack answers that it has stored an object, and goes on with a commit to it, when the disk took neither:
after the next start the table would point to a file that never was. So nothing that has to be kept is
accepted any more (status 507) while less than ``RESERVE_BYTES`` are free; what only reads or removes goes on.
The reserve is what the state of the emulator is saved into meanwhile.
"""

import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

# The largest state file (a queue of some ten thousand messages), written beside the one of before.
RESERVE_BYTES: Final = 32 * 2**20
_INSUFFICIENT_STORAGE: Final = 507
# Names of actions that leave something to be kept. S3 has methods instead.
_KEEPS: Final = ("Send", "Put", "Update", "Create", "BatchWrite", "BatchCreate", "BatchUpdate", "Start")

Answer = tuple[int, dict[str, str], bytes]
Handler = Callable[..., Awaitable[Answer]]


def shortage(folder: Path) -> str:
    """What is wrong with the disk of ``folder``, in one sentence; empty where there is room."""
    free = shutil.disk_usage(folder).free
    if free >= RESERVE_BYTES:
        return ""
    return (
        f"disk of {folder}: expected at least {RESERVE_BYTES / 2**20:.0f} MiB free, found "
        f"{free / 2**20:.1f}; nothing new is accepted until some is freed, and what was accepted is kept"
    )


def guard(service: str, handler: Handler, folder: Path) -> Handler:
    """``handler`` of a service of the emulator, refusing what could not be kept."""

    async def guarded(
        method: str, path: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, Any]
    ) -> Answer:
        if _keeps(service, method, headers, query) and (why := shortage(folder)):
            return _refusal(service, why)
        return await handler(method, path, headers, body, query)

    return guarded


def _keeps(service: str, method: str, headers: Mapping[str, str], query: Mapping[str, Any]) -> bool:
    if service == "s3":
        return method in {"PUT", "POST"} and "delete" not in query
    action = next((str(v) for k, v in headers.items() if str(k).lower() == "x-amz-target"), "")
    return action.rpartition(".")[2].startswith(_KEEPS)


def _refusal(service: str, why: str) -> Answer:
    if service == "s3":
        text = f"<Error><Code>InsufficientStorage</Code><Message>{why}</Message></Error>"
        return _INSUFFICIENT_STORAGE, {"Content-Type": "application/xml"}, text.encode()
    document = {"__type": "InsufficientStorage", "message": why}
    return (
        _INSUFFICIENT_STORAGE,
        {"Content-Type": "application/x-amz-json-1.0"},
        msgspec.json.encode(document),
    )
