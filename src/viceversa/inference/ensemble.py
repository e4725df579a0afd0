"""Ensembles: files of several generators that are used as one, and where these disagree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..checkpoint import read_digest, read_header, read_weights, save_network
from ..config.extensions import KEY
from ..errors import UserError
from ..fields import nested
from ..images.preprocessing import Part
from ..networks.ensemble import MAX_MEMBERS
from .batches import shape_as
from .translator import Translator

SAME = ("direction", "generator", "source", "target", "paired", KEY)  # of all members


def write_ensemble(files: Sequence[Path], out: Path) -> None:
    """Write the generators of several model files to one file, which `Translator` loads.

    Args:
        files: Model files of the same architecture, domains and value ranges.
        out: The file to write.

    Raises:
        UserError: There are fewer than two files, one is no generator, or they differ.
    """
    if not 2 <= len(files) <= MAX_MEMBERS:
        raise UserError(
            f"an ensemble has 2 to {MAX_MEMBERS} generators, and there are {len(files)}"
        )
    if out.suffix != ".safetensors":
        raise UserError(f"-o {out}: the name must end in .safetensors", option="--out", path=out)
    headers = [read_header(file) for file in files]
    for file, header in zip(files, headers, strict=True):
        if header.get("kind") != "translator":
            raise UserError(f"{file} is a {header.get('kind')}, not a translator", path=file)
        if different := [key for key in SAME if header.get(key) != headers[0].get(key)]:
            raise UserError(
                f"{file} and {files[0]} cannot be one ensemble, because their headers "
                f"differ ({', '.join(different)}){_advice(different)}",
                path=file,
            )
        if out.exists() and out.samefile(file):
            raise UserError(f"-o {out} is one of the generators", option="--out", path=out)
    weights: dict[str, Tensor] = {}
    for i, file in enumerate(files):
        weights |= {f"members.{i}.{name}": one for name, one in read_weights(file).items()}
    members = [_member(file, header) for file, header in zip(files, headers, strict=True)]
    header = {key: headers[0][key] for key in SAME if key in headers[0]}
    header |= {"kind": "ensemble", "members": members, "trained": _trained(headers)}
    save_network(out, weights, header)


def with_spread(
    translator: Translator, image: Any, half: Part = None
) -> tuple[Any, NDArray[np.float32]]:
    """Translate one image with an ensemble, and return where its members disagree.

    Args:
        translator: An ensemble, or a translator that was loaded with `flips`.
        image: An image as for a call of the translator: a path, an array, ...; or a tensor
            (channels, h, w) in [-1, 1].
        half: As for a call.

    Returns:
        The result, and the standard deviation over members and mirrored images, averaged over
        channels, (h, w), in units of [-1, 1].

    Raises:
        UserError: There is only one output for an image, or as a call.
    """
    spreads: list[NDArray[np.float32]] = []
    if isinstance(image, Tensor):
        return translator.tensor(image[None].float(), spreads)[0], spreads[0]
    pixels = translator.preprocess(translator.read(image), half)
    return shape_as(image, translator.pixels([pixels], spreads)[0]), spreads[0]


def _advice(different: Sequence[str]) -> str:
    if {"source", "target"} & set(different):
        return (
            "; value ranges that are fitted to the training images differ between folds: set "
            "data.a.range and data.b.range to numbers"
        )
    return ""


def _member(file: Path, header: dict[str, Any]) -> dict[str, Any]:
    """Describe a member: its file, and what it was trained on."""
    trained = header.get("trained", {})
    return {
        "file": str(file),
        "sha256": read_digest(file),
        "images_processed": header.get("images_processed"),
        "weights": header.get("weights"),
        "seed": nested(trained, "train").get("seed"),
        "data": nested(trained, "data").get("path"),
    }


def _trained(headers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the settings of the first member; without its data if members have others.

    The test images of one fold are training images of the members of other folds.
    """
    trained: dict[str, Any] = dict(headers[0].get("trained", {}))
    paths = {nested(header, "trained", "data").get("path") for header in headers}
    if len(paths) > 1:
        trained["data"] = {**nested(trained, "data"), "path": ""}
    trained["train"] = {**nested(trained, "train"), "run": ""}
    return trained
