"""Packages for bioimage.io: an ONNX file with a description of its arrays, and test arrays.

The description follows version 0.5 of the format (spec.bioimage.io). It is written as JSON, which
is valid YAML.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import UserError
from ..extras import import_extra
from ..files import write_bytes
from ..images.domain import Domain
from ..inference import Translator
from ..inference.exported import INPUT, OUTPUT
from ..networks.sizes import multiple_of, smallest_of
from ..streaming.graph import Unknown, reach
from .exporting import Deviation, Pixels, export, of_size
from .graph import refuse_label_maps

VERSION = "0.5.12"  # version of the format
SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
NAMES = {1: ["grey"], 3: ["red", "green", "blue"], 4: ["red", "green", "blue", "alpha"]}
LONGEST_NAME, LONGEST_DESCRIPTION = 64, 1024  # characters
MISMATCHES = 2000  # values per million that may differ in other runtimes
DATE = (1980, 1, 1, 0, 0, 0)  # fixed date of files, so that the same model gives the same bytes


class PackageText(NamedTuple):
    """Metadata of a model that its file does not contain."""

    name: str
    description: str
    readme: str
    """Model card in Markdown."""
    license: str | None = None
    """SPDX identifier."""
    authors: Sequence[str] = ()

    def check(self) -> None:
        """Raise UserError if the format does not support a value."""
        if self.license is not None and not SPDX.fullmatch(self.license):
            raise UserError(
                f"--license must be an SPDX identifier such as CC-BY-4.0, not {self.license!r}",
                option="--license",
            )
        if len(self.description) > LONGEST_DESCRIPTION:
            raise UserError(
                f"--description has {len(self.description)} characters; at most "
                f"{LONGEST_DESCRIPTION} are supported",
                option="--description",
            )


class Sizes(NamedTuple):
    """Sizes of the images of a package."""

    smallest: int
    multiple: int
    halo: int
    """Pixels at each border of a tile whose values depend on pixels outside of the tile."""


def write_package(
    translator: Translator,
    header: Mapping[str, Any],
    path: Path,
    images: Sequence[Pixels],
    about: PackageText,
    halo: int | None = None,
) -> tuple[Deviation, Sizes]:
    """Write a translator as a package (.zip) for bioimage.io.

    Args:
        translator: The translator, on the CPU.
        header: The header of its model file, which is stored in the ONNX file.
        path: The package.
        images: Images (h, w, channels) of the source domain to compare results with. The first one
            becomes the test array.
        about: Description of the model.
        halo: Halo in pixels; None: the receptive field of the network.

    Returns:
        The difference between the results of the ONNX file and those of the translator, and the
        sizes.

    Raises:
        UserError: See `export`; or the description is invalid.
    """
    about.check()
    refuse_label_maps(translator, "--to bioimageio", "--to")
    sizes = sizes_of(translator, halo)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        found = export(translator, header, file, images)
        onnx = import_extra("onnx", "export", "an ONNX file")
        opset = next(one.version for one in onnx.load(file).opset_import if not one.domain)
        weights = file.read_bytes()
    height, width = sizes.smallest, sizes.smallest + sizes.multiple
    image = of_size(images[0], height, width)
    parts = {
        "model.onnx": weights,
        "input.npy": _npy(image[None]),
        "output.npy": _npy(translator.pixels([image])[0][None]),
        "README.md": about.readme.encode(),
    }
    described = _description(translator, about, sizes, opset, parts)
    parts["rdf.yaml"] = (json.dumps(described, indent=2, ensure_ascii=False) + "\n").encode()
    write_bytes(path, _zipped(parts))
    return found, sizes


def sizes_of(translator: Translator, halo: int | None) -> Sizes:
    """Return the sizes that a network supports.

    The halo is a multiple of `multiple`, so that tiles of these sizes without their halo begin at
    multiples of it. It is 0 if the receptive field is not known.
    """
    network = translator.network
    multiple = multiple_of(network)
    if halo is None:
        try:
            halo = reach(network, translator.source.config.channels, multiple)
        except Unknown:
            halo = 0
    halo = _rounded(halo, multiple)
    smallest = max(_rounded(smallest_of(network), multiple), 2 * halo + multiple)
    return Sizes(smallest, multiple, halo)


def _rounded(size: int, multiple: int) -> int:
    """Return the smallest multiple that is not below a size."""
    return -(-size // multiple) * multiple


def _description(
    translator: Translator, about: PackageText, sizes: Sizes, opset: int, parts: Mapping[str, bytes]
) -> dict[str, Any]:
    """Return the content of rdf.yaml."""
    size = {"min": sizes.smallest, "step": sizes.multiple}
    halo = {"halo": sizes.halo} if sizes.halo else {}
    references = {
        axis: {"size": {"tensor_id": INPUT, "axis_id": axis}, **halo} for axis in ("y", "x")
    }
    tolerance = {"mismatched_elements_per_million": MISMATCHES}
    return {
        "format_version": VERSION,
        "type": "model",
        "name": _name(about.name),
        "description": about.description,
        "documentation": {"source": "README.md"},
        **({"license": about.license} if about.license else {}),
        **({"authors": [{"name": name} for name in about.authors]} if about.authors else {}),
        "tags": ["image-to-image", "viceversa"],
        "inputs": [
            _tensor(INPUT, translator.source, {"y": {"size": size}, "x": {"size": size}}, parts)
        ],
        "outputs": [_tensor(OUTPUT, translator.target, references, parts)],
        "weights": {
            "onnx": {**_file("model.onnx", parts), "opset_version": opset},
        },
        "config": {"bioimageio": {"reproducibility_tolerance": [tolerance]}},
    }


def _tensor(
    name: str, domain: Domain, sides: Mapping[str, Any], parts: Mapping[str, bytes]
) -> dict[str, Any]:
    """Return the description of an array (n, y, x, channels)."""
    count = domain.config.channels
    names = NAMES.get(count) or [f"channel{i}" for i in range(count)]
    return {
        "id": name,
        "axes": [
            {"type": "batch"},
            *({"type": "space", "id": axis, **sides[axis]} for axis in ("y", "x")),
            {"type": "channel", "channel_names": names},
        ],
        "data": {"type": domain.dtype},
        "test_tensor": _file("input.npy" if name == INPUT else "output.npy", parts),
    }


def _file(name: str, parts: Mapping[str, bytes]) -> dict[str, str]:
    return {"source": name, "sha256": hashlib.sha256(parts[name]).hexdigest()}


def _name(name: str) -> str:
    """Return a name without the characters that the format does not support."""
    return re.sub(r"[^A-Za-z0-9_+() -]", "-", name)[:LONGEST_NAME]


def _npy(array: Pixels) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array))
    return file.getvalue()


def _zipped(parts: Mapping[str, bytes]) -> bytes:
    """Return an archive without compression: weights and pixels are hardly compressible."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name, DATE), content)
    return file.getvalue()
