"""The parts of a page: skeleton, escaping, tables, pictures. Everything from a file is escaped."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ..files import write_bytes

LARGEST_SIDE = 1400  # pixels of a picture on a page
LOSSLESS = 200_000  # pixels up to which a picture is kept exactly
QUALITY = 84
MOST_PIXELS = 80_000_000  # of a picture that is decoded at all


class Picture(NamedTuple):
    """A picture as the address that holds it, and its size on disk in pixels."""

    address: str
    width: int
    height: int


def escape(text: object) -> str:
    """Text that can stand anywhere in a page, attributes too; what can't be printed is escaped."""
    shown = "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape", "replace").decode()
        for c in str(text)
    )
    return html.escape(shown, quote=True)


def document(title: str, body: str) -> str:
    """A whole page. Its policy lets nothing in but its own pictures, style and script."""
    style, script = _part("page.css"), _part("page.js")
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
<script>{script}</script>
</body>
</html>
"""


@lru_cache
def _part(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def section(title: str, body: str, about: str = "") -> str:
    """A part of the page under a heading of its own; nothing where there is nothing in it."""
    if not body:
        return ""
    told = f'<p class="about">{escape(about)}</p>' if about else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{told}{body}\n</section>\n"


def folded(title: str, body: str, opened: bool = False) -> str:
    """A part that opens at a click or by the keyboard."""
    return (
        f"<details{' open' if opened else ''}><summary>{escape(title)}</summary>{body}</details>\n"
    )


def rows_table(
    rows: Iterable[Sequence[object]], head: Sequence[object] = (), caption: str = ""
) -> str:
    """A table of text; the first cell of a row is its heading. Wide ones scroll by themselves."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = [
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    ]
    if not lines:
        return ""
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    headed = f"<thead><tr>{top}</tr></thead>" if top else ""
    body = "\n".join(lines)
    label = escape(caption or "table")
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{label}"><table>{named}{headed}'
        f"<tbody>\n{body}\n</tbody></table></div>\n"
    )


def picture(path: Path) -> Picture | None:
    """A picture of a file, small enough for a page; None for what is no whole picture.

    Files that did not change since are not encoded again.
    """
    try:
        stat = path.stat()
    except OSError:
        return None
    return _encoded(path.absolute(), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=128)
def _encoded(path: Path, stamp: int, size: int) -> Picture | None:
    """`stamp` and `size` tell one state of a file from the next."""
    try:
        width, height = _png_size(path)
        if not 0 < width * height <= MOST_PIXELS:
            return None
        with Image.open(path, formats=("PNG",)) as file:
            image = file.convert("RGB")
        image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
        held = io.BytesIO()
        exact = image.width * image.height <= LOSSLESS
        image.save(held, "WEBP", lossless=exact, quality=70 if exact else QUALITY, method=4)
    except (OSError, ValueError, SyntaxError, MemoryError):
        return None
    address = "data:image/webp;base64," + base64.b64encode(held.getvalue()).decode()
    return Picture(address, width, height)


def _png_size(path: Path) -> tuple[int, int]:
    """Width and height as a PNG's first bytes tell, before anything of it is decoded."""
    with path.open("rb") as file:
        start = file.read(24)
    if len(start) < 24 or start[12:16] != b"IHDR":
        return 0, 0
    width, height = struct.unpack(">II", start[16:])
    return width, height


def write_page(path: Path, text: str) -> None:
    """Write a page whole or not at all. Raises UserError where that fails."""
    write_bytes(path, text.encode(), durable=False)


def figure(value: float | None) -> str:
    """A number in four digits, or a dash."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"
