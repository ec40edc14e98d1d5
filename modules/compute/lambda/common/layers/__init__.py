"""The jobs of the layers, called by handlers and by the command line; each module is one job.

Open to others:

    curated     RAW → Curated
    uncurable   rows of RAW that cannot be curated: dead letters
    semantic    Curated → Semantic and Quarantine
    erased      keys whose past was erased, and whose rows are left out therefore
    reconciling what the rows of all layers say, whatever was counted
    marks       how far a topic is reconciled
    rejudging   refused rows, judged again
    quality     rules about all rows together, measured
    proposing   a contract made from the rows that are there
    operations  what was done, as tables
    reports     what upkeep did and reconciliation found, left for these
    planning    what a contract would do to the rows that are there
    retreating  refused rows of before, as a contract treats personal data now
    lease       which execution works on a topic
    upkeep      all tables of some topics kept in shape

Inside, of Semantic: ``judging`` (what it takes of rows of Curated) and ``versions`` (older versions of keys
whose newest version was refused).
"""

__all__ = [
    "curated",
    "erased",
    "lease",
    "marks",
    "operations",
    "planning",
    "proposing",
    "quality",
    "reconciling",
    "rejudging",
    "reports",
    "retreating",
    "semantic",
    "uncurable",
    "upkeep",
]
