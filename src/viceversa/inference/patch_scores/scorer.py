"""Patch scores of a trained discriminator: `PatchScorer.load("d_b.safetensors")(image)`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ...checkpoint import read_header
from ...config.compatibility import objective_of
from ...errors import UserError
from ...images import Source
from ...images import read_header as image_header
from ...images.domain import Domain
from ...images.loading import load
from ...images.preprocessing import LARGE, Part, Preprocessing
from ...images.values import to_tensor, to_values
from ...networks import DISCRIMINATORS
from ...networks.norms import use_policy
from ...networks.patch_grid import patch_grid
from ...runtime.device import prepare_device
from ..model_files import load_model, read_domain
from .scores import PatchScores

UNKNOWN = Preprocessing()


class PatchScorer:
    """Scores the patches of images of any size.

    Args:
        network: The discriminator. It is set to eval mode in place, with the batch norm statistics
            of each image: give a copy of a network that is being trained.
        domain: Domain of the images.
        source: Domain of their sources, for a discriminator of pairs; None for others.
        objective: Name of the objective that it was trained with.
        preprocessing: Preparation of files in training.
    """

    def __init__(
        self,
        network: nn.Module,
        domain: Domain,
        source: Domain | None,
        objective: str,
        preprocessing: Preprocessing = UNKNOWN,
    ) -> None:
        self.network, self.domain, self.source = network, domain, source
        self.objective, self.preprocessing = objective, preprocessing
        use_policy(network)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> PatchScorer:
        """Load a discriminator from its model file. Raises UserError."""
        path = Path(path)
        header = read_header(path)
        if header.get("kind") != "discriminator":
            raise UserError(f"{path} is a {header.get('kind')}, not a discriminator", path=path)
        objective = objective_of(header)
        if objective is None:
            raise UserError(f"{path} was not trained: its run had no adversarial loss", path=path)
        domain, source = (read_domain(header, key, path) for key in ("target", "source"))
        pair = header.get("pair") is True
        channels = domain.config.width + (source.config.width if pair else 0)
        network = load_model(header, "discriminator", DISCRIMINATORS, (channels,), path)
        network.to(prepare_device(device))
        return cls(network, domain, source if pair else None, objective, Preprocessing.of(header))

    @torch.inference_mode()
    def __call__(self, image: Tensor, source: Tensor | None = None) -> PatchScores:
        """Score the patches of an image.

        Args:
            image: (channels, h, w) in [-1, 1].
            source: Its source, of the same size, if the discriminator takes pairs.

        Raises:
            UserError: Channels or sizes do not fit, or the image is too small for a score.
        """
        inputs = [_checked(image, self.domain, "the image")]
        if self.source is not None:
            if source is None:
                raise UserError("this discriminator takes pairs: give the source of the image")
            inputs.insert(0, _checked(source, self.source, "the source"))
            if source.shape[1:] != image.shape[1:]:
                raise UserError(
                    f"the source has {_size(source)} pixels and the image {_size(image)}; a pair "
                    "has one size"
                )
        try:
            grid = patch_grid(self.network, *image.shape[1:])
            weight = next(self.network.parameters())
            scores = self.network(torch.cat(inputs)[None].to(weight))[0]
        except ValueError as error:
            raise UserError(
                f"the image of {_size(image)} pixels cannot be scored: {error}"
            ) from None
        if grid is None:
            kind = type(self.network).__name__
            raise UserError(f"the discriminator {kind} has no patch grid, so there is no patch map")
        return PatchScores(scores[0, 0].float().cpu(), grid, self.objective)


def read_image(
    path: Path,
    domain: Domain,
    half: Part,
    max_megapixels: int,
    preprocessing: Preprocessing,
    size: str,
    mask: Source | None = None,
) -> tuple[Tensor, list[str]]:
    """Read a file as an image of a domain, or half of one with A and B side by side.

    `mask`: its mask file.

    Returns:
        (channels, h, w) in [-1, 1], NaN where it has no data, and notes on its size. Errors name
        the file.
    """
    most, config = max_megapixels * 10**6, domain.config
    header = image_header(Source(path), config.pages, most, config.read_channels)
    chosen = preprocessing.half(header.height, header.width, half, path)
    part = load(Source(path), config, chosen, most, domain.nodata_value, mask)
    pixels = preprocessing.resized(part, size, config)
    large = preprocessing.enlargement(part.shape, pixels.shape) > LARGE
    values = to_values(to_tensor(pixels)[None], domain.of_dtype(str(pixels.dtype)))
    notes = [f"{path}: {preprocessing.large}"] if large else []
    return values[0].float(), notes


def _checked(image: Tensor, domain: Domain, name: str) -> Tensor:
    width = domain.config.width
    if image.ndim != 3 or image.shape[0] != width or not image.is_floating_point():
        raise UserError(
            f"{name} is ({width}, h, w) floats in [-1, 1], not {tuple(image.shape)} {image.dtype}"
        )
    return image.float()


def _size(image: Tensor) -> str:
    return f"{image.shape[2]}x{image.shape[1]}"
