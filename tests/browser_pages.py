"""A page in a real browser: its console messages, requests, contrasts and layout."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Request

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Chromium's sandbox does not work for root; in containers /dev/shm is small.
ARGUMENTS = [
    "--disable-dev-shm-usage",
    "--use-fake-device-for-media-stream",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
]

# For each visible text: the text, its color and its background color.
TEXTS = """() => {
  const found = [], clear = /^(transparent|rgba\\(.*, 0\\))$/;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
    if (!text || !element.checkVisibility() || element.closest("script, style, caption")) continue;
    let under = element;
    const color = () => getComputedStyle(under).backgroundColor;
    while (under && clear.test(color())) under = under.parentElement;
    const background = under ? color() : "rgb(255, 255, 255)";
    found.push([text, getComputedStyle(element).color, background]);
  }
  return found;
}"""

# Elements beyond the right edge of the window that are not in a box with a scrollbar.
OVERFLOWING = """() => [...document.body.querySelectorAll("*")].filter((one) => {
  if (!one.checkVisibility() || one.closest("caption")) return false;
  if (one.getBoundingClientRect().right <= window.innerWidth + 0.5) return false;
  for (let above = one.parentElement; above; above = above.parentElement)
    if (getComputedStyle(above).overflowX === "auto") return false;
  return true;
}).map((one) => one.outerHTML.slice(0, 120))"""


@dataclass
class OpenPage:
    """An open page, with what it did since it was opened."""

    page: Page
    messages: list[str] = field(default_factory=list)
    """Errors, warnings and other messages on the console."""
    requests: list[str] = field(default_factory=list)
    """URLs of all requests, failed ones included, except data: URLs."""
    failures: list[str] = field(default_factory=list)
    """URLs of the failed requests, with the reason."""


@contextmanager
def opened(
    browser: Browser, path: Path | str, width: int = 1280, **more: Any
) -> Iterator[OpenPage]:
    """Open a file or URL in a new context of the browser; `more` are options of the context."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **more)
    try:
        opened_page = OpenPage(context.new_page())
        page = opened_page.page
        page.set_default_timeout(20_000)
        page.on(
            "console",
            lambda message: opened_page.messages.append(f"{message.type}: {message.text}"),
        )
        page.on("pageerror", lambda error: opened_page.messages.append(f"error: {error}"))
        page.on("request", lambda request: _add_request(opened_page, request.url))
        page.on("requestfailed", lambda request: opened_page.failures.append(_failure(request)))
        page.on("websocket", lambda socket: _add_request(opened_page, socket.url))
        page.goto(path if isinstance(path, str) else path.absolute().as_uri())
        yield opened_page
    finally:
        context.close()


def _failure(request: Request) -> str:
    return f"{request.url}: {request.failure}"


def _add_request(opened_page: OpenPage, address: str) -> None:
    if not address.startswith("data:"):
        opened_page.requests.append(address)


def contrasts(page: Page) -> dict[str, float]:
    """Return the WCAG contrast ratio (1 to 21) of every visible text."""
    return {
        text: _ratio(foreground, background)
        for text, foreground, background in page.evaluate(TEXTS)
    }


def _ratio(one: str, other: str) -> float:
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    """Return the relative luminance (WCAG 2.2) of `rgb(r, g, b)`."""
    values = [channel / 255 for channel in _channels(color)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _channels(color: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", color)[:3]]


def overflowing(page: Page) -> list[str]:
    """Return the elements that are wider than the window, and whether the page scrolls sideways."""
    wide = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    return page.evaluate(OVERFLOWING) + (["the page scrolls sideways"] if wide else [])


def line_pixels(chart: Locator) -> list[int]:
    """Return for each line of a chart how many pixels have its color."""
    lines = chart.locator(".line")
    strokes = lines.evaluate_all("all => all.map((one) => getComputedStyle(one).stroke)")
    screenshot = Image.open(io.BytesIO(chart.locator(".plot").screenshot())).convert("RGB")
    pixels = np.asarray(screenshot).astype(int)
    return [int((abs(pixels - _channels(stroke)).max(axis=2) <= 24).sum()) for stroke in strokes]


def canvas_pixels(canvas: Locator) -> np.ndarray:
    """Return the pixels of a canvas, (h, w, 3)."""
    address = canvas.evaluate("canvas => canvas.toDataURL()")
    file = io.BytesIO(base64.b64decode(address.partition(",")[2]))
    return np.asarray(Image.open(file).convert("RGB"))
