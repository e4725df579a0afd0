"""Files <-> pixels <-> tensors in [-1, 1]. What 8 bits cannot hold is refused, never clipped."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from .errors import UserError

Pixels = NDArray[np.uint8]  # (height, width, channels)

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
EIGHT_BIT = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})


def files_in(folder: Path) -> list[Path]:
    """The image files directly in a folder, by name; hidden files are passed over."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def read(path: str | Path, channels: int = 3) -> Pixels:
    """A file as (height, width, channels) uint8, turned upright as its EXIF says.

    1 channel is luminance, 3 are RGB; transparency is laid over white; palettes and CMYK become
    RGB. Raises UserError for what is no image, is damaged, or has more than 8 bits.
    """
    with _opened(Path(path)) as image:
        return from_pil(ImageOps.exif_transpose(image), channels)


def size(path: Path) -> tuple[int, int]:
    """(height, width) of a file, upright, from its header alone. Raises UserError as `read`."""
    with _opened(path) as image:
        # Pillow's getexif for PNG would decode the whole image; a TIFF's size is upright already.
        turned = Image.Image.getexif(image).get(0x0112, 1) in (5, 6, 7, 8)
        turned = turned and not isinstance(image, TiffImageFile)
        return (image.width, image.height) if turned else (image.height, image.width)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An 8-bit image file; whatever is wrong with it becomes a UserError that names it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.mode not in EIGHT_BIT or _deep(image, path):
                    raise UserError(
                        f"{path} has more than 8 bits per channel; reading it as 8 would clip it, "
                        "so convert it to 8 bits first"
                    )
                yield image
    except UnidentifiedImageError:
        raise UserError(f"{path} is not an image that can be read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"{path} has more pixels than are safe to decode") from None
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except (OSError, SyntaxError, struct.error) as error:
        raise UserError(f"{path} is damaged or cannot be read: {error}") from None


def _deep(image: Image.Image, path: Path) -> bool:
    """Whether a file that Pillow shows as 8 bits holds more: 16-bit RGB PNG and TIFF."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return bool(file.read(25)[24] > 8)
    if isinstance(image, TiffImageFile):
        bits = image.tag_v2.get(258, (8,))
        return bool(max(bits if isinstance(bits, tuple) else (bits,)) > 8)
    return False


def from_pil(image: Image.Image, channels: int = 3) -> Pixels:
    """A Pillow image as (height, width, channels) uint8; as `read`."""
    if image.mode not in EIGHT_BIT:
        raise UserError(f"an image of mode {image.mode} has more than 8 bits; convert it first")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if channels not in (1, 3):
        raise UserError(f"images have 1 channel (grey) or 3 (RGB), not {channels}")
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels[:, :, None] if channels == 1 else pixels


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Bicubic, with anti-aliasing; as it is where it already has the size."""
    if pixels.shape[:2] == (height, width):
        return pixels
    grey = pixels.shape[2] == 1
    image = Image.fromarray(pixels[:, :, 0] if grey else pixels)
    resized = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return resized[:, :, None] if grey else resized


def to_tensor(pixels: Any) -> Tensor:
    """(..., height, width, channels) uint8 -> (..., channels, height, width) float in [-1, 1]."""
    tensor = torch.from_numpy(np.array(pixels)).movedim(-1, -3).contiguous()
    return tensor.to(torch.get_default_dtype()) / 127.5 - 1


def to_pixels(tensor: Tensor) -> Pixels:
    """(channels, height, width) in [-1, 1] -> (height, width, channels) uint8, rounded."""
    scaled = (tensor.detach().float().clamp(-1, 1) + 1) * 127.5
    pixels: Pixels = scaled.round().byte().movedim(-3, -1).cpu().numpy()
    return pixels


def to_pil(pixels: Pixels) -> Image.Image:
    """(height, width, 1 or 3) uint8 as a Pillow image."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def write(path: Path, pixels: Pixels) -> None:
    """Write a file in the format its name says; JPEG and WebP at high quality."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lossy = path.suffix.lower() in (".jpg", ".jpeg", ".webp")
    image = to_pil(pixels)
    if lossy:
        image.save(path, quality=95)
    else:
        image.save(path)


def grid(rows: list[list[Tensor]], gap: int = 2) -> Pixels:
    """Rows of (channels, h, w) images in [-1, 1] as one RGB sheet on white, each in a cell."""
    cells = [[to_pixels(t if t.shape[0] == 3 else t[:1].repeat(3, 1, 1)) for t in r] for r in rows]
    height = max(cell.shape[0] for row in cells for cell in row) + gap
    width = max(cell.shape[1] for row in cells for cell in row) + gap
    shape = (height * len(rows) + gap, width * max(map(len, rows)) + gap, 3)
    sheet = np.full(shape, 255, dtype=np.uint8)
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            top, left = y * height + gap, x * width + gap
            sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return sheet
