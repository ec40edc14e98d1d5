"""The weather series that comes with the project: complete, exact, dated in 2010."""

from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageNotFoundError

import msgspec
import pytest

from common.intake.events import EventParser
from common.runtime.errors import InvalidInput
from lean_ops.accounts.messages import Message
from lean_ops.simulate.readings import STATIONS, weather_station_readings

NOW_US = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.fixture(scope="module")
def readings() -> list[Message]:
    return list(weather_station_readings())


def test_each_station_sends_its_8759_hours_under_distinct_keys(readings: list[Message]) -> None:
    assert len({m.key for m in readings}) == len(readings)
    assert Counter(m.key.split(":")[0] for m in readings) == {"seattle": 8_759, "san-francisco": 8_759}


def test_one_day_in_several_is_sent_whole_and_covers_every_month() -> None:
    hours = Counter(
        (m.key.split(":")[0], m.publish_us // 86_400_000_000) for m in weather_station_readings(10)
    )
    assert len(hours) == 2 * 37
    assert sum(count == 24 for count in hours.values()) >= 72
    assert len({datetime.fromtimestamp(day * 86_400, UTC).month for _, day in hours}) == 12


def test_every_reading_is_accepted(readings: list[Message]) -> None:
    parser = EventParser({"weather"})
    for message in readings:
        assert parser.parse(message.body, NOW_US)[0] == "weather"


def test_temperatures_keep_their_text_and_times_their_year(readings: list[Message]) -> None:
    first = readings[0]
    event = msgspec.json.decode(first.body)
    assert '"temperature_f":39.4,' in first.body
    assert event["publish_time"] == "2010-01-01T08:00:00Z"
    assert event["payload"]["station"] == {"id": "seattle", "name": "Seattle", "country": "US"}
    assert event["payload"]["local_time"] == "2010/01/01 00:00"
    assert '"temperature_f":39.0,' in readings[2].body


def test_the_files_can_be_given_to_the_command_line() -> None:
    for station in STATIONS:
        assert station.csv.read_text().splitlines()[0].count(",") == 1


def test_without_the_package_the_way_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Distribution:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("lean_ops.simulate.readings.weather.distribution", missing)
    with pytest.raises(InvalidInput, match="install the extra `tools`"):
        list(weather_station_readings())
