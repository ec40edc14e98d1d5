"""A stack, the command line on it, its page, and the system's Chromium to look at it with."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.sight.pages import Place
from lean_ops.sight.serving import Site

from ..support.pipeline import lean_ops, ledger, send, stack, target

__all__ = ["lean_ops", "ledger", "send", "stack", "target"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
# A page may come late on a machine with much to do.
PATIENCE_MS = 120_000
WIDTHS = {"desk": 1280, "phone": 390}


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's browser; none is fetched."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(
            f"expected a browser ({', '.join(NAMES)}), found none; `apt-get install chromium` has one"
        )
    # As root, in a container, Chromium cannot make its own sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(stack: Stack) -> Iterator[Site]:
    """The page of the stack."""
    with Site(
        lambda: LocalTarget.running(stack.folder), Place("local stack عربي 🌡️", "--stack elsewhere"), 0
    ) as site:
        yield site


@contextmanager
def opened(
    chromium: Browser, address: str, *, width: int = 1280, scheme: str = "light", script: bool = True
) -> Iterator[Page]:
    """The page at an address, in a browser without a past; whatever its console complains of fails."""
    context = chromium.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=script,
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    said: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            said.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
    page.goto(address)
    yield page
    context.close()
    assert said == []


def goto(page: Page, site: Site, path: str) -> None:
    """Another view of the same page."""
    page.goto(f"http://127.0.0.1:{site.port}/{path}")


def screenshots() -> Path | None:
    """Where pictures for the documentation go, if they are asked for (`make screenshots`)."""
    found = os.environ.get("SCREENSHOTS_TO")
    return Path(found) if found else None
