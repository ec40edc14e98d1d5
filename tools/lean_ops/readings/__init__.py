"""A person's own device readings: files → events.

``rows`` reads CSV, NDJSON and Parquet as exact JSON text, ``times`` understands their times, ``mapping``
turns rows into messages, ``preview`` shows what would be sent, ``weather`` is a real series to try it with.
"""
