"""What was sent against what arrived: no message is lost without being told.

Open to others:

    messages         a message, and what its sender knows about it
    ledger           what was sent, written before it leaves
    reconciliation   does what arrived account for what was sent
    observation      what a stack holds, counted
    arrival          waiting until what was sent is in RAW
    comeback         what a killed emulator took back
"""

__all__ = [
    "arrival",
    "comeback",
    "ledger",
    "messages",
    "observation",
    "reconciliation",
]
