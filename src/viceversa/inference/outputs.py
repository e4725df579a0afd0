"""Paths of the results of a translation."""

from __future__ import annotations

import mimetypes
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import UserError
from ..extras import import_extra
from ..images import SUFFIXES, Pixels, Source, to_bytes
from ..images.formats.ome_zarr import SUFFIX as ZARR
from ..images.formats.ome_zarr import names_zarr, refuse_other_folder
from ..images.header import Tags
from ..images.zarr_rows import write_image

Input = Path | Source  # a file, or a member of an archive
File = tuple[Input, Path]  # an image, and its name among the results
T = TypeVar("T", bound=Input)
STREAM = Path("-")  # standard input or output
EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}")


def file_of(image: Input) -> Path:
    """Return the file that contains an image; it may be an archive."""
    return image if isinstance(image, Path) else image.path


def names_image(out: Path) -> bool:
    """Return whether an output path names one image: a file, or an OME-Zarr folder."""
    if names_zarr(out):
        return True
    if out.is_dir():
        return False
    kind = mimetypes.guess_type(out.name)[0] or ""
    return out.suffix.lower() in SUFFIXES or kind.startswith("image/")


def refuse_unknown_format(out: Path) -> None:
    """Raise UserError if the path for one image ends like a file, but not in an image format."""
    if out.exists() or names_image(out) or not EXTENSION.fullmatch(out.suffix):
        return
    known = ", ".join(sorted(SUFFIXES))
    raise UserError(
        f"-o {out}: {out.suffix} is no extension of an image format ({known}); if {out.name} is to "
        "be a folder, create it first",
        option="--out",
        path=out,
    )


def of_format(name: str, suffix: Callable[[str], str]) -> Callable[[str], str]:
    """Return a function as `suffix` for results of one format.

    Args:
        name: The format, by an extension such as `png`.
        suffix: Returns the ending of a result that stores the output of the model.

    Raises:
        UserError: The format is unknown, or cannot store the output.
    """
    given = f".{name.lower().lstrip('.')}"
    if given not in (*SUFFIXES, ZARR):
        known = ", ".join(sorted(one[1:] for one in (*SUFFIXES, ZARR)))
        raise UserError(f"--format {name} is unknown; available: {known}", option="--format")
    if (fits := suffix(given)) != given:
        raise UserError(
            f"--format {name} can't hold the output of this model; use {fits[1:]}",
            option="--format",
        )
    return lambda _: given


def suffix_of(suffix: Callable[[str], str], path: Input, result: Path) -> str:
    """Return the suffix of a result; OME-Zarr on standard output becomes .tif."""
    if result != STREAM:
        return result.suffix
    fits = suffix(path.suffix)
    return ".tif" if fits.lower() == ZARR else fits


def plan(
    files: Sequence[tuple[T, Path]],
    out: Path,
    suffix: Callable[[str], str],
    overwrite: bool = False,
    names_result: Callable[[Path], bool] = names_image,
) -> list[tuple[T, Path]]:
    """Return (image, result) for each image or video.

    Args:
        files: Images and their names, as `expand` returns them.
        out: The folder of the results; or, for one image, the name of its result or `-`.
        suffix: Returns the ending of a result for the ending of its image.
        overwrite: Whether results may replace existing files.
        names_result: Returns whether `out` is the name of the result, not of a folder.

    Raises:
        UserError: Two results would be one file, one would overwrite an input, or, without
            `overwrite`, any file.
    """
    if out == STREAM or names_result(out):
        pairs = [(path, out) for path, _ in files]
        _refuse_name(out, len(pairs), suffix)
    else:
        pairs = [(path, out / name.with_suffix(suffix(name.suffix))) for path, name in files]
    if out == STREAM:
        return pairs
    # By device and inode too: an input may have other names (links, case-insensitive disks).
    inputs = {file_of(path) for path, _ in pairs}
    sources = {key for path in inputs for key in (path.resolve(), _inode(path)) if key}
    used: dict[Path, Input] = {}
    if any(names_zarr(result) for _, result in pairs):  # it replaces all that is in the folder
        import_extra("zarr", "zarr", "an OME-Zarr")
        sources |= {folder for path in inputs for folder in path.resolve().parents}
    for path, result in pairs:
        if names_zarr(result):
            refuse_other_folder(result)
        if sources & {result.resolve(), _inode(result)}:
            raise UserError(
                f"{result} would overwrite a file to translate; choose another -o",
                option="--out",
                path=result,
            )
        if used.setdefault(result.resolve(), path) != path:
            raise UserError(
                f"{used[result.resolve()]} and {path} would both become {result}", path=result
            )
    if not overwrite:
        refuse_existing(pairs)
    return pairs


def share(pairs: Sequence[tuple[T, Path]], index: int, count: int) -> list[tuple[T, Path]]:
    """Return the part of process `index` of `count`: every `count`-th pair."""
    return list(pairs[index::count])


def refuse_existing(pairs: Sequence[File]) -> None:
    """Raise UserError if a result exists."""
    existing = [result for _, result in pairs if os.path.lexists(result)]
    if existing:
        others = f", and {len(existing) - 1} more" if existing[1:] else ""
        raise UserError(
            f"{existing[0]} is there already{others}; "
            "choose another -o, or add --overwrite or --resume",
            path=existing[0],
        )


def _refuse_name(out: Path, images: int, suffix: Callable[[str], str]) -> None:
    """Raises UserError if a file `out` can't be the result."""
    if images != 1:
        raise UserError(
            f"-o {out} is the name of one file, and there are {images} to translate; name a folder",
            option="--out",
            path=out,
        )
    if out != STREAM and (fits := suffix(out.suffix)) != out.suffix:
        raise UserError(
            f"-o {out}: a {out.suffix} file can't hold the output of this model; name it "
            f"{out.with_suffix(fits).name}",
            option="--out",
            path=out,
        )


def _inode(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file, or None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def write_result(
    result: Path, suffix: str, pixels: Pixels, tags: Tags, alpha: bool, labels: bool = False
) -> None:
    """Write a result to its file or to standard output.

    Args:
        result: The file, or `-`.
        suffix: Suffix of the format.
        pixels: (h, w, channels).
        tags: Metadata.
        alpha: Whether the last channel is alpha.
        labels: Whether values are classes.

    Raises:
        UserError: The file cannot be written.
    """
    if result == STREAM:
        sys.stdout.buffer.write(to_bytes(pixels, suffix, tags, alpha=alpha))
        sys.stdout.buffer.flush()
    else:
        write_image(result, pixels, tags, alpha, labels)
