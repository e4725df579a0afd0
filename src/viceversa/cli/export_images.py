"""Images that an export uses: for the comparison with PyTorch, and for the calibration of INT8."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..export import int8
from ..export.exporting import Deviation, Pixels
from ..fields import evenly_spaced
from ..inference import Translator, expand
from .export_options import ExportOptions

MOST = 20  # maximum number of images of a folder for the comparison


def read_images(
    translator: Translator,
    path: Path,
    option: str = "--images",
    most: int = MOST,
    change: Callable[[Pixels], Pixels] = np.asarray,
) -> list[Pixels]:
    """Return images of a folder, or one image, without their data of the target domain.

    Args:
        translator: The translator.
        path: The folder or file.
        option: The option that names it.
        most: Maximum number of images; evenly spaced images of a folder are used.
        change: Function that is applied to each image after reading.

    Raises:
        UserError: An image cannot be read, or its dtype differs from the dtype of the model.
    """
    source, preprocessing = translator.source, translator.preprocessing
    files = [file for file, _ in expand([str(path)])[0]]
    images = []
    for file in evenly_spaced(files, most):
        whole = np.ma.getdata(translator.read(file))
        half = preprocessing.own_part(whole.shape[0], whole.shape[1])
        image = preprocessing.part(whole, half or "whole", file)
        if str(image.dtype) != source.dtype:
            text = f"{file} is {image.dtype}, but the model was trained on {source.dtype}"
            raise UserError(f"{text}; name other images", option=option, path=path)
        images.append(change(image))
    return images


def export_int8(
    translator: Translator,
    header: Mapping[str, Any],
    out: Path,
    images: Sequence[Pixels],
    options: ExportOptions,
) -> Deviation:
    """Write an OpenVINO file in INT8, and print its PSNR.

    Args:
        translator: The translator of the model.
        header: The header of its file.
        out: The file.
        images: Images to compare the file with, before it is quantized.
        options: The options of the command.

    Returns:
        The difference between the results of the file in fp32 and those of the translator.

    Raises:
        UserError: See `int8.export_int8`; or there are fewer than two images for calibration.
    """
    folder = options.calibrate
    assert folder is not None
    crops = read_images(
        translator, folder, "--calibrate", int8.MOST, lambda one: int8.crop(one, translator)
    )
    if len(crops) < 2:
        raise UserError(
            f"--calibrate {folder} has one image; at least two are needed",
            option="--calibrate",
            path=folder,
        )
    difference, found = int8.export_int8(translator, header, out, images, crops, options.anyway)
    print(
        f"INT8: a PSNR of {found.psnr:.1f} dB relative to fp32, for {found.compared} images that "
        f"were not used for calibration ({found.calibrated} were)"
    )
    return difference
