"""HTML pages in one file: templates, style and script, and thumbnails of PNG files."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from ..files import ABOUT, write_bytes
from .text import ABSENT, number

SCRIPTS = ("axes.js", "charts.js", "player.js", "viewer.js")
MAX_SIDE = 1820  # of a thumbnail, in pixels: 7 columns of 256 px
LOSSLESS_PIXELS = 200_000  # larger thumbnails are lossy
QUALITY = 84
BOMBS = Image.DecompressionBombError, Image.DecompressionBombWarning


class PanelThumbnail(NamedTuple):
    """A part of a figure as a data URL, its size in pixels, and its texts."""

    url: str
    width: int
    height: int
    title: str
    note: str


class Thumbnail(NamedTuple):
    """An image as a data URL, and the size of its file in pixels.

    `columns` and `rows`: titles of a grid's columns and file names of its rows; `panels`: the parts
    of a figure. They are empty if the file does not contain them.
    """

    url: str
    width: int
    height: int
    columns: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    panels: tuple[PanelThumbnail, ...] = ()

    @property
    def characters(self) -> int:
        """Size in a page."""
        return sum(map(len, [self.url, *(panel.url for panel in self.panels)]))


def render(template: str, **context: Any) -> Markup:
    """Render a template of this package. Values are escaped unless they are Markup."""
    return Markup(_environment().get_template(template).render(context))


def write_page(path: Path, page: str) -> None:
    """Write a page atomically. Raises UserError if it cannot be written."""
    write_bytes(path, page.encode(), durable=False)


@lru_cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("viceversa.reports"),
        autoescape=True,
        finalize=_printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates = resources.files(__package__) / "templates"
    style = (templates / "page.css").read_text("utf-8")
    script = "\n".join((templates / name).read_text("utf-8") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {
        "style": Markup(style),
        "script": Markup(script),
        "script_digest": digest,
        "number": number,
        "thumbnail": thumbnail,
    }
    return environment


def _printable(value: Any) -> Any:
    """Escape non-printable characters, which can hide text or cannot be encoded."""
    if isinstance(value, Markup) or not isinstance(value, str) or value.isprintable():
        return value
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape", "replace").decode()
        for c in value
    )


def thumbnail(path: Path) -> Thumbnail | None:
    """Return a thumbnail of a PNG file, or None if it is missing or damaged; cached."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return _encoded(path.absolute(), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=128)
def _encoded(path: Path, modified: int, size: int) -> Thumbnail | None:
    """Encode a thumbnail; `modified` and `size` are part of the cache key."""
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            file = Image.open(
                path, formats=("PNG",)
            )  # raises if the header declares too many pixels
        with file:
            about = _about(file.info.get(ABOUT))
            image = file.convert("RGB")
        width, height = image.size
        panels = tuple(_panels(image, about.get("panels")))
        if not panels:
            image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
        url = "" if panels else _data_url(image, image.width * image.height <= LOSSLESS_PIXELS)
    except (OSError, ValueError, SyntaxError, MemoryError, *BOMBS):
        return None
    columns, rows = (_texts(about.get(name)) for name in ("columns", "rows"))
    return Thumbnail(url, width, height, columns, rows, panels)


def _data_url(image: Image.Image, lossless: bool) -> str:
    data = io.BytesIO()
    image.save(data, "WEBP", lossless=lossless, quality=70 if lossless else QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()


def _about(text: Any) -> dict[str, Any]:
    """Return the description that a run stores in its image files; empty if there is none."""
    try:
        about = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _panels(image: Image.Image, panels: Any) -> Iterator[PanelThumbnail]:
    """Yield the parts of a figure; invalid ones are left out."""
    for panel in panels if isinstance(panels, list) else ():
        box = panel.get("box") if isinstance(panel, dict) else None
        if not isinstance(box, list) or [type(one) for one in box] != [int] * 4:
            continue
        left, top, right, bottom = box
        if 0 <= left < right <= image.width and 0 <= top < bottom <= image.height:
            part = image.crop((left, top, right, bottom))
            texts = (str(panel.get(name, "")) for name in ("title", "note"))
            yield PanelThumbnail(_data_url(part, lossless=False), *part.size, *texts)


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as rows (key, value as text), with keys such as `table.key`."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, dict) and value and prefix.count(".") < 4:
            rows += flatten(value, f"{prefix}{key}.")
        elif isinstance(value, str):
            rows.append((prefix + key, value))
        else:
            text = ABSENT if value == {} else json.dumps(value, ensure_ascii=False)
            rows.append((prefix + key, text))
    return rows
