"""The event simulator: a fleet of devices, their readings over time, and everything that goes wrong.

``devices`` (who sends, and what a payload holds) and ``faults`` (broken messages) are put together by
``history`` into one reproducible stream of messages.
"""
