"""Mask files: images of one channel, which are 0 where another image has no data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..errors import UserError
from .header import MAX_PIXELS, Pixels
from .io import decode, read
from .nodata import Mask
from .sources import Source, is_hidden, is_image_name, path_of, printable


class MaskFiles:
    """Mask files of a folder, by name.

    Args:
        folder: Name of the folder, for messages.
        files: The files by their posix path in the folder.
        option: The option that names the folder, for messages.

    Raises:
        UserError: Two masks have the same name, or there is none.
    """

    def __init__(self, folder: object, files: Mapping[str, Source], option: str) -> None:
        self.folder, self.by_name = folder, dict[str, Source]()
        for name, source in files.items():
            if (other := self.by_name.setdefault(name[: name.rfind(".")], source)) != source:
                raise UserError(
                    f"{other} and {source} are masks of the same name; remove one",
                    option=option,
                    path=source.path,
                )
        if not files:
            raise UserError(f"{printable(folder)} has no masks", option=option)

    @classmethod
    def in_folder(cls, folder: Path, option: str) -> MaskFiles:
        """List the masks of a folder and its subfolders. Raises UserError."""
        if not folder.is_dir():
            raise UserError(f"there is no folder {printable(folder)} of masks", option=option)
        names = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
        visible = (name for name in names if not any(map(is_hidden, name.parts)))
        files = {n.as_posix(): Source(folder / n) for n in visible if is_image_name(n.name)}
        return cls(folder, files, option)

    def find(self, image: Source) -> Source | None:
        """Return the mask whose name and folders fit best.

        The mask of train/A/1.png is train/A/1.*, else A/1.*, else 1.*.
        """
        return next((self.by_name[key] for key in _keys(image) if key in self.by_name), None)

    def of(self, image: Source) -> Source:
        """Return the mask of an image. Raises UserError if it has none."""
        if mask := self.find(image):
            return mask
        raise UserError(
            f"{image} has no mask with its name in {printable(self.folder)}", path=image.path
        )


def _keys(image: Source) -> Iterator[str]:
    """Yield the name without its ending, with all of its folders, then with fewer."""
    parts = image.name.with_suffix("").parts
    return ("/".join(parts[start:]) for start in range(len(parts)))


def read_mask(source: Source | Path | None, max_pixels: int = MAX_PIXELS) -> Mask | None:
    """Read a mask file.

    Args:
        source: The file; None: no mask.
        max_pixels: Maximum number of pixels.

    Returns:
        (h, w), true where there is no data.

    Raises:
        UserError: As `images.read`, or the file has several channels.
    """
    return None if source is None else _to_mask(read(source, max_pixels=max_pixels), source)


def decode_mask(data: bytes, name: object, max_pixels: int = MAX_PIXELS) -> Mask:
    """Decode the bytes of a mask file as `read_mask`; `name` is for error messages."""
    return _to_mask(decode(data, name, max_pixels=max_pixels).pixels, name)


def _to_mask(pixels: Pixels, name: object) -> Mask:
    """Return where a mask is 0; equal channels are grey that was saved as RGB or with a palette."""
    if pixels.shape[2] == 1 or (pixels.shape[2] == 3 and (pixels == pixels[:, :, :1]).all()):
        return np.asarray(pixels[:, :, 0] == 0)
    raise UserError(
        f"the mask {printable(name)} has {pixels.shape[2]} channels; a mask has one, which is 0 "
        "where there is no data",
        path=path_of(name),
    )
