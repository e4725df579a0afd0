"""OpenVINO files whose convolutions compute in INT8, calibrated on images of the user."""

from __future__ import annotations

import io
import json
import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..checkpoint.exported import ENTRY, header_text
from ..errors import UserError
from ..extras import import_extra, import_openvino, openvino_core
from ..inference import Translator
from ..inference.exported import Run, open_exported
from ..networks.sizes import multiple_of, smallest_of
from .exporting import Deviation, Pixels, export, of_size, publish
from .graph import refuse_label_maps

LEAST = 30.0  # minimum PSNR in dB; with a lower PSNR, differences are visible
EVERY = 4  # every fourth image is used for the comparison, the others for calibration
MOST = 80  # maximum number of images for calibration and comparison
SIDE = 512  # maximum height and width of a crop, in pixels
SMALLEST_ERROR = 1e-12  # mean squared error relative to the squared range: 120 dB


class Quantization(NamedTuple):
    """Result of the quantization of a file."""

    psnr: float
    """PSNR of the results relative to PyTorch in fp32, in dB, over all compared images."""
    compared: int
    """Number of compared images; none of them was used for calibration."""
    calibrated: int
    """Number of images that were used for calibration."""


def export_int8(
    translator: Translator,
    header: Mapping[str, Any],
    path: Path,
    images: Sequence[Pixels],
    crops: Sequence[Pixels],
    anyway: bool = False,
) -> tuple[Deviation, Quantization]:
    """Write a translator as an OpenVINO file in INT8, after comparing its results.

    Args:
        translator: The translator, on the CPU.
        header: The header of its model file, which is stored in the file.
        path: The file, .xml, with a .bin file next to it.
        images: Images to compare the file with, before it is quantized.
        crops: Crops of at least two images, see `crop`. Every fourth crop is used to compare the
            results, the others are used for calibration.
        anyway: Whether to write a file with a PSNR below `LEAST`.

    Returns:
        The difference between the file in fp32 and PyTorch, and the result of the quantization.

    Raises:
        UserError: See `export`; or the package nncf is missing, or the PSNR is too low.
    """
    refuse_label_maps(translator, "--int8", "--int8")
    openvino = import_openvino()
    with warnings.catch_warnings(action="ignore"):
        nncf = import_extra("nncf", "int8", "quantization")
    compared = range(EVERY - 1, len(crops), EVERY) or [len(crops) - 1]
    held = [crops[i] for i in compared]
    calibration = [one for i, one in enumerate(crops) if i not in compared]
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        plain, made = Path(first) / path.name, Path(second) / path.name
        difference = export(translator, header, plain, images)
        model = _quantized(nncf, openvino_core().read_model(plain), calibration)
        openvino.save_model(model, made, compress_to_fp16=False)
        psnr = _psnr(translator, open_exported(made), held)
        found = Quantization(round(psnr, 2), len(held), len(calibration))
        if psnr < LEAST and not anyway:
            raise UserError(
                f"the results in INT8 have a PSNR of {psnr:.1f} dB relative to fp32, less than "
                f"{LEAST:g} dB; export the model without --int8, or add --anyway",
                option="--int8",
            )
        described = {**json.loads(header_text(plain)), "int8": found._asdict()}
        model.set_rt_info(json.dumps(described), ENTRY)
        openvino.save_model(model, made, compress_to_fp16=False)
        publish(Path(second), path)
    return difference, found


def crop(image: Pixels, translator: Translator) -> Pixels:
    """Return the centre of an image in a size that the network supports, at most about `SIDE`.

    An image that is too small is mirrored.
    """
    multiple, smallest = multiple_of(translator.network), smallest_of(translator.network)
    least = -(-smallest // multiple) * multiple
    sides = [max(least, min(side, SIDE) // multiple * multiple) for side in image.shape[:2]]
    top, left = (max(0, own - side) // 2 for own, side in zip(image.shape, sides, strict=False))
    return of_size(image[top:, left:], sides[0], sides[1])


def _quantized(nncf: Any, model: Any, calibration: Sequence[Pixels]) -> Any:
    """Return an OpenVINO model with INT8 weights and activations."""
    logging.getLogger("nncf").setLevel(logging.ERROR)
    # Asymmetric activations: after a ReLU or for dark images, half of a symmetric range is unused.
    with redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
        return nncf.quantize(
            model,
            nncf.Dataset([one[None] for one in calibration]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(calibration),
        )


def _psnr(translator: Translator, run: Run, images: Sequence[Pixels]) -> float:
    """Return the PSNR of the results of a file over all pixels of all images, in dB."""
    span = np.subtract(translator.target.high, translator.target.low)
    errors = []
    for image in images:
        expected = translator.pixels([image])[0].astype(np.float64)
        difference = (run(image[None])[0].astype(np.float64) - expected) / span
        errors.append(np.mean(difference**2))
    return float(-10 * np.log10(max(float(np.mean(errors)), SMALLEST_ERROR)))
