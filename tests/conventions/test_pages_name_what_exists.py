"""Every path and link in the documentation leads somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
_PATH = re.compile(r"`((?:docs|modules|tests|tools|contracts|infra|environments)/[A-Za-z0-9_./*-]+)")
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_paths_and_links_exist(page: Path) -> None:
    text = page.read_text()
    for path in _PATH.findall(text):
        assert list(ROOT.glob(path.rstrip("/."))), f"{page.name} names {path}, which does not exist"
    for link in _LINK.findall(text):
        assert (page.parent / link).exists(), f"{page.name} links to {link}, which does not exist"
