"""SQL on the readers' page is that of the files that run on Athena's engine; every saved query is there."""

import re

from lean_ops.environment.repository import ROOT, saved_queries

BLOCKS = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/readers.md").read_text(), re.S)


def test_the_page_shows_every_saved_query_as_it_is() -> None:
    assert sorted(BLOCKS) == sorted(saved_queries("events", "lean_ops_dev").values())
