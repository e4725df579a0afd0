"""What lies in a data folder: side-by-side files, or one folder per domain. Found by looking."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..images import files_in, size


@dataclass(frozen=True)
class Found:
    """The images of one split, as they lie on disk, before any direction is applied.

    `side_by_side`: each file of `a` holds A in its left half and B in its right; then `b` is `a`.
    """

    layout: str
    a: tuple[Path, ...]
    b: tuple[Path, ...]
    side_by_side: bool


def find(root: Path, split: str, paired: bool) -> Found | None:
    """The images of a split (`train`, `val`, `test`), or None where the folder has no such split.

    Looks for, in this order: `trainA/ trainB/`; `train/A/ train/B/`; `train/` of side-by-side
    files; and, for `train` alone, `A/ B/` or side-by-side files in the folder itself.
    Raises UserError where domains do not fit each other.
    """
    if not root.is_dir():
        raise UserError(f"there is no data folder {root}")
    choices = [(root / f"{split}A", root / f"{split}B"), (root / split / "A", root / split / "B")]
    joint = [root / split]
    if split == "train":
        choices.append((root / "A", root / "B"))
        joint.append(root)
    for a, b in choices:
        if a.is_dir() or b.is_dir():
            return _two_folders(a, b, root, paired)
    for folder in joint:
        files = files_in(folder) if folder.is_dir() else []
        if files:
            _check_halves(files)
            where = folder.relative_to(root.parent)
            return Found(f"side-by-side files in {where}", tuple(files), tuple(files), True)
    if split == "train":
        raise UserError(
            f"{root} holds no images to train on; it needs files with A and B side by side (in "
            "train/ or by themselves), or folders A/ and B/, train/A/ and train/B/, or trainA/ "
            "and trainB/"
        )
    return None


def _two_folders(a: Path, b: Path, root: Path, paired: bool) -> Found:
    for folder in (a, b):
        if not folder.is_dir():
            raise UserError(f"{root} has no folder {folder.relative_to(root)} beside its other one")
        if not files_in(folder):
            raise UserError(f"{folder} holds no images")
    files_a, files_b = files_in(a), files_in(b)
    if paired:
        files_a, files_b = _pair(files_a, files_b, a, b)
    else:
        for file in (*files_a, *files_b):
            size(file)  # what is no image is told now, not hours later
    names = f"{a.relative_to(root.parent)} and {b.relative_to(root.parent)}"
    layout = f"pairs by name in {names}" if paired else f"folders {names}"
    return Found(layout, tuple(files_a), tuple(files_b), False)


def _pair(
    files_a: list[Path], files_b: list[Path], a: Path, b: Path
) -> tuple[list[Path], list[Path]]:
    """Match by name without its ending. Raises where a name is alone or stands twice."""
    stems = []
    for files in (files_a, files_b):
        by_stem: dict[str, Path] = {}
        for file in files:
            if file.stem in by_stem:
                raise UserError(
                    f"{by_stem[file.stem]} and {file.name} have the same name to pair by"
                )
            by_stem[file.stem] = file
        stems.append(by_stem)
    alone = sorted(stems[0].keys() ^ stems[1].keys())
    if alone:
        first = ", ".join(str((stems[0] | stems[1])[stem]) for stem in alone[:10])
        more = f" and {len(alone) - 10} more" if len(alone) > 10 else ""
        raise UserError(
            f"{len(alone)} of the images in {a} and {b} have no partner of the same name: "
            f"{first}{more}; rename or move them"
        )
    names = sorted(stems[0])
    for name in names:
        (height, width), (other_height, other_width) = size(stems[0][name]), size(stems[1][name])
        if (height, width) != (other_height, other_width):
            raise UserError(
                f"the pair {stems[0][name]} ({width}x{height}) and {stems[1][name]} "
                f"({other_width}x{other_height}) is of different sizes; a pair must match pixel "
                "by pixel"
            )
    return [stems[0][n] for n in names], [stems[1][n] for n in names]


def _check_halves(files: list[Path]) -> None:
    """Two images side by side have an even width. Reads headers alone."""
    for file in files:
        _, width = size(file)
        if width % 2:
            raise UserError(
                f"{file} is {width} pixels wide: two images side by side have an even width"
            )
