"""Example inputs that the page offers for a model."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from ..fields import evenly_spaced, nested
from ..images import MAX_PIXELS, Pixels, Tags, suffix_for, to_bytes
from ..images.domain import Domain
from ..images.loading import resize_for, to_domain, to_domain_pixels
from ..inference import Translator
from ..inference.inputs import expand
from ..inference.masked import with_alpha
from .models import NamedModel

MOST = 16  # maximum number of examples of a model
LARGEST = 1024  # maximum length of the longer side, in pixels
TYPES = {".png": "image/png", ".tif": "image/tiff"}
DEMOS = ("viceversa", "demos")  # parent folders of the data of a demo


class Example(NamedTuple):
    """Image file of an example, with its media type."""

    content: bytes
    media_type: str


def example_inputs(
    arguments: Sequence[str],
    models: Sequence[NamedModel],
    option: str = "--examples",
    demos: bool = True,
) -> dict[str, list[str]]:
    """Return the paths and globs of the examples of each model. Raises UserError.

    Models of demos have test images of the demo if no other examples are given and `demos` is true.

    Args:
        arguments: Files, folders and globs for all models, or NAME=FOLDER for one model.
        models: The models.
        option: Name of the option, for messages.
        demos: Whether the images of demos may be used.
    """
    of_all: list[str] = []
    given: dict[str, list[str]] = {one.name: [] for one in models}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals or Path(argument).exists():
            of_all.append(argument)
        elif name in given:
            given[name].append(text)
        else:
            raise UserError(
                f"{option} {argument}: there is no model {name}; the models are {', '.join(given)}",
                option=option,
            )
    return {
        one.name: given[one.name] or of_all or (demo_inputs(one) if demos else []) for one in models
    }


def demo_inputs(model: NamedModel) -> list[str]:
    """Return the folder of this package with the test images of a demo; "" for other models."""
    *_, package, demos, name = ("", "", "", *Path(_data_path(model)).parts)
    if (package, demos) != DEMOS:
        return []
    root = Path(str(resources.files("viceversa") / "demos"))
    domain = str(model.header["direction"])[:1].upper()
    known = {one.name: one for one in root.iterdir() if one.is_dir()}
    folders = [known[name] / f"test{domain}", known[name] / "test"] if name in known else []
    return [str(folder) for folder in folders if folder.is_dir()][:1]


def _data_path(model: NamedModel) -> str:
    return str(nested(model.header, "trained", "data").get("path", ""))


def read_examples(inputs: Sequence[str], translator: Translator) -> list[Example]:
    """Return examples for a model: at most MOST images, evenly spaced in the order of names.

    If files contain A and B side by side, the half of the source domain is used. Raises UserError
    if an image does not fit the model.
    """
    files = [path for path, _ in expand(inputs).files] if inputs else []
    chosen = evenly_spaced(files, MOST)
    return [_encoded(_read(file, translator), translator.source) for file in chosen]


def _read(file: object, translator: Translator) -> Pixels:
    config, known = translator.source.config, translator.preprocessing
    pixels = to_domain_pixels(file, config, MAX_PIXELS, translator.source.nodata_value)
    pixels = known.part(pixels, known.own_part(*pixels.shape[:2]), file)
    to_domain(pixels, config, file)  # raises UserError for pixels that belong to no class
    height, width = pixels.shape[:2]
    scale = min(1.0, LARGEST / max(height, width))
    size = max(1, round(scale * height)), max(1, round(scale * width))
    return resize_for(pixels, size[0], size[1], config)


def _encoded(pixels: Pixels, source: Domain) -> Example:
    if (nodata := source.nodata_value.value) is not None and np.ma.isMaskedArray(pixels):
        pixels = np.ma.filled(pixels, nodata)
    suffix = suffix_for(".png", pixels)
    filled, alpha = with_alpha(np.ma.getdata(pixels), pixels, source, source, suffix)
    content = to_bytes(filled, suffix, Tags(nodata=source.nodata), alpha=alpha)
    return Example(content, TYPES[suffix])
