"""A page in a real browser, and everything that it says, asks for and shows there."""

from __future__ import annotations

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
# Chromium's own sandbox needs a user; in containers /dev/shm is small.
ARGUMENTS = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]

# Of each element that has text of its own and is seen: its text, its colour, its ground's colour.
TEXTS = """() => {
  const found = [], clear = /^(transparent|rgba\\(.*, 0\\))$/;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
    if (!text || !element.checkVisibility() || element.closest("script, style, caption")) continue;
    let under = element;
    const seen = () => getComputedStyle(under).backgroundColor;
    while (under && clear.test(seen())) under = under.parentElement;
    const ground = under ? seen() : "rgb(255, 255, 255)";
    found.push([text, getComputedStyle(element).color, ground]);
  }
  return found;
}"""

# What reaches beyond the window's right edge and does not lie in a box that scrolls by itself.
BEYOND = """() => [...document.body.querySelectorAll("*")].filter((one) => {
  if (!one.checkVisibility() || one.closest("caption")) return false;
  if (one.getBoundingClientRect().right <= window.innerWidth + 0.5) return false;
  for (let above = one.parentElement; above; above = above.parentElement)
    if (getComputedStyle(above).overflowX === "auto") return false;
  return true;
}).map((one) => one.outerHTML.slice(0, 120))"""


@dataclass
class Watched:
    """A page that is open. `said`: errors, warnings and whatever else it told the console."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Addresses of all requests but data: ones, those that were refused too."""
    refused: list[str] = field(default_factory=list)
    """Those that came to nothing, and why."""


@contextmanager
def watched(browser: Browser, path: Path, width: int = 1280, **more: Any) -> Iterator[Watched]:
    """Open a file as whoever double-clicks it does; `more`: of the browser's context."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **more)
    try:
        seen = Watched(context.new_page())
        page = seen.page
        page.set_default_timeout(20_000)
        page.on("console", lambda message: seen.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: seen.said.append(f"error: {error}"))
        page.on("request", lambda request: _ask(seen, request.url))
        page.on("requestfailed", lambda request: seen.refused.append(_why(request)))
        page.on("websocket", lambda socket: _ask(seen, socket.url))
        page.goto(path.absolute().as_uri())
        yield seen
    finally:
        context.close()


def _why(request: Request) -> str:
    return f"{request.url}: {request.failure}"


def _ask(seen: Watched, address: str) -> None:
    if not address.startswith("data:"):
        seen.asked.append(address)


def contrasts(page: Page) -> dict[str, float]:
    """The WCAG ratio, 1 to 21, of every text that is seen."""
    return {text: _ratio(ink, ground) for text, ink, ground in page.evaluate(TEXTS)}


def _ratio(one: str, other: str) -> float:
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance of `rgb(r, g, b)`."""
    shares = [channel / 255 for channel in _channels(colour)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _channels(colour: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", colour)[:3]]


def beyond(page: Page) -> list[str]:
    """What is wider than the window: the page's parts, and the page itself where it scrolls."""
    wide = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    return page.evaluate(BEYOND) + (["the page scrolls sideways"] if wide else [])


def painted(chart: Locator) -> list[int]:
    """How many pixels of a chart have the colour of each of its lines."""
    lines = chart.locator(".line")
    strokes = lines.evaluate_all("all => all.map((one) => getComputedStyle(one).stroke)")
    held = Image.open(io.BytesIO(chart.locator(".plot").screenshot())).convert("RGB")
    pixels = np.asarray(held).astype(int)
    return [int((abs(pixels - _channels(stroke)).max(axis=2) <= 24).sum()) for stroke in strokes]
