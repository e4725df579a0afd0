"""Find the images to translate: files, members of archives, globs and folders."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from ..fields import did_you_mean
from ..images.archives import COMPRESSED, IN_PLACE, read_archives
from ..images.formats.ome_zarr import is_zarr, names_zarr
from ..images.sources import FORMATS, Unread, is_hidden, is_image_name, unread
from ..images.video import is_video_name
from .outputs import File


class Inputs(NamedTuple):
    """Images, and files that are not read as images."""

    files: list[File]
    unread: list[Unread]
    skipped: list[tuple[Path, str]]
    """Members of archives that cannot be used, with the reason."""


def expand(inputs: Sequence[str]) -> Inputs:
    """Find the images behind files, archives, globs and folders.

    Subfolders of folders and archives are kept in the results. Any other file that is named as an
    input is read as an image, whatever its suffix. Raises UserError if an input contains no image.
    """
    files: dict[File, None] = {}
    others: dict[str, None] = {}
    skipped: list[tuple[Path, str]] = []
    for given in inputs:
        archives, images, rest = _expand(given)
        files |= dict.fromkeys(images)
        others |= dict.fromkeys(rest)
        for path in archives:
            members, problems, rest = read_archives([("", path)])
            if not members:
                raise UserError(f"{path} has no images; supported formats: {FORMATS}", path=path)
            files |= {(members[name], Path(name)): None for name in sorted(members)}
            others |= {f"{path}/{name}": None for name in rest}
            skipped += [(path / name, why) for name, why in problems]
    named = {str(path) for path, _ in files}
    return Inputs(list(files), unread(name for name in others if name not in named), skipped)


def _expand(given: str) -> tuple[list[Path], list[File], list[str]]:
    """Return the archives, the images, and the names of other files of one input."""
    if not given:
        raise UserError("an input has no name; name files, globs or folders")
    path = Path(given)
    if path.exists() and not path.is_dir():
        return ([path], [], []) if _is_archive(path) else ([], [(path, Path(path.name))], [])
    if is_zarr(path):
        return [], [(path, Path(path.absolute().name))], []
    if path.is_dir():
        matches = [file for file in sorted(path.rglob("*")) if _is_visible(file.relative_to(path))]
        none = f"the folder {given} contains no images"
    else:
        matches = [Path(match) for match in sorted(glob.glob(given, recursive=True))]
        matches = [file for file in matches if _is_visible(Path(file.name))]
        near = [str(f) for f in path.parent.iterdir()] if path.parent.is_dir() else []
        none = f"there is no image {given}{did_you_mean(given, near)}"
    zarrs = {file for file in matches if names_zarr(file) and file.is_dir()}
    matches = [file for file in matches if zarrs.isdisjoint(file.parents)]
    within = path.is_dir()
    archives = [] if within else [file for file in matches if _is_archive(file)]
    files = [f for f in matches if f in zarrs or (is_image_name(f.name) and f.is_file())]
    others = [str(file) for file in matches if not is_image_name(file.name) and file.is_file()]
    others = [name for name in others if Path(name) not in archives]
    if files or archives:
        named = [(f, f.relative_to(path) if within else Path(f.name)) for f in files]
        return archives, list(named), others
    if groups := unread(others):
        listed = "; ".join(map(str, groups))
        videos = [group.ending for group in groups if is_video_name(group.names[0])]
        advice = f"; name videos as '{path}/*{videos[0]}'" if within and videos else ""
        raise UserError(
            f"{given} has no images that can be read, only {listed}; supported formats: "
            f"{FORMATS}{advice}"
        )
    raise UserError(none)


def _is_archive(path: Path) -> bool:
    """Return whether a file is an archive that is read in place.

    Raises UserError for an archive that is compressed as a whole.
    """
    name = path.name.lower()
    if name.endswith(COMPRESSED) and path.is_file():
        raise UserError(
            f"{path} is a compressed archive that cannot be read in place; unpack it, or convert "
            "it to .tar or .zip",
            path=path,
        )
    return name.endswith(IN_PLACE) and path.is_file()


def _is_visible(path: Path) -> bool:
    return not any(map(is_hidden, path.parts))
