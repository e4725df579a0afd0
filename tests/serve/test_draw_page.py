"""Test the page in a browser: drawing, images, results, errors and accessibility."""

from __future__ import annotations

import base64
import io
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser_pages import OpenPage, canvas_pixels, contrasts, opened, overflowing
from page_service import PAGE, PageService, model, serving
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]
COLOURS = ["#000080", "#ff0000", "#00ff00"]
SKY, WALL, TREE = ([0, 0, 128], [255, 0, 0], [0, 255, 0])
LABELS = {"kind": "labels", "classes": COLOURS, "class_names": ["sky", "wall", "tree"]}
INDICES = {"kind": "labels", "channels": 1}
MODELS = [
    model("labels", LABELS),
    model("ab", other="ba", patch_map=True),
    model("ba", other="ab"),
    model("indices", INDICES | {"ids": 3}, target=INDICES | {"ids": 256}, examples=["1", "2"]),
    model("grey", {"channels": 1}, multiple=8, trained_size=[62, 62]),
    model("thick", {"channels": 7}),
]


@pytest.fixture(scope="module")
def service(browser: Browser) -> Iterator[PageService]:
    with serving(PageService(MODELS)) as running:
        yield running


@pytest.fixture(scope="module")
def window(browser: Browser, service: PageService) -> Iterator[OpenPage]:
    with opened(browser, service.address, permissions=["camera"]) as opened_page:
        yield opened_page


@pytest.fixture
def page(window: OpenPage, service: PageService) -> Iterator[Page]:
    """Return the page with an empty drawing of a label map; it must not write to the console."""
    choose(window.page, "labels")
    service.received.clear()
    window.messages.clear()
    yield window.page
    assert window.messages == []


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


PATCH_MAP = {
    "map": [3, 2],
    "mean_value": 0.25,
    "real_fraction": 0.125,
    "meaning": "the probability that it is real",
    "image": base64.b64encode(png(np.full((8, 8, 3), (255, 128, 0), np.uint8))).decode(),
}


def choose(page: Page, name: str) -> None:
    """Empty the drawing and choose a model."""
    page.keyboard.press("Delete")
    page.locator("#model").select_option(name)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("p")


def pixels(page: Page, canvas: str = "input") -> np.ndarray:
    return canvas_pixels(page.locator(f"#{canvas}"))


def stroke(page: Page, *points: tuple[float, float]) -> None:
    """Draw from point to point; x and y are fractions of the drawing."""
    box = page.locator("#input").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()


def translated(page: Page, service: PageService, count: int) -> np.ndarray:
    """Wait for the result of the request with this number; return its pixels."""
    page.get_by_text("pixels in").wait_for()
    assert len(service.received) == count
    return pixels(page, "output")


def draw_square(page: Page) -> None:
    """Draw the outline of a square by lines, 4 pixels wide, from 16 to 48, with class 2."""
    page.locator("#width").fill("4")
    page.get_by_label("wall").check(force=True)
    page.keyboard.press("l")
    corners = [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75), (0.25, 0.25)]
    for one, other in itertools.pairwise(corners):
        stroke(page, one, other)


def test_a_stroke_is_translated_as_the_pen_lifts(page: Page, service: PageService) -> None:
    page.get_by_label("tree").check(force=True)
    page.locator("#width").fill("8")
    stroke(page, (0.25, 0.5), (0.75, 0.5))
    result = translated(page, service, 1)
    name, sent = service.received[0]
    assert name == "labels" and sent.shape == (64, 64, 3)
    # Hard edges: only colours of classes; a bar of 8 rows from x = 16 to 48 with round ends.
    assert (sent[28:36, 17:47] == TREE).all() and (sent[:27] == SKY).all()
    assert (
        (sent[37:] == SKY).all() and (sent[32, :11] == SKY).all() and (sent[32, 13] == TREE).all()
    )
    assert {tuple(colour) for colour in sent.reshape(-1, 3)} == {tuple(SKY), tuple(TREE)}
    assert (pixels(page) == sent).all() and (result == 255 - sent).all()
    assert page.locator("#status").get_attribute("role") == "status"


def test_bucket_undo_and_redo(page: Page, service: PageService) -> None:
    draw_square(page)
    outline = pixels(page)
    assert (outline[14:50, 14:50] == WALL).all(axis=2).sum() > 4 * 4 * 30
    page.keyboard.press("b")
    page.keyboard.press("3")  # the third class
    stroke(page, (0.5, 0.5))
    filled = pixels(page)
    assert (filled[18:46, 18:46] == TREE).all()  # inside of the outline
    changed = (filled != outline).any(axis=2)
    assert changed.sum() == 28 * 28 and (outline[changed] == SKY).all()
    page.get_by_role("button", name="Undo").click()
    assert (pixels(page) == outline).all()
    for _ in range(4):
        page.keyboard.press("Control+z")
    assert (pixels(page) == SKY).all() and page.locator("#empty").is_visible()
    page.get_by_role("button", name="Redo").click()
    for _ in range(4):
        page.keyboard.press("Control+y")
    assert (pixels(page) == filled).all()
    page.get_by_text("pixels in").wait_for()
    assert (service.received[-1][1] == filled).all()


def test_eraser_and_clear(page: Page, service: PageService) -> None:
    draw_square(page)
    page.keyboard.press("e")
    page.locator("#width").fill("40")
    stroke(page, (0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9), (0.1, 0.1))
    assert (pixels(page) == SKY).all()
    translated(page, service, 5)  # an erased drawing is a drawing
    page.keyboard.press("Delete")
    assert page.locator("#empty").is_visible() and page.locator("#save").is_disabled()
    page.keyboard.press("Control+z")
    translated(page, service, 6)


def test_drawing_by_keyboard(page: Page, service: PageService) -> None:
    page.keyboard.press("p")
    page.locator("#width").fill("6")
    page.locator("#side").focus()
    for key in ("Tab", "2", " ", "Shift+ArrowRight", "ArrowDown", " "):
        page.keyboard.press(key)
    translated(page, service, 1)
    sent = service.received[0][1]
    assert (sent[32, 32:42] == WALL).all() and (sent[:24] == SKY).all()
    page.keyboard.press(" ")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Escape")  # abandons the stroke
    assert (pixels(page) == sent).all() and len(service.received) == 1


def test_the_newest_stroke_wins_over_a_slow_older_one(page: Page, service: PageService) -> None:
    slow, second = threading.Event(), threading.Event()
    service.holds[:] = [slow, second]
    page.locator("#width").fill("10")
    stroke(page, (0.2, 0.2), (0.3, 0.2))
    assert page.get_by_text("Translating").is_visible()
    stroke(page, (0.7, 0.7), (0.8, 0.7))
    second.set()
    page.get_by_text("pixels in").wait_for()
    newest = 255 - pixels(page)
    assert (pixels(page, "output") == newest).all()
    slow.set()  # its answer must not be shown
    page.wait_for_timeout(200)
    assert (pixels(page, "output") == newest).all() and len(service.received) == 2


def test_an_image_is_resized_and_its_colours_become_classes(
    page: Page, service: PageService, tmp_path: Path
) -> None:
    image = np.zeros((90, 180, 3), np.uint8)
    image[:, :90], image[:, 90:] = (250, 10, 5), (3, 3, 120)
    Image.fromarray(image).save(tmp_path / "wide.png")
    page.locator("#file").set_input_files(tmp_path / "wide.png")
    translated(page, service, 1)
    sent = service.received[0][1]
    assert sent.shape == (32, 64, 3)  # the aspect is kept
    assert (sent[:, :32] == WALL).all() and (sent[:, 32:] == SKY).all()
    page.locator("#side").select_option("128")
    page.get_by_text("128 × 64 pixels in").wait_for()
    assert service.received[-1][1].shape == (64, 128, 3)
    (tmp_path / "text.png").write_text("no image")
    page.locator("#file").set_input_files(tmp_path / "text.png")
    alert = page.get_by_role("alert")
    assert alert.inner_text().startswith("This browser cannot read text.png as an image.")
    assert not page.locator("#retry").is_visible()


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_an_image_is_pasted_or_dropped(kind: str, page: Page, service: PageService) -> None:
    choose(page, "ab")
    script = """async (kind) => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 100, height: 50 });
      const context = canvas.getContext("2d");
      context.fillStyle = "#123456";
      context.fillRect(0, 0, 100, 50);
      const files = new DataTransfer();
      const blob = await new Promise((done) => canvas.toBlob(done));
      files.items.add(new File([blob], "image.png", { type: "image/png" }));
      const more = { clipboardData: files, dataTransfer: files, bubbles: true, cancelable: true };
      const event = new (kind === "paste" ? ClipboardEvent : DragEvent)(kind, more);
      document.body.dispatchEvent(event);
    }"""
    page.evaluate(script, kind)
    translated(page, service, 1)
    sent = service.received[0][1]
    assert sent.shape == (32, 64, 3) and (sent == [0x12, 0x34, 0x56]).all()


def test_a_random_example_is_loaded(page: Page, service: PageService) -> None:
    maps = [np.full((64, 64), 1, np.uint8), np.tile(np.uint8([0, 2]), (64, 32))]
    service.examples = {name: png(classes) for name, classes in zip("12", maps, strict=True)}
    assert page.locator("#example").is_hidden()
    page.keyboard.press("r")  # no effect: this model has no examples
    choose(page, "indices")
    page.get_by_role("button", name="Example").click()
    translated(page, service, 1)
    with page.expect_response("**/translate"):
        page.keyboard.press("r")  # loads a different example
    translated(page, service, 2)
    sent = [pixels for _, pixels in service.received]
    assert sorted(one.tolist() for one in sent) == sorted(one.tolist() for one in maps)


def test_the_camera(page: Page, service: PageService) -> None:
    choose(page, "ab")
    page.get_by_role("button", name="Camera").click()
    page.get_by_role("button", name="Take picture").click(trial=True)
    page.locator("#video").evaluate(
        "(video) => video.videoWidth || new Promise(done => { video.onloadeddata = done; })"
    )
    page.get_by_role("button", name="Take picture").click()
    translated(page, service, 1)
    sent = service.received[0][1]
    assert sent.shape == (48, 64, 3) and sent.std() > 1  # 640 x 480, not empty
    assert page.locator("#video").evaluate("video => video.srcObject === null")


def test_both_directions_and_the_reconstruction(page: Page, service: PageService) -> None:
    choose(page, "ab")
    stroke(page, (0.2, 0.2), (0.8, 0.8))
    result = translated(page, service, 1)
    drawn = pixels(page)
    page.get_by_label("Translate back with").check()
    page.get_by_text("Mean absolute difference: 0.0 of 255").wait_for()  # inverted twice
    assert [name for name, _ in service.received] == ["ab", "ab", "ba"]
    assert (service.received[2][1] == result).all()
    assert (pixels(page, "reconstruction") == drawn).all()
    page.get_by_label("Translate back with").uncheck()
    page.keyboard.press("x")  # the result becomes the input of the other direction
    page.get_by_text("pixels in").wait_for()
    assert page.locator("#model").input_value() == "ba" and page.url.endswith("#ba")
    assert (pixels(page) == result).all() and (pixels(page, "output") == drawn).all()
    page.locator("#model").select_option("labels")
    assert page.locator("#swap").is_hidden() and page.locator("#cycle").is_hidden()


def test_the_patch_map_is_an_overlay(page: Page, service: PageService) -> None:
    service.patch_map = PATCH_MAP
    assert page.locator("#patches-label").is_hidden()
    choose(page, "ab")
    stroke(page, (0.2, 0.2), (0.8, 0.8))
    result = translated(page, service, 1)
    page.keyboard.press("m")
    text = page.get_by_text("3 × 2 patches, mean 0.25, 13 % classified as real.")
    text.wait_for()
    assert page.get_by_role("img", name="Patch map: 3 × 2 patches").is_visible()
    page.locator("#compare").fill("50")
    shown = np.asarray(Image.open(io.BytesIO(page.locator("#output-stage").screenshot())))
    high, wide = shown.shape[:2]
    assert abs(shown[high // 4, 3 * wide // 4, :3] - np.array([255, 128, 0])).max() < 6
    assert shown[high // 4, wide // 8, :3].min() > 250  # the input
    assert len(service.received) == 3  # a second translation, and the map
    assert (service.received[2][1] == service.received[0][1]).all()
    with page.expect_response("**/patch_map"):
        stroke(page, (0.2, 0.8))  # the map is computed for the new drawing
    assert (service.received[-1][1] == pixels(page)).all()
    page.get_by_label("Patch map").uncheck()
    assert text.is_hidden() and page.locator("#patch-map").is_hidden()
    page.keyboard.press("Control+z")
    assert (translated(page, service, 6) == result).all()
    page.get_by_label("Patch map").check()
    text.wait_for()
    page.keyboard.press("Delete")
    assert text.is_hidden() and page.locator("#patch-map").is_hidden()
    page.get_by_label("Patch map").uncheck()


def test_the_slider_shows_the_input_and_the_result_is_saved(
    page: Page, service: PageService
) -> None:
    stroke(page, (0.2, 0.2), (0.8, 0.8))
    result = translated(page, service, 1)
    page.locator("#compare").fill("50")
    stage = page.locator("#output-stage")
    shown = np.asarray(Image.open(io.BytesIO(stage.screenshot())).convert("RGB")).astype(int)
    high, wide = shown.shape[:2]
    assert abs(shown[high // 2, wide // 4] - SKY).max() < 6  # left: the input
    assert abs(shown[high // 2, 3 * wide // 4] - (255 - np.array(SKY))).max() < 6
    box = stage.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 50)
    page.mouse.up()
    assert page.locator("#compare").input_value() == "80"
    with page.expect_download() as download:
        page.keyboard.press("s")
    assert download.value.suggested_filename == "labels-translation.png"
    assert (np.asarray(Image.open(download.value.path())) == result).all()


def test_files_have_the_channels_of_the_model(page: Page, service: PageService) -> None:
    choose(page, "indices")
    page.keyboard.press("3")
    stroke(page, (0.5, 0.5))
    translated(page, service, 1)
    sent = service.received[0][1]
    assert sent.shape == (64, 64) and set(sent.flat) == {0, 2} and sent[32, 32] == 2
    result = pixels(page, "output")  # of classes 253 and 255: in colours
    assert len(np.unique(result.reshape(-1, 3), axis=0)) == 2 and np.ptp(result[32, 32]) > 60
    with page.expect_download() as download:
        page.keyboard.press("s")
    assert (np.asarray(Image.open(download.value.path())) == 255 - sent).all()
    choose(page, "grey")
    service.received.clear()
    page.get_by_label("dark grey").check(force=True)
    page.locator("#width").fill("8")
    stroke(page, (0.5, 0.5))
    translated(page, service, 1)
    sent = service.received[0][1]
    assert sent.shape == (64, 64)  # of 62: a multiple of 8
    assert sent[32, 32] == 64 and sent[0, 0] == 255


def test_a_model_that_cannot_be_drawn_for(page: Page) -> None:
    page.locator("#model").select_option("thick")
    assert "takes images of 7 channels" in page.get_by_role("alert").inner_text()
    assert page.locator(".bar").get_attribute("inert") is not None
    page.keyboard.press("Delete")  # without effect, as the tools are
    page.locator("#model").select_option("labels")
    assert page.get_by_role("alert").is_hidden()


def test_errors_of_the_service_are_shown(
    window: OpenPage, page: Page, service: PageService
) -> None:
    service.failures.append((429, "busy", "The service is busy; try again in 2 seconds."))
    stroke(page, (0.5, 0.5))
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text().startswith("The service is busy; try again in 2 seconds.")
    page.get_by_role("button", name="Try again").click()
    translated(page, service, 2)
    assert alert.is_hidden()
    service.failures.append((401, "unauthorized", "This service needs a token."))
    stroke(page, (0.3, 0.3))
    page.get_by_label("Access token").fill("secret")
    page.get_by_role("button", name="Use token").click()
    translated(page, service, 4)
    assert service.tokens[-1] == "Bearer secret" and alert.is_hidden()
    assert [text.split(" (")[0] for text in window.messages] == [
        "error: Failed to load resource: the server responded with a status of 429",
        "error: Failed to load resource: the server responded with a status of 401",
    ]  # the browser writes these
    window.messages.clear()


def test_the_page_on_a_phone_and_without_a_service(browser: Browser, service: PageService) -> None:
    service.received.clear()
    more = {"has_touch": True, "is_mobile": True, "color_scheme": "dark"}
    with opened(browser, service.address, width=390, **more) as phone:
        page = phone.page
        page.locator("#colours label").first.wait_for()
        page.locator("#input").tap()
        translated(page, service, 1)
        assert (service.received[0][1][32, 32] == WALL).all()
        for name in ("labels", "ab"):
            page.locator("#model").select_option(name)
            page.locator("summary").evaluate("one => { one.parentElement.open = true; }")
            assert overflowing(page) == []
        assert {text: ratio for text, ratio in contrasts(page).items() if ratio < 4.5} == {}
        assert phone.messages == []
        page.route("**/v1/models", lambda route: route.abort())
        page.reload()
        alert = page.get_by_role("alert")
        alert.wait_for()
        assert alert.inner_text().startswith("The service does not answer.")
        page.keyboard.press("Delete")  # without effect: there is no drawing yet
        page.unroute("**/v1/models")
        page.get_by_role("button", name="Try again").click()
        page.locator("#colours label").first.wait_for()
        assert alert.is_hidden()
        assert [one for one in phone.messages if "ERR_FAILED" not in one] == []


def test_axe_finds_no_problem(window: OpenPage, page: Page, service: PageService) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    script = Path(axe.__file__).with_name("axe.min.js").read_text()
    session = page.context.new_cdp_session(page)  # evaluates without the page's policy
    session.send("Runtime.evaluate", {"expression": script})

    def findings() -> list[str]:
        session.send(
            "Runtime.evaluate", {"expression": "window.done = axe.run()", "awaitPromise": True}
        )
        found = page.evaluate("async () => (await window.done).violations")
        return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]

    service.patch_map = PATCH_MAP
    for name in ("labels", "ab"):
        choose(page, name)
        page.keyboard.press("m")  # show the patch map, if the model has one
        stroke(page, (0.5, 0.5))
        page.get_by_text("pixels in").wait_for()
        if name == "ab":
            page.get_by_text("3 × 2 patches").wait_for()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert findings() == []
    page.locator("#side").evaluate("one => one.removeAttribute('aria-label')")
    page.locator("#side").evaluate("one => one.removeAttribute('title')")
    assert [one.split(":")[0] for one in findings()] == ["select-name"]
    page.locator("#side").evaluate("one => one.setAttribute('aria-label', 'Size')")


def test_the_page_requests_only_its_own_files_and_the_service(
    window: OpenPage, service: PageService
) -> None:
    own = (service.address, f"blob:{service.address}")
    assert {one for one in window.requests if not one.startswith(own)} == set()
    assert service.files == {path.name for path in PAGE.iterdir()}
