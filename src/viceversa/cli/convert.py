"""The command convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ..errors import UserError
from .app import command


@command(
    ("convert checkpoints/facades -o models/facades", "import the weights of a training"),
    ("convert latest_net_G.pth -o models/map --direction ba", "import one generator"),
    ("convert runs/photos -o checkpoints/photos --to reference", "write .pth files"),
)
def convert(
    path: Path,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    to: Literal["viceversa", "reference"] = "viceversa",
    epoch: str = "latest",
    direction: Literal["auto", "ab", "ba"] = "auto",
    dropout: Literal["auto", "yes", "no"] = "auto",
    preprocess: Literal[
        "auto", "resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"
    ] = "auto",
    load_size: int = 0,
    crop_size: int = 0,
) -> None:
    """Convert weights of junyanz/pytorch-CycleGAN-and-pix2pix, CUT or pix2pixHD, or to the first.

    Width, depth, norm and channels are read from the weights. What they do not tell is read from
    `train_opt.txt` beside them, if it exists, or assumed to be the default there; the command
    prints both. Files are read without running code in them.

    Parameters
    ----------
    path
        A .pth file or a folder such as checkpoints/NAME; with `--to reference`, a run folder or a
        model file.
    out
        Folder of the results.
    to
        viceversa: model files (.safetensors); reference: files of weights (.pth).
    epoch
        Epoch of the files in a folder: latest, or a number.
    direction
        Direction of the generator G, or of G_A of CycleGAN; auto: train_opt.txt, or ab.
    dropout
        Whether the U-Net was trained with dropout, which only `--policy paper` uses; auto:
        train_opt.txt, or yes for pix2pix.
    preprocess
        `data.preprocess` of the training; auto: train_opt.txt, or resize_and_crop.
    load_size
        `data.load_size` of the training; 0: train_opt.txt, or 286.
    crop_size
        `data.crop_size` of the training; 0: train_opt.txt, or 256.
    """
    given: dict[str, Any] = {
        "direction": None if direction == "auto" else direction,
        "dropout": None if dropout == "auto" else dropout == "yes",
        "preprocess": None if preprocess == "auto" else preprocess,
        "load_size": load_size or None,
        "crop_size": crop_size or None,
    }
    for name, size in (("load_size", load_size), ("crop_size", crop_size)):
        if size < 0:
            raise UserError(f"--{name} must be at least 1, not {size}", option=f"--{name}")
    if to == "reference":
        if unused := [name for name, value in given.items() if value is not None]:
            raise UserError(f"--{unused[0]} belongs to an import, not to --to reference")
        from ..conversion.exporting import export_models

        lines = export_models(path, out)
    else:
        from ..conversion.importing import ImportOptions, import_models

        lines = import_models(path, out, ImportOptions(epoch=epoch, **given))
    print("\n".join(lines))
