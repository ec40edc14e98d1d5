"""Iceberg tables: what they are, reading what is new in them, merging into them, keeping them in shape.

Open to others:

    specifications      the tables' specifications, and opening a table
    avro                the metadata's files, read whole or not at all
    catalog             the Iceberg catalog
    checkpoints         how far a source was read: where that is written and which record counts
    closing             up to when a table is closed: rows that were dropped, and are taken in no more
    files               the tables' files: few requests, each of them counted
    freshness           how fresh a layer is, and how long it has had something to read
    history             a table's snapshots: its last merge, and the checkpoint it carries
    pointers            where all tables are, in few calls
    progress            the checkpoint of a layer
    incremental         what is new since a checkpoint, in bounded portions
    reading             rows of a table, streamed
    rule                which version of a key wins
    merge               one atomic merge: plan, locate, decide, write, commit
    merging_by_halves   a merge that fails on a row: the others are merged
    setting_aside       rows that cannot be processed, found by halves
    upkeep              compaction, expiry, orphan files
    views               views for readers by SQL, kept at the columns of their tables
"""

__all__ = [
    "avro",
    "catalog",
    "checkpoints",
    "closing",
    "files",
    "freshness",
    "history",
    "incremental",
    "merge",
    "merging_by_halves",
    "pointers",
    "progress",
    "reading",
    "rule",
    "setting_aside",
    "specifications",
    "upkeep",
    "views",
]
