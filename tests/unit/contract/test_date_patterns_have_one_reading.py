import re

import pytest

from common.contract.temporal_formats import ISO_DATE, RFC3339, compile_format
from common.runtime.errors import ContractError


@pytest.mark.parametrize(
    ("pattern", "text", "fields"),
    [
        ("yyyy-MM-dd'T'HH:mm:ssXXX", "2026-02-03T04:05:06+01:00", {"year": "2026", "offset": "+01:00"}),
        ("dd.MM.yyyy HH:mm", "03.02.2026 04:05", {"day": "03", "minute": "05"}),
        ("yyyyMMddHHmmss.SSS", "20260203040506.007", {"fraction": "007"}),
        ("HH 'o''clock' mm yyyy/MM/dd", "04 o'clock 05 2026/02/03", {"hour": "04"}),
        ("yyyy''MM''dd HH:mm", "2026'02'03 04:05", {"month": "02"}),
    ],
)
def test_a_pattern_takes_a_timestamp_apart(pattern: str, text: str, fields: dict[str, str]) -> None:
    found = re.fullmatch(compile_format(pattern, with_time=True).expression, text)
    assert found is not None
    assert found.groupdict().items() >= fields.items()


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("yy-MM-dd", "found 'yy'"),
        ("yyyy-MM-dd hh:mm", "found 'hh'"),
        ("yyyy-MM-dd HH:mm:ss.SSSSSSSSS", "found 'SSSSSSSSS'"),
        ("yyyy-MM-dd HH:mm MM", "month again"),
        ("yyyy-MM-dd", "hour, minute"),
        ("yyyy-MM-dd HH:mm.SSS", "ss before a fraction"),
        ("yyyy-MM-dd'T HH:mm", "closing quote"),
    ],
)
def test_what_has_another_reading_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        compile_format(pattern, with_time=True)


def test_a_date_keeps_no_time() -> None:
    with pytest.raises(ContractError, match="use logicalType timestamp"):
        compile_format("yyyy-MM-dd HH:mm", with_time=False)
    assert compile_format("yyyy-MM-dd", with_time=False).fields == ISO_DATE.fields


def test_the_default_formats_are_rfc_3339() -> None:
    assert re.fullmatch(RFC3339.expression, "2026-02-03T04:05:06.789Z")
    assert not re.fullmatch(RFC3339.expression, "2026-02-03T04:05:06")
