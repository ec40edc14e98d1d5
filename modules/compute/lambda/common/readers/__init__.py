"""What reads Semantic outside of AWS: Snowflake, asked over its SQL API.

Open to others:

    sql_api   statements over HTTPS, signed by a key pair
    history   refreshes of Snowflake's tables
    staleness the snapshot that Snowflake has, beside the table's own
"""

__all__ = [
    "history",
    "sql_api",
    "staleness",
]
