"""A topic's data contract: what Semantic promises, and the typing of rows under it.

Open to others:

    contracts     a contract, read and checked
    problems      what there is to say of one, each with its place
    properties    one property of a contract
    column_comments  its description, as the comment of a column
    contracted    the columns that a topic's contract names, and how long it keeps rows
    retention     how long rows are kept
    promises      how late rows may be
    quality       rules about all rows together
    changes       what a new version may change
    store         where contracts are kept
    casting       Curated rows → Semantic rows and refused rows
    typed_texts   texts as values of a type
    temporal_formats  how dates and timestamps are written
    masking       what a value looks like, without what it says
    suspicion     what may be personal data
    drift         the log of schema drift
    yaml_bounds   YAML, read within bounds
"""

__all__ = [
    "casting",
    "changes",
    "column_comments",
    "contracted",
    "contracts",
    "drift",
    "masking",
    "problems",
    "promises",
    "properties",
    "quality",
    "retention",
    "store",
    "suspicion",
    "temporal_formats",
    "typed_texts",
    "yaml_bounds",
]
