"""A person's own device readings: files → events.

``rows`` reads CSV, NDJSON and Parquet as exact JSON text, ``times`` understands their times, ``mapping``
turns rows into messages, ``dry_run`` shows what would be sent, ``weather`` is a real series to try it with.
"""

from lean_ops.simulate.readings.dry_run import ColumnPreview, Guess, Preview, preview
from lean_ops.simulate.readings.mapping import ReadingMapping, messages
from lean_ops.simulate.readings.rows import BadRow, Row
from lean_ops.simulate.readings.weather import STATIONS, Station, weather_station_readings

__all__ = [
    "STATIONS",
    "BadRow",
    "ColumnPreview",
    "Guess",
    "Preview",
    "ReadingMapping",
    "Row",
    "Station",
    "messages",
    "preview",
    "weather_station_readings",
]
