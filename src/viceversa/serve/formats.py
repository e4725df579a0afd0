"""Formats of images that clients send and receive."""

from __future__ import annotations

from ..images.header import Pixels, Tags
from ..images.opening import TIFFS
from ..images.writing import to_bytes
from ..inference import Translator
from ..inference.masked import with_alpha
from .failures import Failure

SUFFIXES = {
    "image/png": ".png",
    "image/tiff": ".tif",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
}
UNNAMED = ("", "application/octet-stream", "application/x-www-form-urlencoded")  # curl's default
KNOWN = "PNG, JPEG, WebP and TIFF"


def check_type(content_type: str) -> None:
    """Raise Failure for a body whose Content-Type is not an image."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in UNNAMED and not kind.startswith("image/"):
        raise Failure(415, "unsupported_type", f"send an image: {KNOWN} are supported")


def check_magic(data: bytes) -> None:
    """Raise Failure if the first bytes of a file match no supported format."""
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    if not webp and not data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", *TIFFS)):
        raise Failure(415, "unsupported_type", f"the body is not an image: {KNOWN} are supported")


def answer_type(accept: str, translator: Translator) -> str:
    """Return the media type of an answer: the preferred one that can store the results.

    Raises Failure if the client accepts none.
    """
    storing = [
        kind for kind, suffix in SUFFIXES.items() if translator.suffix(suffix) == suffix
    ]  # with TIFF, which stores all
    wanted = _qualities(accept)
    best = max(storing, key=lambda kind: _quality(kind, wanted))  # PNG before the others
    if not _quality(best, wanted):
        raise Failure(
            406, "not_acceptable", f"the results of this model can be {', '.join(storing)}"
        )
    return best


def _qualities(accept: str) -> dict[str, float]:
    """Return the quality of each media range of an Accept header."""
    found: dict[str, float] = {}
    for entry in accept.split(","):
        kind, *parameters = (word.strip().lower() for word in entry.split(";"))
        texts = [word.removeprefix("q=") for word in parameters if word.startswith("q=")]
        try:
            quality = float(texts[0]) if texts else 1.0
        except ValueError:
            quality = 0.0
        if kind:
            found[kind] = quality
    return found or {"*/*": 1.0}


def _quality(kind: str, wanted: dict[str, float]) -> float:
    for key in (kind, "image/*", "*/*"):
        if key in wanted:
            return wanted[key]
    return 0.0


def encode(translator: Translator, image: Pixels, output: Pixels, kind: str) -> bytes:
    """Return a result as a file: pixels, with the ICC profile and no-data value of the model."""
    suffix, tags = SUFFIXES[kind], translator.tags
    source, target = translator.source, translator.target
    output, alpha = with_alpha(output, image, source, target, suffix)
    return to_bytes(output, suffix, Tags(icc=tags.icc, nodata=tags.nodata), alpha=alpha)
