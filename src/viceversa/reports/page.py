"""HTML pages in one file: templates, style and script, and thumbnails of PNG files."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from ..files import write_bytes
from .text import ABSENT, number

MAX_SIDE = 1400  # of a thumbnail, in pixels
LOSSLESS_PIXELS = 200_000  # larger thumbnails are lossy
QUALITY = 84
BOMBS = Image.DecompressionBombError, Image.DecompressionBombWarning


class Thumbnail(NamedTuple):
    """An image as a data URL, and the size of its file in pixels."""

    url: str
    width: int
    height: int


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
    style, script = ((templates / name).read_text("utf-8") for name in ("page.css", "page.js"))
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
            image = file.convert("RGB")
        width, height = image.size
        image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
        data = io.BytesIO()
        lossless = image.width * image.height <= LOSSLESS_PIXELS
        image.save(data, "WEBP", lossless=lossless, quality=70 if lossless else QUALITY, method=4)
    except (OSError, ValueError, SyntaxError, MemoryError, *BOMBS):
        return None
    url = "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()
    return Thumbnail(url, width, height)


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
