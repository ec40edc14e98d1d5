"""The page in a real browser: empty, with faults that travel through the layers, damaged, its stack gone.

The tests stand in the order of that story; all are about one stack.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from playwright.sync_api import Browser, Page, expect

from lean_ops.accounts import observation
from lean_ops.environment.target import Target
from lean_ops.local.stack import Stack
from lean_ops.sight.pages import VIEWS, Place
from lean_ops.sight.serving import Site

from .conftest import PATIENCE_MS, WIDTHS, goto, opened, screenshots

LeanOps = Callable[..., Result]
ACCESSIBLE = Path(__file__).with_name("accessible.js").read_text()
HOSTILE = "<img src=x onerror=alert(1)>درجة🌡️"
PATHS = ["" if view.name == "overview" else view.name for view in VIEWS]


def settled(page: Page) -> None:
    """Until every part has said what it has to say."""
    expect(page.get_by_text("being read …")).to_have_count(0, timeout=PATIENCE_MS)
    expect(page.get_by_text("have not answered yet")).to_have_count(0, timeout=PATIENCE_MS)


def check_views(chromium: Browser, site: Site) -> None:
    """Every view in both widths and both lights: nothing sticks out, and everybody can read it."""
    with opened(chromium, site.address) as page:
        for path in PATHS:
            goto(page, site, path)
            settled(page)
            for name, width in WIDTHS.items():
                page.set_viewport_size({"width": width, "height": 900})
                for scheme in ("light", "dark"):
                    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                    where = f"/{path}, {name}, {scheme}"
                    assert page.evaluate("document.documentElement.scrollWidth") <= width, where
                    assert page.evaluate(ACCESSIBLE) == [], where


def test_a_new_stack_is_well(chromium: Browser, site: Site) -> None:
    with opened(chromium, site.address) as page:
        settled(page)
        assert "token" not in page.url
        expect(page.locator("h1")).to_have_text("All is well")
        goto(page, site, "runs")
        expect(page.locator("#runs")).to_contain_text("No run yet")
        goto(page, site, "waiting")
        for nothing in (
            "No letter waits",
            "Firehose has delivered everything",
            "No contract has refused a row",
        ):
            expect(page.locator("#waiting")).to_contain_text(nothing)
    check_views(chromium, site)


def test_the_first_key_leads_past_the_navigation(chromium: Browser, site: Site) -> None:
    with opened(chromium, site.address) as page:
        settled(page)
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        expect(focused).to_have_text("Skip to what is wrong")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()


def test_a_batch_with_faults_is_watched_on_its_way(
    chromium: Browser, site: Site, lean_ops: LeanOps, tmp_path: Path
) -> None:
    """The page is opened once, and never loaded again."""
    with opened(chromium, f"{site.address}") as page:
        settled(page)
        page.evaluate("window.untouched = true")
        flow = page.locator(".flow")
        assert lean_ops("send", "--days", "0.05", "--events", "600", "--wait").exit_code == 0
        expect(flow.locator("li", has_text="RAW").locator(".number")).not_to_have_text(
            "0", timeout=PATIENCE_MS
        )
        expect(flow.locator("li", has_text="Curated")).to_contain_text("behind by", timeout=PATIENCE_MS)
        assert lean_ops("run").exit_code == 0
        expect(flow.locator("li", has_text="Semantic").locator(".number")).not_to_have_text(
            "0", timeout=PATIENCE_MS
        )
        expect(flow.locator("li", has_text="Curated")).to_contain_text("nothing unread", timeout=PATIENCE_MS)

        readings = tmp_path / "readings.csv"
        readings.write_text(
            "sensor_id,taken_at,temp\n" + "".join(f"s{n},2026-0{n}-01 10:00,{n}\n" for n in (1, 2))
        )
        own = ["--file", str(readings), "--key", "sensor_id,taken_at", "--time", "taken_at"]
        assert lean_ops("send", *own, "--wait").exit_code == 0
        assert lean_ops("run").exit_code == 0
        wrong = page.locator(".problems li").first
        expect(wrong).to_contain_text("refused 2 of 2 rows", timeout=PATIENCE_MS)
        assert page.evaluate("window.untouched")

        # What the page says is what there is to do: its own words, as they are copied.
        said = wrong.locator("code").all_inner_texts()
        assert any(command.startswith("lean-ops query ") for command in said)
        (mend,) = [command for command in said if command.startswith("lean-ops replay quarantine")]
        assert mend.endswith(" --stack elsewhere")  # the page says where, as it was told
        done = lean_ops(*mend.removesuffix(" --stack elsewhere").split()[1:], "--dry-run")
        assert done.exit_code == 0, done.output


def test_names_and_payloads_of_devices_are_inert(
    chromium: Browser, site: Site, target: Target, lean_ops: LeanOps
) -> None:
    body: dict[str, Any] = {"topic_name": HOSTILE, "message_id": HOSTILE, "idempotency_key": HOSTILE}
    url = target.queue_url(target.source_queue)
    for text in (json.dumps(body | {"payload": {"a": "secret-value"}}), HOSTILE, "{" * 600):
        target.client("sqs").send_message(QueueUrl=url, MessageBody=text)
    assert observation.settle(target, timeout_s=300) == 0
    archived = 0
    while archived < 3:  # the queue may show some of them later than others
        archived += json.loads(lean_ops("dlq", "archive", "--json").output)["written"]
    with opened(chromium, site.address) as page:
        goto(page, site, "waiting")
        expect(page.locator("#waiting table").first).to_contain_text(HOSTILE, timeout=PATIENCE_MS)
        assert page.locator("img").count() == 0
        assert "secret-value" not in page.content()
        expect(page.locator("#waiting")).to_contain_text("lean-ops replay dlq --reason NOT_JSON")


def test_every_view_with_what_there_is(chromium: Browser, site: Site, target: Target) -> None:
    check_views(chromium, site)
    with opened(chromium, site.address) as page:
        goto(page, site, "runs")
        settled(page)
        first = page.locator("details.run").first
        expect(first.locator("tbody tr").first).to_contain_text("ApplyDefaults")
        expect(first).to_contain_text("refused by the contract")
        goto(page, site, "tables?table=curated_events")
        expect(page.locator(".heat tbody tr").first).to_be_visible()
        goto(page, site, "alarms")
        settled(page)
        page.locator("#alarms-rest summary").click()
        expect(page.locator("#alarms-rest")).to_contain_text("docs/runbook.md#queue-age")
    if folder := screenshots():
        with Site(lambda: target, Place("local stack"), 0) as plain:
            _take_pictures(chromium, plain, folder)


def _take_pictures(chromium: Browser, site: Site, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    with opened(chromium, site.address) as page:
        for path in ("", "runs", "tables?table=curated_events"):
            goto(page, site, path)
            settled(page)
            page.screenshot(path=folder / f"{path.partition('?')[0] or 'overview'}.png")
    with opened(chromium, site.address, width=WIDTHS["phone"], scheme="dark") as page:
        settled(page)
        page.screenshot(path=folder / "phone.png")


def test_without_script_the_page_says_the_same(chromium: Browser, site: Site) -> None:
    with opened(chromium, site.address, script=False) as page:
        expect(page.locator("h1")).to_contain_text("wrong", timeout=PATIENCE_MS)
        assert page.locator("noscript meta[http-equiv=refresh], meta[http-equiv=refresh]").count() == 1


def test_the_file_needs_no_network_and_no_script(
    chromium: Browser, lean_ops: LeanOps, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    done = lean_ops("report", "--to", str(path))
    assert done.exit_code == 0, done.output
    for width in WIDTHS.values():
        with opened(chromium, path.as_uri(), width=width, script=True) as page:
            with page.expect_request("**") as first:
                page.reload()
            assert first.value.url == path.as_uri()
            loaded = "performance.getEntriesByType('resource').map((entry) => entry.name)"
            assert page.evaluate(loaded) == []
            assert page.locator("script").count() == 0
            assert page.locator("section").count() == len(VIEWS)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(ACCESSIBLE) == []


def test_a_damaged_table_is_said_in_its_place_and_hides_no_other(
    chromium: Browser, site: Site, target: Target
) -> None:
    table = target.catalog().load_table(target.settings.table("curated", "events"))
    snapshot = table.current_snapshot()
    assert snapshot is not None
    bucket, _, key = snapshot.manifest_list.removeprefix("s3://").partition("/")
    s3 = target.client("s3")
    whole = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=bucket, Key=key, Body=whole[: len(whole) // 2])
    try:
        with opened(chromium, site.address) as page:
            expect(page.locator(".problems")).to_contain_text("expected to read", timeout=PATIENCE_MS)
            expect(page.locator(".problems")).to_contain_text("A table that cannot be read")
            goto(page, site, "tables?table=curated_events")
            trouble = page.locator("#tables .trouble")
            expect(trouble).to_contain_text("curated_events: expected to read", timeout=PATIENCE_MS)
            expect(page.get_by_role("link", name="raw_events", exact=True)).to_be_visible()
            assert page.evaluate(ACCESSIBLE) == []
    finally:
        s3.put_object(Bucket=bucket, Key=key, Body=whole)


def test_a_stack_that_is_gone_is_one_sentence_and_comes_back(
    chromium: Browser, site: Site, stack: Stack
) -> None:
    with opened(chromium, site.address) as page:
        settled(page)
        stack.down()
        first = page.locator(".problems li").first
        expect(first).to_contain_text("start it again with `lean-ops up`", timeout=PATIENCE_MS)
        expect(first).to_contain_text("Could not look at")
        for path in PATHS:
            goto(page, site, path)
            expect(page.locator("h1")).to_contain_text("wrong", timeout=PATIENCE_MS)
            assert page.evaluate(ACCESSIBLE) == []
        goto(page, site, "")
        stack.up()
        expect(page.locator("body")).not_to_contain_text("start it again", timeout=PATIENCE_MS)


@pytest.mark.parametrize("path", ["", "runs"])
def test_who_has_no_token_sees_a_refusal(chromium: Browser, site: Site, path: str) -> None:
    context = chromium.new_context()
    page = context.new_page()
    answer = page.goto(f"http://127.0.0.1:{site.port}/{path}")
    assert answer is not None
    assert answer.status == 403
    expect(page.locator("h1")).to_have_text("Not let in")
    context.close()
