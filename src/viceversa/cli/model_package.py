"""Write a bioimage.io package of a model, with its model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..export import bioimageio
from ..export.exporting import Deviation, Pixels
from ..fields import nested
from ..inference import Translator
from .export_options import ExportOptions
from .model_folder import OPEN, card_text, method_of, without_folders

USE = """## Use

`model.onnx` takes images as an array (n, height, width, channels) with the pixel values of image
files, and returns the results in the same layout. `rdf.yaml` describes it for the programs that
read models of bioimage.io.

## Validation

`output.npy` is the result of PyTorch for `input.npy`. The library `bioimageio.core` compares it
with that of `model.onnx`:

```sh
bioimageio test model.zip
```
"""


def write_package(
    translator: Translator,
    model: Path,
    header: Mapping[str, Any],
    out: Path,
    images: Sequence[Pixels],
    options: ExportOptions,
) -> Deviation:
    """Write a package without paths of the machine; print its sizes and the missing metadata.

    Args:
        translator: The translator of the model.
        model: The model file.
        header: Its header.
        out: The package.
        images: Images to compare results with; the first one is the test image.
        options: The options of the command.

    Returns:
        The difference between the results of the ONNX file and those of the translator.

    Raises:
        UserError: An option is invalid; or see `bioimageio.write_package`.
    """
    if options.halo is not None and not 0 <= options.halo <= 2**14:
        text = f"--halo must be from 0 to {2**14} pixels, not {options.halo}"
        raise UserError(text, option="--halo")
    header = without_folders(header)
    about = _about(model, header, options)
    found, sizes = bioimageio.write_package(translator, header, out, images, about, options.halo)
    print(
        f"{out}: images of {sizes.smallest} px or more, in steps of {sizes.multiple}; "
        f"halo {sizes.halo} px"
    )
    missing = [name for name in ("license", "author") if not getattr(options, name)]
    if missing:
        names = " and ".join(f"--{name}" for name in missing)
        print(f"not stated, but needed to publish the package: {names}")
    return found


def _about(
    model: Path, header: Mapping[str, Any], options: ExportOptions
) -> bioimageio.PackageText:
    """Return the description of a model from the options, or from its header."""
    method, direction = method_of(header), str(header.get("direction")).upper()
    data = nested(header, "trained", "data").get("path")
    name = f"{method} {direction[:1]} to {direction[1:]}" + (f" ({data})" if data else "")
    images = header.get("images_processed")
    text = f"Image-to-image translation by {method}, direction {direction[:1]} to {direction[1:]}"
    if data:
        text += f"; trained on {data}, {images} images processed"
    licence = f"## Licence\n\n{options.license}\n" if options.license else OPEN
    readme = card_text(model, model, header, [USE], licence)
    description = text if options.description is None else options.description
    return bioimageio.PackageText(name, description, readme, options.license, options.author)
