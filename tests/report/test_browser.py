"""The page in a real browser, where there is one: `pip install playwright`, and a Chromium on the path. The
accessibility check needs axe-core, too: ARCHCMP_AXE is the path of its axe.min.js."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archcmp.report.page.page import page as html_of
from archcmp.results.store import read, to_text
from tests.report.test_page import renamed
from tests.results.test_store import FOLDER

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = os.environ.get("ARCHCMP_AXE")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

WIDTHS = (360, 1280, 1920)
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of one document, of several, and of one with hostile names, by their kind."""
    comparison, grid = (read(FOLDER / name) for name in ("comparison-2.json", "grid-2.json"))
    hostile = renamed(comparison, "</script><script>document.title = 'owned'</script>" + "x" * 300)
    texts = {"one": html_of([("", comparison)])}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("archcmp.report.page.pictures.kinds_of", lambda doc: [])  # plots take long
        texts["several"] = html_of([("comparison-2.json", comparison), ("grid-2.json", grid)])
        texts["hostile"] = html_of([("", hostile)])
    folder = tmp_path_factory.mktemp("pages")
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text)
    return {name: folder / f"{name}.html" for name in texts}


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path]) -> Iterator[Any]:
    """What opens a page: no console error and no request of the network is forgiven."""
    contexts: list[Any] = []
    wrong: list[str] = []

    def asked(request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            wrong.append(request.url)

    def open_page(name: str, **options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        tab = contexts[-1].new_page()
        tab.on("request", asked)
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.goto(pages[name].as_uri())
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


@pytest.mark.parametrize("name", ["one", "several", "hostile"])
def test_a_page_is_shown_at_every_width_and_in_both_schemes(name: str, opened: Any) -> None:
    tab = opened(name)
    title, pictures = tab.title(), set()
    assert title != "owned" and tab.locator("h1").inner_text().startswith(title[:40])
    for scheme in SCHEMES:
        tab.emulate_media(color_scheme=scheme)
        for width in WIDTHS:
            tab.set_viewport_size({"width": width, "height": 800})
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, "scrolls to the side"
            pictures.add(tab.screenshot())
    blank = tab.context.new_page()
    blank.set_viewport_size({"width": 1280, "height": 800})
    assert len(pictures) == len(WIDTHS) * len(SCHEMES)
    assert min(map(len, pictures)) > 2 * len(blank.screenshot())


def test_a_drawing_takes_the_width_of_the_page_or_a_model_that_of_a_phone(opened: Any) -> None:
    tab = opened("one")
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 800})
        outer, inner = tab.evaluate(
            "['figure', 'figure > svg'].map(e => document.querySelector(e).clientWidth)"
        )
        assert inner <= outer if width > 1000 else inner >= 320


def _column(tab: Any, table: int, column: int) -> list[tuple[int, str]]:
    return tab.evaluate(  # type: ignore[no-any-return]
        "([table, column]) => [...document.querySelectorAll('table')[table].tBodies[0].rows].map("
        "row => [Number(row.dataset.level), row.cells[column].dataset.value ?? row.cells[column].innerText])",
        [table, column],
    )


def test_a_click_sorts_a_table_and_parts_stay_below_their_whole(opened: Any) -> None:
    tab = opened("one")
    titles = tab.locator("details:has(table) > summary").all_inner_texts()
    table = titles.index("Parameters")
    before = _column(tab, table, 1)
    button = tab.locator("table").nth(table).locator("thead button").nth(1)
    for way, sign in (("ascending", 1), ("descending", -1)):
        button.click()
        assert button.locator("..").get_attribute("aria-sort") == way
        after = _column(tab, table, 1)
        assert sorted(after) == sorted(before) and after != before
        parts = [float(value) for level, value in after if level == 1 and value not in ("-", "")]
        assert after[0] == before[0] and parts == sorted(parts, key=lambda value: sign * value)
    button.click()
    assert _column(tab, table, 1) == before and button.locator("..").get_attribute("aria-sort") is None


def test_sections_fold_and_the_document_is_saved(opened: Any, tmp_path: Path) -> None:
    tab = opened("one", accept_downloads=True)
    first = tab.locator("details").first
    first.locator("summary").click()
    assert first.get_attribute("open") is None
    tab.get_by_role("link", name="Raw document").click()
    with tab.expect_download() as download:
        tab.locator("button.save").click()
    assert download.value.suggested_filename == "comparison.json"
    download.value.save_as(tmp_path / "saved.json")
    assert (tmp_path / "saved.json").read_text() == to_text(read(FOLDER / "comparison-2.json"))


def test_everything_is_there_without_scripts_and_on_paper(opened: Any) -> None:
    tab = opened("one", java_script_enabled=False)
    assert tab.locator("th button").count() == 0 and not tab.locator("button.save").is_visible()
    assert all(table.is_visible() for table in tab.locator("table").all())
    tab.locator("details.raw > summary").click()
    assert json.loads(tab.locator("pre.data").inner_text())["kind"] == "comparison"
    assert len(tab.pdf()) > 10_000


@pytest.mark.skipif(AXE is None, reason="ARCHCMP_AXE names no axe.min.js")
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["one", "several"])
def test_axe_finds_nothing_serious(name: str, scheme: str, opened: Any) -> None:
    tab = opened(name, color_scheme=scheme, viewport={"width": 360, "height": 800})
    tab.evaluate(Path(str(AXE)).read_text())
    found = tab.evaluate("axe.run().then(results => results.violations)")
    assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == []
