"""Every setting of every function is required, and what it cannot be is refused with its name."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.runtime.errors import MissingSetting
from common.runtime.settings import OF_FUNCTION, PREFIX, MaintenanceSettings, Settings

KINDS = sorted(set(OF_FUNCTION.values()), key=lambda kind: kind.__name__)


def environment(kind: type[Settings]) -> dict[str, str]:
    return {PREFIX + field.name.upper(): "7" if field.type is int else "a" for field in fields(kind)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_complete_environment_is_read(kind: type[Settings]) -> None:
    found = kind.from_environment(environment(kind) | {"LEAN_OPS_PROJECT": " lake "})
    assert found.project == "lake"
    numbers = [getattr(found, field.name) for field in fields(kind) if field.type is int]
    assert numbers == [7] * len(numbers)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_what_is_absent_or_empty_is_named(kind: type[Settings], value: str | None) -> None:
    for variable in environment(kind):
        given_all = environment(kind)
        del given_all[variable]
        with pytest.raises(MissingSetting, match=f"variable {variable}: expected .* found none"):
            kind.from_environment(given_all | ({} if value is None else {variable: value}))


@given(
    st.one_of(
        st.sampled_from(["0", "-1", "1.5", "1e3", "٣", "seven", "+7", "0x7", "7 8"]), st.text(max_size=4)
    )
)
def test_a_number_is_whole_and_at_least_one(text: str) -> None:
    for variable in ("LEAN_OPS_SNAPSHOT_RETENTION_DAYS", "LEAN_OPS_ORPHAN_FILE_RETENTION_DAYS"):
        values = environment(MaintenanceSettings) | {variable: text}
        if text.strip().isascii() and text.strip().isdigit() and int(text) > 0:
            assert MaintenanceSettings.from_environment(values)
            continue
        with pytest.raises(
            MissingSetting, match=f"variable {variable}: expected a whole number of at least 1"
        ):
            MaintenanceSettings.from_environment(values)
