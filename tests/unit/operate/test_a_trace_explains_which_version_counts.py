from datetime import UTC, datetime, timedelta

import pytest

from lean_ops.operate.trace import Version, explain

NOON = datetime(2026, 2, 28, 12, tzinfo=UTC)


def version(name: str, published_h: float = 0, ingested_h: float = 0) -> Version:
    row = {
        "message_id": name,
        "publish_time": NOON + timedelta(hours=published_h),
        "ingestion_ts": NOON + timedelta(hours=ingested_h),
    }
    return Version(row, "file")


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        (None, "not merged yet: the next run takes it up"),
        (version("m"), "is the current version of its key"),
        (version("m", ingested_h=5), "is the current version of its key"),
        (version("other", -1), "not merged yet: the next run lets it replace other"),
        (version("other", 1), "superseded by other, which was published later"),
        (
            version("other", 0, 1),
            "superseded by other, which was published at the same time and ingested later",
        ),
        (version("z"), "superseded by z, which wins the tie by its id"),
    ],
)
def test_a_version_is_current_superseded_or_not_merged_yet(current: Version | None, expected: str) -> None:
    assert explain(version("m"), current) == expected
