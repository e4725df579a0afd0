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
    direction: Literal["ab", "ba"] | None = None,
    dropout: Literal["yes", "no"] | None = None,
    flip: Literal["yes", "no"] | None = None,
    gan_loss: Literal["bce", "lsgan", "hinge", "wgan-gp"] | None = None,
    preprocess: Literal["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"]
    | None = None,
    load_size: int | None = None,
    crop_size: int | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Import weights of other implementations, or export weights to .pth files of the reference.

    Weights of junyanz/pytorch-CycleGAN-and-pix2pix (the reference), CUT and pix2pixHD are imported.
    Width, depth, norm and channels are read from the weights. Other settings are read from
    `train_opt.txt` in the same folder, if it exists; settings that are still unknown get the
    defaults of the reference. The command prints them. Code in files is not run.

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
        Direction of the generator G, or of G_A of CycleGAN.
    dropout
        Whether the U-Net was trained with dropout, which only `--policy paper` uses.
    flip
        Whether training images were mirrored (`data.flip`), which allows `--flips`.
    gan_loss
        `method.gan_loss` of the training: the meaning of the scores of a discriminator.
    preprocess
        `data.preprocess` of the training.
    load_size
        `data.load_size` of the training, in pixels.
    crop_size
        `data.crop_size` of the training, in pixels.
    overwrite
        Replace existing files.
    """
    from ..images.preprocessing import LARGEST_SIDE

    for name, size in (("load_size", load_size), ("crop_size", crop_size)):
        if size is not None and not 1 <= size <= LARGEST_SIDE:
            text = f"--{name} must be from 1 to {LARGEST_SIDE}, not {size}"
            raise UserError(text, option=f"--{name}")
    given: dict[str, Any] = {
        "direction": direction,
        "dropout": None if dropout is None else dropout == "yes",
        "flip": None if flip is None else flip == "yes",
        "gan_loss": gan_loss,
        "preprocess": preprocess,
        "load_size": load_size,
        "crop_size": crop_size,
    }
    if to == "reference":
        unused = [name for name, value in given.items() if value is not None]
        if unused or epoch != "latest":
            option = f"--{[*unused, 'epoch'][0]}"
            text = f"{option} belongs to an import; leave it out with --to reference"
            raise UserError(text, option=option)
        from ..conversion.exporting import export_models

        lines = export_models(path, out, overwrite)
    else:
        from ..conversion.importing import ImportOptions, import_models

        lines = import_models(path, out, ImportOptions(epoch=epoch, **given), overwrite)
    print("\n".join(lines))
