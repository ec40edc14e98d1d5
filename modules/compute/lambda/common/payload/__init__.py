"""A JSON payload becomes columns, exactly and in linear time.

Open to others:

    flattening   RAW rows → Curated rows
    columns      which path of a payload has which column
    leaves       what a leaf is and what its column is called
    rescued      why a leaf has no column
"""

__all__ = [
    "columns",
    "flattening",
    "leaves",
    "rescued",
]
