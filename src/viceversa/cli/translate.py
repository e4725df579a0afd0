"""The command `viceversa translate`; `translation.py` contains the translation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import UserError
from .app import command
from .translate_options import TranslateOptions


@command(
    ("translate runs/photos/ab.safetensors new-photos -o results", "all images of a folder"),
    ("translate runs/photos/ab.safetensors photo.jpg -o result.png", "one image"),
    ("translate model.safetensors 'scans/*.tif' -o out --resume", "what is not translated yet"),
    ("translate model.safetensors clip.mp4 -o result.mp4", "each frame of a video"),
    ("translate model.safetensors photos -o out --ray auto", "by the workers of a Ray cluster"),
    ("translate model.onnx new-photos -o results", "by ONNX Runtime"),
)
def translate(
    model: Path,
    *inputs: str,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    options: TranslateOptions | None = None,
) -> None:
    """Translate images: files, globs and folders; or videos: files and globs.

    Parameters
    ----------
    model
        The model file of a generator, such as runs/NAME/ab.safetensors, a run folder with one, or
        a file of `viceversa export`.
    inputs
        Images, globs in quotes, folders (with their subfolders), or .zip and .tar archives; - is
        standard input. An OME-Zarr, a folder such as image.ome.zarr, is one image. Or videos, such
        as .mp4, .mov, .mkv and .webm; globs in quotes.
    out
        The folder or file for the results. In a folder or .zip they keep the names of their images;
        a file, such as result.png, is for a single image or video; - is standard output.
    """
    options = options or TranslateOptions()
    if not inputs:
        raise UserError("name the images to translate: files, globs or folders")
    if options.batch_size < 1:
        raise UserError(
            f"--batch_size must be at least 1, not {options.batch_size}", option="--batch_size"
        )
    if options.memory is not None and not 0 < options.memory < 1e6:
        raise UserError(
            f"--memory must be a number of GB above 0, not {options.memory}", option="--memory"
        )
    from ..inference.video import are_videos
    from .translation import run_on_images, run_on_videos

    run = run_on_videos if are_videos(inputs, out) else run_on_images
    run(model, inputs, out, options)
