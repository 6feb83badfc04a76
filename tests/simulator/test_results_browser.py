"""The report in Chromium: it asks for nothing, shows its verdicts, and tells the values of the moment pointed at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from simulator.results.html import page as page_of
from tests.browser.chromium import chromium
from tests.simulator.measured import STALL, TITLE, a_report

pytestmark = pytest.mark.browser
#: What a pointer does is seen at once, but on a busy machine.
WITHIN_MS = 60_000.0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page_of(a_report()), encoding="utf-8")
    return path


def opened(browser: Browser, file: Path, heard: list[str], **options: object) -> Page:
    page = browser.new_page(viewport={"width": 1240, "height": 900}, **options)  # type: ignore[arg-type]
    page.on("request", lambda request: heard.append(request.url))
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.goto(file.as_uri())
    return page


def test_it_asks_for_nothing_and_shows_its_verdicts(browser: Browser, file: Path) -> None:
    heard: list[str] = []
    page = opened(browser, file, heard)
    page.wait_for_load_state("networkidle")
    assert heard == [file.as_uri()]
    assert page.title() == f"failed: {TITLE}"
    assert page.locator(".badge").inner_text().split("\n") == ["Failed", "bounds broken: 1 of 4"]
    row = page.locator("tr.no")
    assert row.count() == 1
    assert "backwards" in row.inner_text()
    assert "driver-0042" in row.inner_text()
    assert [kept.split()[1] for kept in page.locator(".kept li").all_inner_texts()] == [
        "ghost", "latency_p99_ms", "screens_judged",
    ]  # fmt: skip
    assert page.locator("figure svg").count() == page.locator("figure").count() >= 10
    page.close()


def test_pointing_at_a_moment_tells_its_values_in_every_plot(browser: Browser, file: Path) -> None:
    page = opened(browser, file, [])
    figure = page.locator("figure", has=page.get_by_text("received", exact=True))
    p99 = figure.locator("[data-column=p99]")
    whole = p99.inner_text()
    plot = figure.locator(".plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    left, _, width, _ = map(float, (page.locator("body").get_attribute("data-frame") or "").split())

    def point_at(second: float) -> None:
        page.mouse.move(box["x"] + box["width"] * (left + width * second / 60), box["y"] + box["height"] / 2)

    point_at(STALL.start + 0.5)
    expect(p99).to_have_text("–", timeout=WITHIN_MS)
    point_at(STALL.stop + 0.5)
    expect(page.locator("#at")).to_have_text(f"0:{STALL.stop} into the run", timeout=WITHIN_MS)
    assert p99.inner_text().endswith(" s")
    assert page.locator(".cursor:visible").count() == page.locator(".plot").count()
    page.mouse.move(1, 1)
    expect(p99).to_have_text(whole, timeout=WITHIN_MS)
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_and_words_stand_out_from_what_is_behind_them(browser: Browser, file: Path, scheme: str) -> None:
    page = opened(browser, file, [], color_scheme=scheme)
    brightness = page.evaluate(
        """() => {
            const of = (colour) => { const [r, g, b] = colour.match(/[\\d.]+/g).map(Number);
                                     return 0.299 * r + 0.587 * g + 0.114 * b; };
            const style = (selector, name) => of(getComputedStyle(document.querySelector(selector))[name]);
            return { paper: style('html', 'backgroundColor'), words: style('html', 'color'),
                     card: style('figure', 'backgroundColor'), tick: style('figure svg text', 'fill') };
        }"""
    )
    assert (brightness["paper"] < 60) == (scheme == "dark")
    assert abs(brightness["paper"] - brightness["words"]) > 150
    assert abs(brightness["card"] - brightness["tick"]) > 100
    page.close()


def test_it_is_read_on_a_phone_without_scrolling_sideways(browser: Browser, file: Path) -> None:
    page = opened(browser, file, [])
    page.set_viewport_size({"width": 380, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    page.close()
