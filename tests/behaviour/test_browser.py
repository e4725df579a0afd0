"""Pages in a real browser: what they say, ask for and show, and that they move when used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import noise_pairs, training_lines, write_run
from watched_pages import ARGUMENTS, CHROMIUM, beyond, contrasts, painted, watched

from viceversa.cli import main
from viceversa.reports import write_run_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.timeout(120)
PAGES = ("made", "pix2pix", "cyclegan", "compare", "evaluate")
TINY = {
    "generator.width": 2, "discriminator.width": 2, "discriminator.layers": 1, "train.epochs": 2,
    "train.device": "cpu", "train.log_every": 2, "train.sample_every": 4, "train.samples": 2,
    "data.load_size": 18, "data.crop_size": 16, "data.workers": 0, "validate.every": 4,
    "validate.health": 4,
}  # fmt: skip
OF_METHOD = {
    "pix2pix": {"generator.depth": 2, "train.ema": 0.9}, "cyclegan": {"generator.blocks": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    library = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with library.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> dict[str, Path]:
    """A page of each kind. But for the first, made by hand, they are of runs as commands do them.

    They ask for the browser, so that where there is none nothing is trained.
    """
    folder = tmp_path_factory.mktemp("pages")
    noise_pairs(folder / "data" / "train", 6, 20)
    noise_pairs(folder / "data" / "val", 3, 20)
    for name, more in OF_METHOD.items():
        options = TINY | more | {"train.run": folder / name}
        said = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
        main(["train", name, str(folder / "data"), *said])
    main(["evaluate", str(folder / "pix2pix"), "--split", "val", "-o", str(folder / "numbers")])
    two = [str(folder / name) for name in OF_METHOD]
    main(["compare", *two, "-o", str(folder / "compare.html")])
    return {
        "made": write_run_page(write_run(folder / "made")),
        **{name: folder / name / "report.html" for name in OF_METHOD},
        "compare": folder / "compare.html",
        "evaluate": folder / "numbers" / "index.html",
    }


def log(page: Path, kind: str) -> list[dict[str, float]]:
    """What the log of a page's run holds of one kind."""
    lines = map(json.loads, (page.parent / "log.jsonl").read_text().splitlines())
    return [line for line in lines if kind in line]


def chart(title: str) -> str:
    return f'.chart[data-title="{title}"]'


def write(path: Path, body: str) -> Path:
    path.write_text(f"<!DOCTYPE html><html><body>{body}</body></html>")
    return path


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_quiet_alone_and_readable(
    name: str, scheme: str, browser: Browser, pages: dict[str, Path]
) -> None:
    with watched(browser, pages[name], color_scheme=scheme) as seen:
        seen.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        found = contrasts(seen.page)
        assert len(found) > 20
        assert {text: ratio for text, ratio in found.items() if ratio < 4.5} == {}
        sizes = seen.page.evaluate("[...document.images].map(one => one.naturalWidth)")
        assert sizes and all(sizes)
    assert seen.said == [] and seen.asked == [pages[name].as_uri()]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_narrow_window(name: str, browser: Browser, pages: dict[str, Path]) -> None:
    with watched(browser, pages[name], width=360) as seen:
        page = seen.page
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert beyond(page) == []
        for plot in page.locator(".plot").all():  # the words at a point, at either end
            plot.scroll_into_view_if_needed()
            for share in (0.02, 0.49, 0.98):
                box = plot.bounding_box()
                assert box is not None and box["width"] > 200
                page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
                assert plot.locator(".tip").is_visible() and beyond(page) == []


def test_dark_is_dark_and_light_is_light(browser: Browser, pages: dict[str, Path]) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        with watched(browser, pages["made"], color_scheme=scheme) as seen:
            ground = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
            grounds[scheme] = [int(number) for number in re.findall(r"\d+", ground)]
    assert min(grounds["light"]) > 200 and max(grounds["dark"]) < 60


@pytest.mark.parametrize("name", ["made", "pix2pix", "cyclegan"])
def test_curves_are_drawn_and_have_a_point_for_each_line_of_the_log(
    name: str, browser: Browser, pages: dict[str, Path]
) -> None:
    lines, looks = log(pages[name], "losses"), log(pages[name], "validation")
    assert len(lines) >= 6 and len(looks) >= 3
    with watched(browser, pages[name]) as seen:
        assert seen.page.locator(".chart").count() >= 6
        for figure in seen.page.locator(".chart").all():
            title = figure.get_attribute("data-title")
            kind = figure.locator("xpath=ancestor::section/h2").inner_text()
            wanted = looks if kind == "Validation" else lines
            assert min(painted(figure)) > 40, title
            for line in figure.locator(".line").all():
                points = re.findall("[ML]", line.get_attribute("d") or "")
                assert len(points) == len(wanted), title
                box = line.bounding_box()
                assert box is not None and box["width"] > 100, title
                assert line.evaluate("line => line.getTotalLength()") > 500, title


def test_pointing_at_a_curve_tells_the_numbers_of_the_log(
    browser: Browser, pages: dict[str, Path]
) -> None:
    lines = log(pages["made"], "losses")
    with watched(browser, pages["made"]) as seen:
        page, plot = seen.page, seen.page.locator(chart("Generator")).locator(".plot")
        tip = plot.locator(".tip")
        assert tip.is_hidden()
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        assert box is not None
        for line in (lines[0], lines[17], lines[-1]):
            share = line["images"] / lines[-1]["images"]
            page.mouse.move(box["x"] + share * box["width"] - 1, box["y"] + box["height"] / 2)
            losses = {name: line["losses"][name] for name in ("g_l1", "g_gan")}
            found = told(tip.inner_text())
            assert found.pop(f"after {line['images']:,} images") is None
            assert found == pytest.approx(losses, rel=1e-3)
        page.mouse.move(0, 0)
        assert tip.is_hidden()


def test_arrow_keys_go_from_point_to_point(browser: Browser, pages: dict[str, Path]) -> None:
    lines = log(pages["made"], "losses")
    with watched(browser, pages["made"]) as seen:
        page, plot = seen.page, seen.page.locator(chart("Learning rate")).locator(".plot")
        plot.focus()
        for key, line in (("ArrowLeft", lines[-1]), ("ArrowLeft", lines[-2]),
                          ("ArrowLeft", lines[-3]), ("ArrowRight", lines[-2])):  # fmt: skip
            page.keyboard.press(key)
            assert told(plot.locator(".tip").inner_text()) == {
                f"after {line['images']:,} images": None,
                "lr": pytest.approx(line["lr"], rel=1e-3),
            }
        assert page.locator(".moment:visible").get_attribute("data-images") == "8000"
        page.keyboard.press("Tab")
        assert plot.locator(".tip").is_hidden()


def test_a_line_that_has_ended_tells_nothing_more(browser: Browser, tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"{last}", last=last, grids=0) for last in (2200, 4200)]
    main(["compare", *map(str, runs), "-o", str(tmp_path / "compare.html")])
    with watched(browser, tmp_path / "compare.html") as seen:
        plot = seen.page.locator(chart("g_l1")).locator(".plot")
        plot.focus()
        seen.page.keyboard.press("ArrowLeft")
        after = told(plot.locator(".tip").inner_text())
        assert "after 4,200 images" in after and after["2200"] is None
        last = training_lines(4200)[-1]["losses"]["g_l1"]
        assert after["4200"] == pytest.approx(last, rel=1e-3)


def told(text: str) -> dict[str, float | None]:
    """The words at a point: names, and numbers where there are such."""
    found: dict[str, float | None] = {}
    for line in text.splitlines():
        name, _, value = line.partition("  ")
        found[name] = float(value.replace(",", "")) if value and value != "–" else None
    return found


def moment(page: Page) -> str:
    """Images seen at the one sheet that is shown."""
    (figure,) = page.locator(".moment:visible").all()
    caption = figure.locator("figcaption").inner_text()
    images = figure.get_attribute("data-images") or ""
    assert caption == f"after {int(images):,} images"
    return images


@pytest.mark.parametrize("name", ["made", "pix2pix"])
def test_the_slider_moves_through_the_samples(
    name: str, browser: Browser, pages: dict[str, Path]
) -> None:
    sheets = sorted((pages[name].parent / "samples").glob("*.png"))
    moments = [str(int(path.stem)) for path in sheets]
    assert len(moments) > 3
    with watched(browser, pages[name]) as seen:
        page, slider = seen.page, seen.page.get_by_role("slider")
        assert moment(page) == moments[-1]
        page.keyboard.press("ArrowLeft")  # wherever the page is
        assert moment(page) == moments[-2]
        slider.focus()
        page.keyboard.press("ArrowLeft")
        assert moment(page) == moments[-3]
        page.keyboard.press("End")
        assert moment(page) == moments[-1]
        box = slider.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 3, box["y"] + box["height"] / 2)
        assert moment(page) == moments[0]
        assert slider.get_attribute("aria-valuetext") == f"after {int(moments[0]):,} images"
        page.mouse.move(box["x"] + 3, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2, steps=4)
        page.mouse.up()
        assert moment(page) == moments[-1]
    assert seen.said == []


def test_the_button_plays_to_the_end_and_stops(browser: Browser, pages: dict[str, Path]) -> None:
    with watched(browser, pages["made"]) as seen:
        page = seen.page
        page.clock.install()  # the page's time is ours
        page.reload()
        page.get_by_role("button", name="play").click()
        shown = [moment(page)]
        for _ in range(4):
            page.clock.run_for(700)
            shown.append(moment(page))
        assert shown == ["0", "2000", "4000", "6000", "8000"]
        page.clock.run_for(700)
        page.get_by_role("button", name="play").click()
        page.clock.run_for(700)
        page.get_by_role("button", name="stop").click()
        page.clock.run_for(7000)
        assert moment(page) == "2000"
    assert seen.said == []


def test_what_moves_the_samples_stays_in_sight(browser: Browser, pages: dict[str, Path]) -> None:
    with watched(browser, pages["made"], width=1000) as seen:
        page = seen.page
        image = page.locator(".moment:visible img").first
        image.evaluate("one => window.scrollTo(0, one.getBoundingClientRect().top + 200)")
        top, slider = image.bounding_box(), page.get_by_role("slider").bounding_box()
        assert top is not None and top["y"] == pytest.approx(-200, abs=2)
        assert slider is not None and 0 <= slider["y"] < 40
        caption = page.locator(".moment:visible figcaption").bounding_box()
        assert caption is not None and slider["y"] < caption["y"] < 80


# What the tests above would not be worth without: that the same eyes see what is wrong.


@pytest.mark.parametrize(("body", "said"), [
    ("<script>nowhere()</script>", "nowhere is not defined"),
    ("<script>console.warn('careful')</script>", "warning: careful"),
    ("<script>setTimeout(() => { throw new Error('late') })</script>", "late"),
])  # fmt: skip
def test_errors_are_noticed(body: str, said: str, browser: Browser, tmp_path: Path) -> None:
    with watched(browser, write(tmp_path / "page.html", body)) as seen:
        seen.page.evaluate("new Promise(done => setTimeout(done))")
    assert any(said in one for one in seen.said)


@pytest.mark.parametrize("body", [
    '<img src="http://127.0.0.1:9/x.png">', '<script src="http://127.0.0.1:9/x.png"></script>',
    "<script>fetch('http://127.0.0.1:9/x.png').catch(() => 0)</script>",
    "<style>body { background: url(http://127.0.0.1:9/x.png) }</style>",
])  # fmt: skip
def test_requests_are_noticed(body: str, browser: Browser, tmp_path: Path) -> None:
    with watched(browser, write(tmp_path / "page.html", body)) as seen:
        seen.page.wait_for_load_state()
    assert "http://127.0.0.1:9/x.png" in seen.asked


def test_a_page_of_ours_lets_in_nothing_that_is_put_into_it(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    text = pages["made"].read_text()
    held = '<img src="http://127.0.0.1:9/x.png"><script>document.title = "other"</script></body>'
    (tmp_path / "image.html").write_text(text.replace("</body>", held))
    with watched(browser, tmp_path / "image.html") as seen:
        assert seen.page.title() == "made – viceversa"
    assert seen.refused == ["http://127.0.0.1:9/x.png: csp"] and len(seen.said) == 2
    assert all("Content Security Policy" in one for one in seen.said)


def test_a_page_whose_script_does_not_run_stands_still(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    text = pages["made"].read_text()
    assert text.count('"use strict";') == 1
    (tmp_path / "page.html").write_text(text.replace('"use strict";', '"use strict" ;'))
    with watched(browser, tmp_path / "page.html") as seen:
        assert moment(seen.page) == "8000"
        seen.page.keyboard.press("ArrowLeft")
        assert moment(seen.page) == "8000" and seen.said


def test_what_is_not_painted_is_noticed(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    text = pages["made"].read_text()
    (tmp_path / "page.html").write_text(text.replace("</style>", ".line { opacity: 0 }</style>"))
    with watched(browser, tmp_path / "page.html") as seen:
        assert max(painted(seen.page.locator(chart("Discriminator")))) < 40


def test_what_is_hard_to_read_or_too_wide_is_noticed(browser: Browser, tmp_path: Path) -> None:
    body = (
        '<p style="color: #777">grey on white</p><p style="color: #767676">a little darker</p>'
        '<div style="background: #000"><p style="color: #fff">white on black</p></div>'
    )
    with watched(browser, write(tmp_path / "page.html", body)) as seen:
        found = contrasts(seen.page)
        assert found["grey on white"] == pytest.approx(4.48, abs=0.01)  # as WCAG has it
        assert found["a little darker"] == pytest.approx(4.54, abs=0.01)
        assert found["white on black"] == pytest.approx(21) and beyond(seen.page) == []
    wide = '<p style="width: 900px">wide</p>'
    for body, notices in ((wide, 2), (f'<div style="overflow-x: auto">{wide}</div>', 0)):
        with watched(browser, write(tmp_path / "page.html", body), width=360) as seen:
            assert len(beyond(seen.page)) == notices
