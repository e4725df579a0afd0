"""Options that the reference saves beside its weights, in `train_opt.txt`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LINE = re.compile(r"\s*(\w+): (.*?)\s*(\[default: .*\])?")
LARGEST = 2**20  # bytes
OLD = {  # names until 2018
    "which_direction": "direction",
    "loadSize": "load_size",
    "fineSize": "crop_size",
    "resize_or_crop": "preprocess",
}
METHODS = {
    "pix2pix": "pix2pix",
    "colorization": "pix2pix",
    "pix2pixHD": "pix2pix",
    "cycle_gan": "cyclegan",
    "cut": "cut",
    "sincut": "cut",
}
OBJECTIVES = {"vanilla": "bce", "lsgan": "lsgan", "wgangp": "wgan-gp"}
PREPROCESS = "resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"


@dataclass(frozen=True)
class SavedOptions:
    """What the options of a training tell about its networks; None where they do not."""

    file: Path | None = None
    method: str | None = None
    direction: str | None = None
    preprocess: str | None = None
    load_size: int | None = None
    crop_size: int | None = None
    flip: bool | None = None
    dropout: bool | None = None
    objective: str | None = None
    colours: bool = False
    """Whether the images are the lightness and the colours of photos (Lab)."""


def read_options(folder: Path) -> SavedOptions:
    """Return the options in a folder of the reference; all unknown if it has no such file."""
    for name in ("train_opt.txt", "opt.txt"):
        path = folder / name
        try:
            if path.is_file() and path.stat().st_size <= LARGEST:
                return _parsed(path, path.read_text("utf-8", "replace"))
        except OSError:
            continue  # optional information
    return SavedOptions()


def _parsed(path: Path, text: str) -> SavedOptions:
    lines = filter(None, map(LINE.fullmatch, text.splitlines()))
    given = {OLD.get(line[1], line[1]): line[2] for line in lines}
    return SavedOptions(
        file=path,
        method=METHODS.get(given.get("model", "")),
        direction={"AtoB": "ab", "BtoA": "ba"}.get(given.get("direction", "")),
        preprocess=next((one for one in PREPROCESS if one == given.get("preprocess")), None),
        load_size=_size(given, "load_size"),
        crop_size=_size(given, "crop_size"),
        flip=_opposite(given, "no_flip"),
        dropout=_opposite(given, "no_dropout"),
        objective=OBJECTIVES.get(given.get("gan_mode", "")),
        colours="colorization" in (given.get("model"), given.get("dataset_mode")),
    )


def _size(given: Mapping[str, str], name: str) -> int | None:
    word = given.get(name, "")
    return int(word) if word.isdecimal() and 0 < int(word) < 2**16 else None


def _opposite(given: Mapping[str, str], name: str) -> bool | None:
    return {"True": False, "False": True}.get(given.get(name, ""))
