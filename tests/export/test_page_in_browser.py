"""Pages without a server in a browser: opened as files without a network, and from a web server."""

from __future__ import annotations

import functools
import io
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import torch
from browser_pages import OpenPage, canvas_pixels, opened
from PIL import Image
from support import needs_runtime, small_model

from viceversa import Translator
from viceversa.checkpoint import read_header
from viceversa.export.exporting import sample_images
from viceversa.export.graph import ImageGraph, example
from viceversa.export.onnxruntime_web import ARCHIVE, PACKAGE, read_runtime
from viceversa.export.page import export_models, page_model, write_page
from viceversa.images.domain import Domain, DomainConfig
from viceversa.inference.exported import INPUT, OUTPUT
from viceversa.page.examples import Example
from viceversa.page.models import NamedModel

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
GREY_16 = Domain(DomainConfig(channels=1), "uint16", (0.0,), (65535.0,))
COLOURS = Domain(DomainConfig(kind="labels", classes=("#0000ff", "#20c040")))
INDICES = Domain(DomainConfig(kind="labels", ids=3))
GREY = Domain(DomainConfig(channels=1), low=(0.0,), high=(255.0,))
RANGED = Domain(DomainConfig(range="20,200"), "uint8", (20.0,) * 3, (200.0,) * 3)
EXAMPLE = io.BytesIO()
Image.fromarray(np.arange(104 * 256 * 3).astype(np.uint8).reshape(104, 256, 3)).save(EXAMPLE, "PNG")


@pytest.fixture(scope="module")
def runtime() -> dict[str, bytes]:
    """Return the files of onnxruntime-web, which `make` downloads to the virtual environment."""
    needs_runtime(".onnx")
    archive = Path(sys.prefix) / ARCHIVE
    if not archive.is_file():
        pytest.skip(f"{PACKAGE} is not in the virtual environment")
    return read_runtime(archive)


class Site(NamedTuple):
    """Page to open as a file, the same page for a web server, and the translator of its models."""

    folder: Path
    translator: Translator


def write_site(
    folder: Path, runtime: dict[str, bytes], source: Domain, target: Domain, network: bytes = b""
) -> Site:
    """Write a page whose two models have the same file, and are registered as both directions.

    The network is exported unless it is given.
    """
    path = small_model(folder, source, target)
    translator, header = Translator.load(path, "cpu"), read_header(path)
    names = (("ab", "ba"), ("ba", "ab"))
    examples = [Example(EXAMPLE.getvalue(), "image/png"), Example(b"", "image/tiff")]
    models = [
        page_model(NamedModel(name, path, header, other), translator, examples)
        for name, other in names
    ]
    if not network:
        images = sample_images(models[0].translator)[0][:1]
        network = export_models(models[:1], [images])[0]["ab"]
    networks = {"ab": network, "ba": network}
    for hosted in (True, False):
        write_page(models, networks, runtime, folder / ("hosted" if hosted else "files"), hosted)
    return Site(folder, translator)


def traced(folder: Path) -> bytes:
    """Return the small model as an ONNX file by the older exporter of torch, which is faster."""
    translator = Translator.load(small_model(folder, Domain(), Domain()), "cpu")
    graph, path = ImageGraph(translator).eval(), folder / "traced.onnx"
    axes = {INPUT: {0: "n", 1: "h", 2: "w"}}
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            graph,
            (example(graph),),
            path,
            dynamo=False,
            dynamic_axes=axes,
            input_names=[INPUT],
            output_names=[OUTPUT],
        )
    return path.read_bytes()


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, runtime: dict[str, bytes], browser: Browser
) -> Site:
    folder = tmp_path_factory.mktemp("site")
    return write_site(folder, runtime, Domain(), Domain(), traced(folder))


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def address(site: Site) -> Iterator[str]:
    """Address of a web server with the hosted page."""
    handler = functools.partial(QuietHandler, directory=str(site.folder / "hosted"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def wait_until(page: Page, expression: str) -> None:
    """Wait until an expression is true; the policy of the page forbids `wait_for_function`."""
    deadline = time.monotonic() + 60
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(20)


def stroke(page: Page) -> None:
    page.locator("#width").fill("20")
    box = page.locator("#input").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.6 * box["height"])
    page.mouse.up()


def result(page: Page) -> np.ndarray:
    page.get_by_text("pixels in").wait_for(timeout=100_000)
    return canvas_pixels(page.locator("#output"))


def check_result(page: Page, translator: Translator) -> np.ndarray:
    """Compare the translation with the one of PyTorch; return it."""
    found, image = result(page), canvas_pixels(page.locator("#input"))
    expected = translator.pixels([image])[0]
    assert found.shape[:2] == image.shape[:2] and expected.std() > 1
    assert np.abs(found.astype(int) - expected).max() <= 1
    return found


def source_pixels(page: Page, source: Domain) -> np.ndarray:
    """Return the drawing as pixels of a file of the domain."""
    drawn = canvas_pixels(page.locator("#input"))
    if not source.config.ids:
        return drawn[:, :, : source.config.file_channels]
    colours = page.locator("#colours input").evaluate_all("all => all.map((one) => one.value)")
    palette = np.array([list(bytes.fromhex(one[1:])) for one in colours])
    return (drawn[:, :, None] == palette).all(axis=3).argmax(axis=2)[..., None].astype(np.uint8)


def open_image(page: Page, folder: Path, height: int, width: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(noise).save(folder / "image.png")
    page.locator("#file").set_input_files(folder / "image.png")
    wait_until(page, f"document.getElementById('input').height === {height}")


def blocked(page: Page) -> str:
    """Return the directive of the policy that blocks a request to another host."""
    script = """() => new Promise((done) => {
      const stopped = (event) => done(event.effectiveDirective);
      document.addEventListener("securitypolicyviolation", stopped);
      fetch("https://example.org/").catch(() => null);
    })"""
    return page.evaluate(script)


def check_page(window: OpenPage, site: Site) -> None:
    """Draw, save, open and translate images in both directions; compare results with PyTorch."""
    page, translator = window.page, site.translator
    stroke(page)
    drawn = check_result(page, translator)
    with page.expect_download() as download:
        page.keyboard.press("s")
    saved = Image.open(download.value.path())
    assert saved.mode == "RGB" and (np.asarray(saved) == drawn).all()
    open_image(page, site.folder, 100, 256)  # the height is not a multiple of 8
    assert check_result(page, translator).shape == (100, 256, 3)
    open_image(page, site.folder, 3, 256)  # smaller than the padding
    check_result(page, translator)
    page.locator("#example").click()
    wait_until(page, "document.getElementById('input').height === 104")
    assert (canvas_pixels(page.locator("#input")) == np.asarray(Image.open(EXAMPLE))).all()
    first = check_result(page, translator)
    page.get_by_label("Translate back with").check()
    page.get_by_text("Mean absolute difference").wait_for()
    back = canvas_pixels(page.locator("#reconstruction"))
    assert np.abs(back.astype(int) - translator.pixels([first])[0]).max() <= 1
    page.keyboard.press("x")
    wait_until(page, "document.getElementById('model').value === 'ba'")
    page.get_by_text("Mean absolute difference").wait_for()
    assert (canvas_pixels(page.locator("#input")) == first).all()
    check_result(page, translator)
    assert window.messages == []


def test_a_page_that_is_opened_as_a_file_without_a_network(browser: Browser, site: Site) -> None:
    with opened(browser, site.folder / "files" / "index.html", offline=True) as window:
        check_page(window, site)
        assert window.failures == []
        assert all(one.startswith(("file:///", "blob:")) for one in window.requests)
        assert blocked(window.page) == "connect-src"


def test_a_page_from_a_web_server(browser: Browser, site: Site, address: str) -> None:
    with opened(browser, address) as window:
        check_page(window, site)
        assert window.failures == []
        assert all(one.startswith((address, f"blob:{address}")) for one in window.requests)
        assert blocked(window.page) == "connect-src"


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("**/*.onnx", "models/ab.onnx"),
        pytest.param("**/ort.wasm", "runtime/ort.wasm", marks=pytest.mark.soak),
    ],
)
def test_missing_files_are_reported_and_loaded_again(
    pattern: str, name: str, browser: Browser, site: Site, address: str
) -> None:
    with opened(browser, f"{address}#ba") as window:
        page = window.page
        page.route(pattern, lambda route: route.abort())
        page.goto(f"{address}?again")
        stroke(page)
        alert = page.get_by_role("alert")
        alert.wait_for()
        assert alert.inner_text().startswith(f"{name} cannot be loaded.")
        page.unroute(pattern)
        page.get_by_role("button", name="Try again").click()
        check_result(page, site.translator)
        assert alert.is_hidden()


def test_a_hosted_page_that_is_opened_as_a_file_says_so(browser: Browser, site: Site) -> None:
    with opened(browser, site.folder / "hosted" / "index.html") as window:
        stroke(window.page)
        alert = window.page.get_by_role("alert")
        alert.wait_for()
        assert "This page needs a web server." in alert.inner_text()


@pytest.mark.soak
@pytest.mark.parametrize(
    ("source", "target"),
    [(Domain(), Domain()), (GREY_16, RANGED), (RANGED, GREY), (COLOURS, INDICES), (INDICES, GREY)],
)
def test_exported_networks_of_domains(
    source: Domain, target: Domain, tmp_path: Path, runtime: dict[str, bytes], browser: Browser
) -> None:
    """Values are scaled like 8-bit images in Translator, and clipped to the range.

    The saved file has the channels of the target: grey, RGB, or a label map.
    """
    site = write_site(tmp_path, runtime, source, target)
    with opened(browser, tmp_path / "files" / "index.html", offline=True) as window:
        stroke(window.page)
        result(window.page)
        with window.page.expect_download() as download:
            window.page.keyboard.press("s")
        saved = np.asarray(Image.open(download.value.path()))
        image = source_pixels(window.page, source)
        assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 1
        expected = site.translator.pixels([image])[0]
        found = saved.reshape(expected.shape).astype(int)
        if target.config.kind == "labels":
            assert (found != expected).mean() < 1e-3 and len(np.unique(expected)) > 1
        else:
            assert np.abs(found - expected).max() <= 1 and expected.std() > 1
        assert window.messages == []
