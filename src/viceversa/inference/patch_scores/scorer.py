"""A finished discriminator: `PatchScorer.load("d_b.safetensors")(image)`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...checkpoint import load_network, read_header
from ...config.compatibility import objective_of
from ...config.extensions import require
from ...errors import UserError
from ...fields import fill
from ...images import Source
from ...images import read_header as image_header
from ...images.domain import Domain
from ...images.loading import load
from ...images.preprocessing import LARGE, Part, Preprocessing
from ...images.values import fill_nodata, to_tensor, to_values
from ...networks import DISCRIMINATORS
from ...networks.norms import use_policy
from ...networks.patch_grid import patch_grid
from ...runtime.device import prepare_device
from .scores import PatchScores

UNKNOWN = Preprocessing()


class PatchScorer:
    """Says of an image of its domain, patch by patch, how real it looks; of any size.

    `domain` is what its images are; `source`, for one that judges pairs, what they were made from.
    Batch norm takes the statistics of the image, so that an image is judged by itself: the network
    is put to use in place, so of one that still learns give a copy.
    """

    def __init__(
        self, network: nn.Module, domain: Domain, source: Domain | None, objective: str,
        framing: Preprocessing = UNKNOWN,
    ):  # fmt: skip
        self.network, self.domain, self.source = network, domain, source
        self.objective, self.framing = objective, framing
        use_policy(network)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> PatchScorer:
        """A judge from the file that training wrote. Raises UserError for any other file."""
        path = Path(path)
        header = read_header(path)
        if header.get("kind") != "discriminator":
            raise UserError(f"{path} is a {header.get('kind')}, not a discriminator")
        settings = dict(header["discriminator"])
        name = settings.pop("name", None)
        if name not in DISCRIMINATORS:
            require(header, path)
            raise UserError(f"{path} holds a discriminator {name!r} that this version doesn't know")
        objective = _objective(header, path)
        domain, other = (_domain(header, end, path) for end in ("target", "source"))
        source = other if header.get("pair") is True else None
        width = domain.config.width + (source.config.width if source else 0)
        network_class, config_class = DISCRIMINATORS[name]
        config = fill(config_class, settings, str(path))
        network = load_network(path, lambda: network_class(config, width))
        network.to(prepare_device(device))
        return cls(network, domain, source, objective, Preprocessing.of(header))

    @torch.inference_mode()
    def __call__(self, image: Tensor, source: Tensor | None = None) -> PatchScores:
        """The verdict on an image (channels, h, w) in [-1, 1], of its `source`, of the same size.

        Raises UserError where bands or sizes don't fit, or the image is too small for a map.
        """
        shown = [_fitting(image, self.domain, "the image")]
        if self.source is not None:
            if source is None:
                raise UserError(
                    "this discriminator judges pairs: give the source that the image was made from"
                )
            shown.insert(0, _fitting(source, self.source, "the source"))
            if shown[0].shape[1:] != shown[1].shape[1:]:
                raise UserError(
                    f"the source has {_size(source)} pixels and the image {_size(image)}; a pair "
                    "has one size"
                )
        try:
            grid = patch_grid(self.network, *image.shape[1:])
            weight = next(self.network.parameters())
            scores = self.network(torch.cat(shown)[None].to(weight))[0]
        except ValueError as error:
            raise UserError(
                f"the image of {_size(image)} pixels can't be judged: {error}"
            ) from None
        if grid is None:
            kind = type(self.network).__name__
            raise UserError(f"the discriminator {kind} has no patch grid, so there is no patch map")
        return PatchScores(scores[0, 0].float().cpu(), grid, self.objective)


def look(
    path: str | Path, domain: Domain, half: Part = None, max_megapixels: int = 64,
    framing: Preprocessing = UNKNOWN, size: str = "own", notes: list[str] | None = None,
) -> Tensor:  # fmt: skip
    """A file as an image of a domain: (channels, h, w) in [-1, 1]; `half` of one with A and B.

    `framing` and `size` say how it is resized; `notes` gets a sentence on a size that training did
    not have. Raises UserError, naming the file, for what the domain can't hold.
    """
    path = Path(path)
    most = max_megapixels * 10**6
    config = domain.config
    channels = config.read_channels
    header = image_header(Source(path), config.pages, most, channels)
    chosen = framing.half(header.height, header.width, half, path)
    part = load(Source(path), config, chosen, most, domain.nodata_value)
    pixels = framing.resized(part, size, config)
    if notes is not None and framing.enlargement(part, pixels) > LARGE:
        notes.append(f"{path}: {framing.large}")
    values = to_values(to_tensor(pixels)[None], domain.of_dtype(str(pixels.dtype)))
    return fill_nodata(values[0], domain).float()


def _objective(header: dict[str, Any], path: Path) -> str:
    """Name of the objective of training. Raises UserError if it was not trained."""
    objective = objective_of(header)
    if objective is None:
        raise UserError(f"{path} was not trained: its run had no adversarial loss", path=path)
    return objective


def _domain(header: dict[str, Any], end: str, path: Path) -> Domain:
    if not isinstance(header.get(end), dict):
        raise UserError(
            f"{path} does not say what its images are, since an earlier version wrote it; go on "
            "with its run, or train anew, to have it written as this version does"
        )
    domain = fill(Domain, header[end], str(path))
    domain.check_stored(path)
    return domain


def _fitting(image: Tensor, domain: Domain, name: str) -> Tensor:
    width = domain.config.width
    if image.ndim != 3 or image.shape[0] != width or not image.is_floating_point():
        raise UserError(
            f"{name} is ({width}, h, w) floats in [-1, 1], not {tuple(image.shape)} {image.dtype}"
        )
    return image.float()


def _size(image: Tensor) -> str:
    return f"{image.shape[2]}x{image.shape[1]}"
