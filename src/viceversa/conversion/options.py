"""Options that the reference saves beside its weights, in `train_opt.txt`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..checkpoint.header import unreadable
from ..errors import UserError
from ..images.preprocessing import LARGEST_SIDE

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
GAN_LOSSES = {"vanilla": "bce", "lsgan": "lsgan", "wgangp": "wgan-gp"}
PREPROCESS = "resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"


@dataclass(frozen=True)
class SavedOptions:
    """Options of a training; None: unknown."""

    file: Path | None = None
    method: str | None = None
    direction: str | None = None
    channels: tuple[int, int] | None = None
    """Channels of the input and of the output of the generator."""
    preprocess: str | None = None
    load_size: int | None = None
    crop_size: int | None = None
    flip: bool | None = None
    dropout: bool | None = None
    gan_loss: str | None = None
    lab: bool = False
    """Images are the lightness and the colours of photos (`--model colorization`)."""
    maps: bool = False
    """Inputs are label maps, edges of instances or features (pix2pixHD)."""
    unknown: tuple[str, ...] = ()
    """Options with a value that has no equivalent, as written."""


def read_options(folder: Path) -> SavedOptions:
    """Return the options in a folder of the reference; all unknown if it has no such file.

    Raises UserError if the file cannot be read.
    """
    for name in ("train_opt.txt", "opt.txt"):
        path = folder / name
        if not path.exists():
            continue
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise UserError(f"{path} is not a file of options; move it elsewhere", path=path)
        try:
            return _parsed(path, path.read_text("utf-8", "replace"))
        except OSError as error:
            raise unreadable(path, error) from None
    return SavedOptions()


def _parsed(path: Path, text: str) -> SavedOptions:
    lines = filter(None, map(LINE.fullmatch, text.splitlines()))
    given = {OLD.get(line[1], line[1]): line[2] for line in lines}
    hd = given.get("model") == "pix2pixHD"
    unknown = []

    def known(name: str, values: Mapping[str, str]) -> str | None:
        """Return the equivalent of a value."""
        if given.get(name) and given[name] not in values:
            unknown.append(f"{name} {given[name]}")
        return values.get(given.get(name, ""))

    loss = known("gan_mode", GAN_LOSSES)
    if loss is None and "no_lsgan" in given:
        loss = "bce" if given["no_lsgan"] == "True" else "lsgan"
    counts = [_number(given, name) for name in ("input_nc", "output_nc")]
    return SavedOptions(
        file=path,
        method=METHODS.get(given.get("model", "")),
        direction=known("direction", {"AtoB": "ab", "BtoA": "ba"}),
        channels=(counts[0], counts[1]) if counts[0] and counts[1] else None,
        preprocess=known("preprocess", {name: name for name in PREPROCESS}),
        load_size=_number(given, "load_size"),
        crop_size=_number(given, "crop_size"),
        flip=_opposite(given, "no_flip"),
        dropout=_opposite(given, "no_dropout"),
        gan_loss=loss,
        lab="colorization" in (given.get("model"), given.get("dataset_mode")),
        maps=hd and (given.get("label_nc") != "0" or given.get("no_instance") != "True"),
        unknown=tuple(unknown),
    )


def _number(given: Mapping[str, str], name: str) -> int | None:
    word = given.get(name, "")
    return int(word) if word.isdecimal() and 0 < int(word[:9]) <= LARGEST_SIDE else None


def _opposite(given: Mapping[str, str], name: str) -> bool | None:
    return {"True": False, "False": True}.get(given.get(name, ""))
