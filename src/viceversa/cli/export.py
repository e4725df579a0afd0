"""The command export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ..errors import UserError
from .app import command

if TYPE_CHECKING:
    from ..inference import Translator

COMPARED = 4  # images, by default
MOST = 20  # images of a folder


@command(
    ("export runs/photos/ab.safetensors -o model.onnx", "an ONNX file"),
    ("export runs/photos/ab.safetensors -o model.onnx --images photos", "compared on own images"),
)
def export(
    model: Path,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    images: Path | None = None,
    policy: Literal["image", "running"] = "image",
    flips: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Write a generator as an ONNX file, for ONNX Runtime and other programs.

    The file takes images as an array (n, height, width, channels) with the values of files, and
    returns translated images of the same kind: it contains the conversion to [-1, 1] and back.
    Batch size, height and width are free; both sides must be multiples of the number that the
    command prints. The results are compared with those of PyTorch before the file is written.

    Parameters
    ----------
    model
        The model file of a generator, such as runs/NAME/ab.safetensors, or a run folder with one.
    out
        The file, such as model.onnx.
    images
        A folder, of which 20 images are used at most, or an image, to compare results with; by
        default, photos of a demo.
    policy
        image: batch norm with the statistics of each image; running: with those of training.
    flips
        Average the outputs for each image and for its mirror images, as `translate --flips`.
    overwrite
        Replace an existing file.
    """
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists; add --overwrite to replace it", option="-o", path=out)
    from ..checkpoint import read_header, translator_file
    from ..data.readonly import refuse_output_in_data, training_data
    from ..export.onnx_file import export as write_file
    from ..inference import Translator
    from ..networks.sizes import multiple_of

    path = translator_file(model)
    header = read_header(path)
    refuse_output_in_data(out, training_data(header, path), "-o")
    translator = Translator.load(path, "cpu", policy, flips=flips)
    compared, what = _images(translator, images)
    found = write_file(translator, header, out, compared)
    multiple = multiple_of(translator.network)
    print(f"{out}: height and width of images must be multiples of {multiple}")
    print(
        f"compared with PyTorch, {what}, {found.images} results: the largest difference is "
        f"{found.largest:.2g} of the range, {found.changed:.1g} of the values differ"
    )


def _images(translator: Translator, path: Path | None) -> tuple[Sequence[Any], str]:
    """Return images of the source domain to compare results with, and what they are."""
    from importlib import resources

    import numpy as np

    from ..inference import expand

    source = translator.source
    if path is not None:
        files = [file for file, _ in expand([str(path)])[0]]
        files = files[:: -(-len(files) // MOST)]
        pixels = [np.ma.getdata(translator.read(file)) for file in files]
        for file, image in zip(files, pixels, strict=True):
            if str(image.dtype) != source.dtype:
                text = f"{file} is {image.dtype}, but the model was trained on {source.dtype}"
                raise UserError(f"{text}; name other images", option="--images", path=file)
        return pixels, f"{len(files)} images of {path}"
    if source.dtype == "uint8" and source.config.channels in (1, 3):
        photos = Path(str(resources.files("viceversa") / "demos" / "earth" / "testA"))
        files = sorted(photos.glob("*.jpg"))[:COMPARED]
        return [translator.read(file) for file in files], "photos of the demo"
    low, high = np.asarray(source.low), np.asarray(source.high)
    noise = np.random.default_rng(0).random((COMPARED, 256, 256, source.config.channels))
    return list((low + noise * (high - low)).astype(source.dtype)), "noise"
