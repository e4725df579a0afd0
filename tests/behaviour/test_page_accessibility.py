"""axe-core finds no accessibility problem on any page, and pages write nothing to the console."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_pages import opened
from support import noise_pairs, write_run

from viceversa.cli import main
from viceversa.reports import write_compare_page, write_run_page, write_study_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]
PAGES = ("run", "evaluation", "compare", "study")
TABLE = [
    ["metric", "variant", "mean", "95 % interval", "difference", "p"],
    ["L1", "low", "0.265", "0.251 to 0.279", "", ""],
    ["L1", "high", "0.281", "0.264 to 0.298", "0.016 (0.004 to 0.028)", "0.03"],
]


@pytest.fixture(scope="module")
def axe() -> Path:
    """Return the script of axe-core, or skip the test if it is not installed."""
    package = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    return Path(package.__file__).with_name("axe.min.js")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> dict[str, Path]:
    """Write a page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    runs = [write_run(folder / name, seed=i) for i, name in enumerate(("low", "high"))]
    write_compare_page(runs, folder / "compare.html")
    variants = {run.name: [run] for run in runs}
    write_study_page(variants, TABLE, ["tie: no difference was detected"], folder / "study.html")
    data = noise_pairs(folder / "data", 8, 40)
    images = [str(data / "A"), str(data / "B")]
    main(["evaluate", *images, "--metrics", "l1", "ssim", "-o", str(folder / "evaluation")])
    return {
        "run": write_run_page(runs[0]),
        "evaluation": folder / "evaluation" / "index.html",
        "compare": folder / "compare.html",
        "study": folder / "study.html",
    }


def findings(page: Page, part: str) -> list[tuple[str, str]]:
    """Return the findings of axe-core in a part of the page: rule and element."""
    found = page.evaluate("(part) => axe.run(part)", part)
    return [(one["id"], node["html"]) for one in found["violations"] for node in one["nodes"]]


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_problem(
    name: str, width: int, browser: Browser, pages: dict[str, Path], axe: Path
) -> None:
    with opened(browser, pages[name], width, bypass_csp=True) as opened_page:
        page = opened_page.page
        page.add_script_tag(path=axe)
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        for part in ("main", "dialog"):
            if part == "dialog":
                page.locator(".zoom:visible").first.click()
                assert page.get_by_role("dialog").is_visible()
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                assert findings(page, part) == []
    assert opened_page.messages == []


def test_an_accessibility_problem_is_detected(
    browser: Browser, pages: dict[str, Path], axe: Path
) -> None:
    with opened(browser, pages["study"], bypass_csp=True) as opened_page:
        page = opened_page.page
        page.add_script_tag(path=axe)
        page.locator(".chart-controls label").last.evaluate(
            "label => label.replaceWith(label.querySelector('select'))"
        )
        assert {name for name, _ in findings(page, "main")} == {"select-name"}
