"""Controls of the page of a run in a browser: charts, enlarged images and downloads."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest
from browser_pages import opened
from PIL import Image
from support import common, training_lines, write_log, write_run

from viceversa.reports import write_compare_page, write_run_page
from viceversa.reports.charts import y_axis
from viceversa.reports.study import write_study_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Path:
    return write_run_page(write_run(tmp_path_factory.mktemp("runs") / "example"))


@pytest.fixture(scope="module")
def long_page_file(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Path:
    """Write the page of a run with more log lines than points of a curve, and one peak."""
    run = tmp_path_factory.mktemp("runs") / "long"
    run.mkdir()
    lines = [
        common("train", i)
        | {"images_per_s": 2.0, "loss.g_l1": 2 + math.sin(i / 50), "loss.g_zero": 0}
        for i in range(1, 2001)
    ]
    lines[777]["loss.g_l1"] = 500.0
    for line in lines:
        line["grad_norm.generator"] = 1.0
    write_log(run, lines)
    return write_run_page(run)


def chart(page: Page, title: str) -> Locator:
    return page.locator(f'.chart[data-title="{title}"]')


def labels(figure: Locator, axis: str) -> list[str]:
    """Return the labels of an axis, from low to high."""
    spans = figure.locator(f"span.{axis}").all()
    side = "left" if axis == "x" else "top"
    at = [
        float(re.findall(rf"{side}: ?([\d.]+)%", one.get_attribute("style") or "")[0])
        for one in spans
    ]
    pairs = sorted(zip(at, (one.inner_text() for one in spans), strict=True), reverse=axis == "y")
    return [text for _, text in pairs]


def points(figure: Locator, line: int = 0) -> np.ndarray:
    """Return the drawn points of a line."""
    path = figure.locator(".line").nth(line).get_attribute("d") or ""
    return np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", path), float)


def test_controls_without_a_change_draw_the_same_chart(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as opened_page:
        page = opened_page.page
        for title in ("Generator", "Discriminator", "L1", "Learning rate", "Speed"):
            figure = chart(page, title)
            before = points(figure), labels(figure, "x"), labels(figure, "y")
            mark = figure.locator("span.mark")
            position = mark.bounding_box() if mark.count() else None
            page.get_by_label("x-axis").select_option("time")
            page.get_by_label("x-axis").select_option("images")
            assert points(figure) == pytest.approx(before[0], abs=0.11)
            assert (labels(figure, "x"), labels(figure, "y")) == before[1:]
            assert (mark.bounding_box() if mark.count() else None) == position
    assert opened_page.messages == []


@pytest.mark.slow
def test_smoothing_is_an_exponential_moving_average(browser: Browser, page_file: Path) -> None:
    values = [line["loss.d_real"] for line in training_lines(8000)]
    mean, expected = 0.0, []
    for i, value in enumerate(values, start=1):
        mean = 0.9 * mean + 0.1 * value
        expected.append(mean / (1 - 0.9**i))
    with opened(browser, page_file) as opened_page:
        page, figure = opened_page.page, chart(opened_page.page, "Discriminator")
        raw = points(figure)
        page.get_by_label("smoothing").fill("0.9")
        smooth = points(figure)
        scale = np.polyfit(raw[:, 1], values, 1)  # a linear axis
        assert np.polyval(scale, smooth[:, 1]) == pytest.approx(expected, rel=1e-2)
        assert figure.locator(".raw").count() == 2
        assert page.locator("output").inner_text() == "0.90"
        page.get_by_label("smoothing").fill("0")
        assert figure.locator(".raw").count() == 0
        assert points(figure) == pytest.approx(raw, abs=0.11)


def test_x_axis_of_epochs_and_training_time(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as opened_page:
        page, figure = opened_page.page, chart(opened_page.page, "Speed")
        assert labels(figure, "x") == ["0", "2k", "4k", "6k", "8k"]
        page.get_by_label("x-axis").select_option("epoch")
        assert labels(figure, "x") == ["0", "5", "10", "15", "20"]
        assert figure.locator(".unit").inner_text() == "epochs"
        figure.locator(".plot").focus()
        page.keyboard.press("ArrowLeft")
        assert figure.locator(".tip").inner_text().startswith("after 20 epochs")
        page.get_by_label("x-axis").select_option("time")  # 8,000 / 3 s
        assert labels(figure, "x") == ["0", "20", "40"]
        assert figure.locator(".unit").inner_text() == "minutes"
        assert points(figure)[-1, 0] == 1000


def test_y_axis_can_be_linear_or_logarithmic(browser: Browser, long_page_file: Path) -> None:
    with opened(browser, long_page_file) as opened_page:
        page, figure = opened_page.page, chart(opened_page.page, "Generator")
        automatic = labels(figure, "y")
        assert figure.locator(".logarithmic").is_hidden()
        page.get_by_label("y-axis").select_option("log")
        assert (
            labels(figure, "y") == ["1", "10", "100"]
            and figure.locator(".logarithmic").is_visible()
        )
        assert points(figure, 1)[0, 1] == 300  # zeros are at the bottom
        page.get_by_label("y-axis").select_option("linear")
        assert labels(figure, "y") == automatic
    assert opened_page.messages == []


def test_a_peak_between_two_points_stays_visible(browser: Browser, long_page_file: Path) -> None:
    with opened(browser, long_page_file) as opened_page:
        figure = chart(opened_page.page, "Generator")
        band = figure.locator(".band").first.get_attribute("d") or ""
        top = min(float(y) for y in re.findall(r"[\d.]+ ([\d.]+)", band))
        high = y_axis([0, 500]).high
        assert top == pytest.approx(300 * (1 - 500 / high), abs=0.1)
        box = figure.locator(".plot").bounding_box()
        assert box is not None
        opened_page.page.mouse.move(box["x"] + 778 / 2000 * box["width"], box["y"] + 50)
        assert re.search(r"g_l1  10\d(\.\d)? \(.* to 500\)", figure.locator(".tip").inner_text())


def test_chart_is_downloaded_as_csv_and_svg(
    browser: Browser, page_file: Path, tmp_path: Path
) -> None:
    with opened(browser, page_file) as opened_page:
        page = opened_page.page
        files = {}
        for kind in ("CSV", "SVG"):
            with page.expect_download() as download:
                page.get_by_role("button", name=f"download Generator as {kind}").click()
            assert download.value.suggested_filename == f"example-Generator.{kind.lower()}"
            download.value.save_as(tmp_path / kind)
            files[kind] = (tmp_path / kind).read_text()
    assert opened_page.messages == []
    assert all(url.startswith(("file:", "blob:")) for url in opened_page.requests)
    rows = list(csv.DictReader(io.StringIO(files["CSV"])))
    lines = training_lines(8000)
    assert list(rows[0]) == ["images", "epoch", "training_seconds", "g_l1", "g_gan"]
    assert [int(row["images"]) for row in rows] == [line["images"] for line in lines]
    assert [float(row["g_l1"]) for row in rows] == pytest.approx(
        [line["loss.g_l1"] for line in lines], rel=1e-4
    )
    assert float(rows[-1]["epoch"]) == 20
    tree = ElementTree.fromstring(files["SVG"])
    texts = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Generator", "g_l1", "g_gan", "8k", "images"} <= set(texts)
    assert len(list(tree.iter("{http://www.w3.org/2000/svg}path"))) == 3


@pytest.mark.parametrize("width", [390, 1280])
def test_chart_of_two_runs_with_one_line_each(browser: Browser, tmp_path: Path, width: int) -> None:
    """Points are visible dots, and labels of close values differ and stay in the card."""
    for name, loss in (("one", 0.1243101), ("two", 0.1243104)):
        (tmp_path / name).mkdir()
        write_log(tmp_path / name, [common("train", 40) | {"loss.g_l1": loss}])
    page_file = tmp_path / "page.html"
    write_compare_page([tmp_path / "one", tmp_path / "two"], page_file)
    with opened(browser, page_file, width=width) as opened_page:
        page, figure = opened_page.page, chart(opened_page.page, "g_l1")
        before = labels(figure, "y")
        assert len(set(before)) == len(before) > 2
        card = figure.bounding_box()
        assert card is not None
        for text in figure.locator("span.y").all():
            box = text.bounding_box()
            assert box is not None and box["x"] >= card["x"] - 4
        for dots in figure.locator(".dots").all():
            assert dots.evaluate("one => getComputedStyle(one).strokeWidth") == "8px"
        paths = [dots.get_attribute("d") for dots in figure.locator(".dots").all()]
        assert len(paths) == 2 and all(path and path.startswith("M500.0 ") for path in paths)
        page.get_by_label("y-axis").select_option("linear")
        assert labels(figure, "y") == before
        assert [dots.get_attribute("d") for dots in figure.locator(".dots").all()] == paths
        page.get_by_label("x-axis").select_option("time")  # both are at 0 s
        drawn = [dots.get_attribute("d") for dots in figure.locator(".dots").all()]
        assert all(path and path.startswith("M0.0 ") and "NaN" not in path for path in drawn)
    assert opened_page.messages == []


def test_a_run_without_a_log_does_not_remove_the_axes_of_others(
    browser: Browser, tmp_path: Path
) -> None:
    runs = [write_run(tmp_path / name) for name in ("one", "two")]
    empty = tmp_path / "empty"
    empty.mkdir()
    write_log(empty, [])
    page_file = tmp_path / "page.html"
    write_compare_page([*runs, empty], page_file)
    with opened(browser, page_file) as opened_page:
        select = opened_page.page.get_by_label("x-axis")
        assert select.inner_text().split("\n") == ["images", "epochs", "training time"]
        select.select_option("epoch")
        assert points(chart(opened_page.page, "g_l1"), 1)[-1, 0] == 1000
    assert opened_page.messages == []


@pytest.mark.parametrize("kind", ["compare", "study"])
def test_runs_of_different_speeds_over_training_time(
    browser: Browser, tmp_path: Path, kind: str
) -> None:
    """The second run takes twice as long: at 600 s it has processed half of the images."""
    for name, seconds in (("one", 1.0), ("two", 2.0)):
        (tmp_path / name).mkdir()
        lines = [
            common("train", i)
            | {"time": 1e9 + seconds * i, "loss.g_l1": i / 100, "images_per_s": 1}
            for i in range(10, 1201, 10)
        ]
        write_log(tmp_path / name, lines)
    page_file = tmp_path / "page.html"
    if kind == "compare":
        write_compare_page([tmp_path / "one", tmp_path / "two"], page_file)
    else:
        variants = {name: [tmp_path / name] for name in ("one", "two")}
        write_study_page(variants, [], [], page_file)
    with opened(browser, page_file) as opened_page:
        page, figure = opened_page.page, chart(opened_page.page, "g_l1")
        assert points(figure, 0)[-1, 0] == points(figure, 1)[-1, 0] == 1000
        assert "epochs" not in page.get_by_label("x-axis").inner_text()  # not known of these runs
        page.get_by_label("x-axis").select_option("time")
        assert points(figure, 0)[-1, 0] == pytest.approx(500, abs=3)
        assert points(figure, 1)[-1, 0] == 1000
        assert labels(figure, "x") == ["0", "10", "20", "30"]
        assert figure.locator(".unit").inner_text() == "minutes"
        box = figure.locator(".plot").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 50)
        words = figure.locator(".tip").inner_text().split("\n")
        values = {line.split()[0]: float(line.split()[1]) for line in words[1:]}
        assert words[0].startswith("after 10") and values["one"] == pytest.approx(6, abs=0.2)
        assert values["two"] == pytest.approx(3, abs=0.2)
        with page.expect_download() as download:
            page.get_by_role("button", name="download g_l1 as CSV").click()
        download.value.save_as(tmp_path / "csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "csv").read_text())))
    assert list(rows[0]) == ["images", "one training_seconds", "two training_seconds", "one", "two"]
    assert float(rows[-1]["two training_seconds"]) == pytest.approx(2400, abs=30)
    assert opened_page.messages == []


def open_viewer(page: Page) -> Locator:
    page.locator(".moment:visible .zoom").first.click(position={"x": 10, "y": 10})
    return page.get_by_role("dialog")


def canvas_pixels(page: Page) -> np.ndarray:
    """Return the pixels of the viewer's canvas, (h, w, 3)."""
    script = """() => {
      const canvas = document.querySelector(".viewer canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return [canvas.height, canvas.width, [...data]];
    }"""
    height, width, data = page.evaluate(script)
    return np.array(data, np.uint8).reshape(height, width, 4)[..., :3]


def cell(page_file: Path, row: int, column: int) -> np.ndarray:
    """Return a cell of the last sample grid."""
    grid = np.asarray(Image.open(page_file.parent / "samples" / "00008000.png"))
    return grid[2 + 98 * row : 98 + 98 * row, 2 + 98 * column : 98 + 98 * column]


def test_row_of_a_grid_is_enlarged_and_columns_are_compared(
    browser: Browser, page_file: Path
) -> None:
    with opened(browser, page_file) as opened_page:
        page, viewer = opened_page.page, open_viewer(opened_page.page)
        assert viewer.is_visible() and viewer.get_by_label("row").input_value() == "1"
        assert viewer.get_by_label("row").inner_text().split() == [
            "all",
            *(f"val/{i}.jpg" for i in range(4)),
        ]
        pixels = canvas_pixels(page)
        assert pixels.shape == (96, 292, 3) and (pixels[:, :96] == cell(page_file, 0, 0)).all()
        box = viewer.locator("canvas").bounding_box()
        assert box is not None and box["width"] > 1000
        viewer.get_by_label("row").select_option("3")
        viewer.get_by_label("view").select_option("swipe")
        output, target = cell(page_file, 2, 1), cell(page_file, 2, 2)
        pixels = canvas_pixels(page)
        assert (pixels[:, :46] == output[:, :46]).all() and (pixels[:, 50:] == target[:, 50:]).all()
        viewer.get_by_role("slider", name="swipe").focus()
        page.keyboard.press("Home")
        assert (canvas_pixels(page)[:, 2:] == target[:, 2:]).all()
        box = viewer.locator("canvas").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 5, box["y"] + 50)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 50)
        page.mouse.up()
        assert viewer.get_by_role("slider", name="swipe").input_value() == "75"
        assert (canvas_pixels(page)[:, :70] == output[:, :70]).all()
        viewer.get_by_label("view").select_option("difference")
        difference = abs(output.astype(int) - target)
        assert (canvas_pixels(page) == difference).all()
        note = re.search(r"mean ([\d.]+) of 255", viewer.locator(".note").inner_text())
        assert note and float(note[1]) == pytest.approx(difference.mean(), rel=1e-3)
        viewer.get_by_label("right").select_option("1")  # the translation itself
        assert canvas_pixels(page).max() == 0
    assert opened_page.messages == [] and len(opened_page.requests) == 1


def test_viewer_opens_by_key_and_closes_by_escape(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as opened_page:
        page, viewer = opened_page.page, opened_page.page.get_by_role("dialog")
        button = page.locator(".moment:visible .zoom").first
        button.focus()
        page.keyboard.press("Enter")
        assert viewer.is_visible() and canvas_pixels(page).shape[0] > 300  # all rows
        page.keyboard.press("Escape")
        assert not viewer.is_visible()
        assert page.evaluate("document.activeElement.className") == "zoom"
        open_viewer(page)
        viewer.get_by_role("button", name="close").click()
        assert not viewer.is_visible()
        page.locator(".moment:visible .zoom").nth(1).click()  # a patch map has no columns
        assert viewer.get_by_label("row").is_hidden() and viewer.get_by_label("view").is_hidden()
        assert canvas_pixels(page).shape[1] == 198
    assert opened_page.messages == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_viewer_fits_the_window(width: int, browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file, width=width) as opened_page:
        page, viewer = opened_page.page, open_viewer(opened_page.page)
        viewer.get_by_label("view").select_option("swipe")
        for element in viewer.locator("canvas, select:visible, input:visible, button").all():
            box = element.bounding_box()
            assert box is not None and box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["y"] + box["height"] <= page.evaluate("innerHeight")
