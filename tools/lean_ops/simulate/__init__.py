"""What plays devices: simulated or from files, sent as devices send.

Open to others:

    history    one reproducible stream of messages: devices, their readings, everything that goes wrong
    readings   files of readings become events
    sender     messages into the source queue
    demo       the whole pipeline, once, with its balance
"""

__all__ = [
    "demo",
    "history",
    "readings",
    "sender",
]
