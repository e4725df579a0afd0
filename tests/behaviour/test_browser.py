"""Pages in a real browser: messages, requests, layout, charts and controls."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_pages import contrasts, line_pixels, opened, overflowing
from support import log_lines, noise_pairs, option_arguments, training_lines, write_run

from viceversa.cli import main
from viceversa.reports import write_run_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.timeout(120)
PAGES = ("example", "pix2pix", "cyclegan", "compare", "evaluate")
TINY = {
    "generator.width": 2,
    "discriminator.width": 2,
    "discriminator.layers": 1,
    "train.epochs": 2,
    "train.device": "cpu",
    "train.precision": "fp32",
    "train.log_every": 2,
    "train.sample_every": 4,
    "train.samples": 2,
    "data.load_size": 18,
    "data.crop_size": 16,
    "data.workers": 0,
    "validate.every": 4,
    "validate.health": 4,
}
METHOD_OPTIONS = {
    "pix2pix": {"generator.depth": 2, "train.ema": 0.9},
    "cyclegan": {"generator.blocks": 1},
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> dict[str, Path]:
    """Write a page of each kind; all but the first with the commands.

    Depends on the browser, so that nothing is trained without one.
    """
    folder = tmp_path_factory.mktemp("pages")
    noise_pairs(folder / "data" / "train", 6, 20)
    noise_pairs(folder / "data" / "val", 3, 20)
    for name, more in METHOD_OPTIONS.items():
        options = TINY | more | {"train.run": folder / name}
        main(["train", name, str(folder / "data"), *option_arguments(options)])
    main(["evaluate", str(folder / "pix2pix"), "--split", "val", "-o", str(folder / "numbers")])
    two = [str(folder / name) for name in METHOD_OPTIONS]
    main(["compare", *two, "-o", str(folder / "compare.html")])
    return {
        "example": write_run_page(write_run(folder / "example")),
        **{name: folder / name / "report.html" for name in METHOD_OPTIONS},
        "compare": folder / "compare.html",
        "evaluate": folder / "numbers" / "index.html",
    }


def log(page: Path, kind: str) -> list[dict[str, float]]:
    """Return the log lines of a kind, of the page's run."""
    return log_lines(page.parent, kind)


def chart(title: str) -> str:
    return f'.chart[data-title="{title}"]'


def write(path: Path, body: str) -> Path:
    path.write_text(f"<!DOCTYPE html><html><body>{body}</body></html>")
    return path


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_has_no_messages_no_requests_and_readable_text(
    name: str, scheme: str, browser: Browser, pages: dict[str, Path]
) -> None:
    with opened(browser, pages[name], color_scheme=scheme) as opened_page:
        opened_page.page.evaluate(
            "document.querySelectorAll('details').forEach(one => one.open = true)"
        )
        found = contrasts(opened_page.page)
        assert len(found) > 20
        assert {text: ratio for text, ratio in found.items() if ratio < 4.5} == {}
        sizes = opened_page.page.evaluate("[...document.images].map(one => one.naturalWidth)")
        assert sizes and all(sizes)
    assert opened_page.messages == [] and opened_page.requests == [pages[name].as_uri()]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_narrow_window(name: str, browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages[name], width=360) as opened_page:
        page = opened_page.page
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert overflowing(page) == []
        for plot in page.locator(".plot").all():  # tooltips at both ends and in the middle
            plot.scroll_into_view_if_needed()
            for position in (0.02, 0.49, 0.98):
                box = plot.bounding_box()
                assert box is not None and box["width"] > 200
                page.mouse.move(box["x"] + position * box["width"], box["y"] + box["height"] / 2)
                assert plot.locator(".tip").is_visible() and overflowing(page) == []


def test_color_schemes(browser: Browser, pages: dict[str, Path]) -> None:
    backgrounds = {}
    for scheme in ("light", "dark"):
        with opened(browser, pages["example"], color_scheme=scheme) as opened_page:
            background = opened_page.page.evaluate(
                "getComputedStyle(document.body).backgroundColor"
            )
            backgrounds[scheme] = [int(number) for number in re.findall(r"\d+", background)]
    assert min(backgrounds["light"]) > 200 and max(backgrounds["dark"]) < 60


@pytest.mark.parametrize("name", ["example", "pix2pix", "cyclegan"])
def test_curves_are_drawn_with_a_point_for_each_log_line(
    name: str, browser: Browser, pages: dict[str, Path]
) -> None:
    lines, validations = log(pages[name], "train"), log(pages[name], "validation")
    assert len(lines) >= 6 and len(validations) >= 3
    with opened(browser, pages[name]) as opened_page:
        assert opened_page.page.locator(".chart").count() >= 6
        for figure in opened_page.page.locator(".chart").all():
            title = figure.get_attribute("data-title")
            kind = figure.locator("xpath=ancestor::section/h2").inner_text()
            expected = validations if kind == "Validation" else lines
            assert min(line_pixels(figure)) > 40, title
            for line in figure.locator(".line").all():
                points = re.findall("[ML]", line.get_attribute("d") or "")
                assert len(points) == len(expected), title
                box = line.bounding_box()
                assert box is not None and box["width"] > 100, title
                assert line.evaluate("line => line.getTotalLength()") > 500, title


def test_the_tooltip_of_a_curve_shows_the_values_of_the_log(
    browser: Browser, pages: dict[str, Path]
) -> None:
    lines = log(pages["example"], "train")
    with opened(browser, pages["example"]) as opened_page:
        page, plot = opened_page.page, opened_page.page.locator(chart("Generator")).locator(".plot")
        tip = plot.locator(".tip")
        assert tip.is_hidden()
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        assert box is not None
        for line in (lines[0], lines[17], lines[-1]):
            position = line["images"] / lines[-1]["images"]
            page.mouse.move(box["x"] + position * box["width"] - 1, box["y"] + box["height"] / 2)
            losses = {name: line[f"loss.{name}"] for name in ("g_l1", "g_gan")}
            found = tip_values(tip.inner_text())
            assert found.pop(f"after {line['images']:,} images") is None
            assert found == pytest.approx(losses, rel=1e-3)
        page.mouse.move(0, 0)
        assert tip.is_hidden()


def test_arrow_keys_move_from_point_to_point(browser: Browser, pages: dict[str, Path]) -> None:
    lines = log(pages["example"], "train")
    with opened(browser, pages["example"]) as opened_page:
        page, plot = (
            opened_page.page,
            opened_page.page.locator(chart("Learning rate")).locator(".plot"),
        )
        plot.focus()
        for key, line in (
            ("ArrowLeft", lines[-1]),
            ("ArrowLeft", lines[-2]),
            ("ArrowLeft", lines[-3]),
            ("ArrowRight", lines[-2]),
        ):
            page.keyboard.press(key)
            assert tip_values(plot.locator(".tip").inner_text()) == {
                f"after {line['images']:,} images": None,
                "lr": pytest.approx(line["lr"], rel=1e-3),
            }
        assert page.locator(".moment:visible").get_attribute("data-images") == "8000"
        page.keyboard.press("Tab")
        assert plot.locator(".tip").is_hidden()


def test_a_shorter_curve_has_no_value_after_its_end(browser: Browser, tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"{last}", last=last, grids=0) for last in (2200, 4200)]
    main(["compare", *map(str, runs), "-o", str(tmp_path / "compare.html")])
    with opened(browser, tmp_path / "compare.html") as opened_page:
        plot = opened_page.page.locator(chart("g_l1")).locator(".plot")
        plot.focus()
        opened_page.page.keyboard.press("ArrowLeft")
        after = tip_values(plot.locator(".tip").inner_text())
        assert "after 4,200 images" in after and after["2200"] is None
        last = training_lines(4200)[-1]["loss.g_l1"]
        assert after["4200"] == pytest.approx(last, rel=1e-3)


def tip_values(text: str) -> dict[str, float | None]:
    """Return the rows of a tooltip: names, and values or None."""
    found: dict[str, float | None] = {}
    for line in text.splitlines():
        name, _, value = line.partition("  ")
        found[name] = float(value.replace(",", "")) if value and value != "–" else None
    return found


def visible_sample(page: Page) -> str:
    """Return the number of images of the sample grid that is visible."""
    (figure,) = page.locator(".moment:visible").all()
    caption = figure.locator("> figcaption").inner_text()
    images = figure.get_attribute("data-images") or ""
    assert caption == f"after {int(images):,} images"
    return images


@pytest.mark.parametrize("name", ["example", "pix2pix"])
def test_the_slider_selects_the_sample_grid(
    name: str, browser: Browser, pages: dict[str, Path]
) -> None:
    files = sorted((pages[name].parent / "samples").glob("*.png"))
    sample_images = [str(int(path.stem)) for path in files]
    assert len(sample_images) > 3
    with opened(browser, pages[name]) as opened_page:
        page, slider = (
            opened_page.page,
            opened_page.page.get_by_role("slider", name="images processed"),
        )
        assert visible_sample(page) == sample_images[-1]
        page.keyboard.press("ArrowLeft")  # works without focus
        assert visible_sample(page) == sample_images[-2]
        slider.focus()
        page.keyboard.press("ArrowLeft")
        assert visible_sample(page) == sample_images[-3]
        page.keyboard.press("End")
        assert visible_sample(page) == sample_images[-1]
        box = slider.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 3, box["y"] + box["height"] / 2)
        assert visible_sample(page) == sample_images[0]
        assert slider.get_attribute("aria-valuetext") == f"after {int(sample_images[0]):,} images"
        page.mouse.move(box["x"] + 3, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2, steps=4)
        page.mouse.up()
        assert visible_sample(page) == sample_images[-1]
    assert opened_page.messages == []


def test_the_button_plays_to_the_end_and_stops(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["example"]) as opened_page:
        page = opened_page.page
        page.clock.install()  # the test sets the time of the page
        page.reload()
        page.get_by_role("button", name="play").click()
        samples = [visible_sample(page)]
        for _ in range(4):
            page.clock.run_for(700)
            samples.append(visible_sample(page))
        assert samples == ["0", "2000", "4000", "6000", "8000"]
        page.clock.run_for(700)
        page.get_by_role("button", name="play").click()
        page.clock.run_for(700)
        page.get_by_role("button", name="stop").click()
        page.clock.run_for(7000)
        assert visible_sample(page) == "2000"
    assert opened_page.messages == []


def test_the_slider_stays_visible_when_scrolling(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["example"], width=1000) as opened_page:
        page = opened_page.page
        image = page.locator(".moment:visible img").first
        image.evaluate("one => window.scrollTo(0, one.getBoundingClientRect().top + 200)")
        top, slider = (
            image.bounding_box(),
            page.get_by_role("slider", name="images processed").bounding_box(),
        )
        assert top is not None and top["y"] == pytest.approx(-200, abs=2)
        assert slider is not None and 0 <= slider["y"] < 40
        caption = page.locator(".moment:visible > figcaption").bounding_box()
        assert caption is not None and slider["y"] < caption["y"] < 80


# -- controls: the checks above detect problems


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("<script>nowhere()</script>", "nowhere is not defined"),
        ("<script>console.warn('careful')</script>", "warning: careful"),
        ("<script>setTimeout(() => { throw new Error('late') })</script>", "late"),
    ],
)
def test_errors_are_detected(body: str, message: str, browser: Browser, tmp_path: Path) -> None:
    with opened(browser, write(tmp_path / "page.html", body)) as opened_page:
        opened_page.page.evaluate("new Promise(done => setTimeout(done))")
    assert any(message in one for one in opened_page.messages)


@pytest.mark.parametrize(
    "body",
    [
        '<img src="http://127.0.0.1:9/x.png">',
        '<script src="http://127.0.0.1:9/x.png"></script>',
        "<script>fetch('http://127.0.0.1:9/x.png').catch(() => 0)</script>",
        "<style>body { background: url(http://127.0.0.1:9/x.png) }</style>",
    ],
)
def test_requests_are_detected(body: str, browser: Browser, tmp_path: Path) -> None:
    with opened(browser, write(tmp_path / "page.html", body)) as opened_page:
        opened_page.page.wait_for_load_state()
    assert "http://127.0.0.1:9/x.png" in opened_page.requests


def test_a_page_blocks_injected_images_and_scripts(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    text = pages["example"].read_text()
    injected = (
        '<img src="http://127.0.0.1:9/x.png"><script>document.title = "other"</script></body>'
    )
    (tmp_path / "image.html").write_text(text.replace("</body>", injected))
    with opened(browser, tmp_path / "image.html") as opened_page:
        assert opened_page.page.title() == "example – viceversa"
    assert (
        opened_page.failures == ["http://127.0.0.1:9/x.png: csp"] and len(opened_page.messages) == 2
    )
    assert all("Content Security Policy" in one for one in opened_page.messages)


def test_a_page_without_its_script_does_not_react(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    text = pages["example"].read_text()
    assert text.count('"use strict";') == 1
    (tmp_path / "page.html").write_text(text.replace('"use strict";', '"use strict" ;'))
    with opened(browser, tmp_path / "page.html") as opened_page:
        assert visible_sample(opened_page.page) == "8000"
        opened_page.page.keyboard.press("ArrowLeft")
        assert visible_sample(opened_page.page) == "8000" and opened_page.messages


def test_invisible_curves_are_detected(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    text = pages["example"].read_text()
    (tmp_path / "page.html").write_text(text.replace("</style>", ".line { opacity: 0 }</style>"))
    with opened(browser, tmp_path / "page.html") as opened_page:
        assert max(line_pixels(opened_page.page.locator(chart("Discriminator")))) < 40


def test_low_contrast_and_overflow_are_detected(browser: Browser, tmp_path: Path) -> None:
    body = (
        '<p style="color: #777">grey on white</p><p style="color: #767676">a little darker</p>'
        '<div style="background: #000"><p style="color: #fff">white on black</p></div>'
    )
    with opened(browser, write(tmp_path / "page.html", body)) as opened_page:
        found = contrasts(opened_page.page)
        assert found["grey on white"] == pytest.approx(4.48, abs=0.01)  # from the WCAG formula
        assert found["a little darker"] == pytest.approx(4.54, abs=0.01)
        assert found["white on black"] == pytest.approx(21) and overflowing(opened_page.page) == []
    wide = '<p style="width: 900px">wide</p>'
    for body, expected in ((wide, 2), (f'<div style="overflow-x: auto">{wide}</div>', 0)):
        with opened(browser, write(tmp_path / "page.html", body), width=360) as opened_page:
            assert len(overflowing(opened_page.page)) == expected
