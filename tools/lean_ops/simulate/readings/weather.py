"""A real series to try the pipeline with: a year of hourly weather-station temperatures.

Two stations, Seattle and San Francisco, 8,759 readings each, of the year 2010: files that the PyPI package
``vega_datasets`` carries. Times are taken as local standard time (UTC-8): no hour is there twice, so there is
no daylight saving in them; one hour of March is missing in both. They go the way of a person's own file:
CSV → mapping → messages.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from common.runtime.errors import InvalidInput
from lean_ops.accounts.messages import Message
from lean_ops.simulate.readings.mapping import ReadingMapping, messages
from lean_ops.simulate.readings.rows import BadRow

TOPIC: Final = "weather"
_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True)
class Station:
    """A weather station: its id in events, its name, and its file in the package."""

    id: str
    name: str
    file: str

    @property
    def csv(self) -> Path:
        """The station's file; raises InvalidInput where the package is not installed.

        The file is looked up in the installed package, which is never imported: its code needs pandas.
        """
        try:
            path = Path(str(distribution("vega_datasets").locate_file(f"vega_datasets/_data/{self.file}")))
        except PackageNotFoundError as error:
            raise InvalidInput(
                "weather readings: expected the package vega-datasets, found none; "
                "install the extra `tools` of this project"
            ) from error
        return path

    @property
    def mapping(self) -> ReadingMapping:
        """How its rows become events; the payload has station.id|name|country, local_time, temperature_f."""
        return ReadingMapping(
            TOPIC,
            key=("station.id", "date"),
            time="date",
            timezone="-08:00",
            rename={"date": "local_time", "temp": "temperature_f"},
            constants={"station.id": self.id, "station.name": self.name, "station.country": "US"},
        )


STATIONS: Final = (
    Station("seattle", "Seattle", "seattle-temps.csv"),
    Station("san-francisco", "San Francisco", "sf-temps.csv"),
)


def weather_station_readings(every_days: int = 1) -> Iterator[Message]:
    """The readings of both stations, events of topic ``weather``: all 17,518, or whole days, one in several.

    A year is 365 partition days: ``every_days`` (UTC days) keeps a try-out short and still covers all months.
    """
    for station in STATIONS:
        for message in messages(station.csv, station.mapping, _refuse):
            if message.publish_us // _DAY_US % every_days == 0:
                yield message


def _refuse(row: BadRow) -> None:
    raise InvalidInput(
        f"weather readings, line {row.number}: expected a good row, found {row.reason}; "
        "reinstall vega-datasets"
    )
